// The kernels that end backward: the gradients of votes, x, weight and logits, and the sums of their parts.
#include "finish.cuh"
#include "kernels.h"

namespace capsroute::cuda {

template <int kTiles>
CAPSROUTE_KERNEL(kLastThreads, 2)
last_kernel(CAPSROUTE_PARAMETER LastParameters parameters) {
    const Plan& plan = parameters.plan;
    const Shared all = shared_memory(plan.last_shared_bytes / 4);
    const int warps = thread_count() / kWarp, per_warp = plan.last_shared_bytes / 4 / warps;
    const Shared memory = all.part(warp_index() * per_warp, per_warp);
    const int index = block_index() * warps + warp_index();
    if (index >= plan.weights * plan.repeat_parts * plan.tile_parts) return;  // no warp waits for another
    run_last<kTiles>(plan, parameters.buffers, index, memory);
}

CAPSROUTE_KERNEL(kThreads, 1)
finish_kernel_body(CAPSROUTE_PARAMETER LastParameters parameters) {
    run_finish(parameters.plan, parameters.buffers);
}

Kernel last_kernel_for(const Plan& plan) {
    return by_output_tiles(
        plan, [](auto tiles) { return kernel_of(last_kernel<decltype(tiles)::value>, "last", kLastThreads, 2); });
}

Kernel finish_kernel() {
    return kernel_of(finish_kernel_body, "finish", kThreads, 1);
}

}  // namespace capsroute::cuda
