// The forward kernel: all passes and steps of all iterations, or some of them, in one launch.
#include "persistent.cuh"

namespace capsroute::cuda {

template <int kTiles, bool kOverInputs>
CAPSROUTE_KERNEL(kThreads, 1)
forward_kernel(CAPSROUTE_PARAMETER ForwardParameters parameters) {
    const Plan& plan = parameters.plan;
    const BlockMemory memory(plan);
    for (int phase = parameters.first_phase; phase < parameters.end_phase; ++phase) {
        const int t = phase / 3 + 1, kind = phase % 3;
        if (!forward_phase_exists(plan, t, kind)) continue;
        if (kind == kStep) {
            run_forward_step<kTiles, kOverInputs>(plan, parameters.buffers, t, memory.exchange);
        } else {
            memory.kept.put(Kept::phase, phase);
            run_phase<kTiles, kOverInputs, false>(plan, t, kind, memory);
            phase = memory.kept.get(Kept::phase);
        }
        // The last meeting keeps the shared memory of each block alive until all have read it.
        if (phase + 1 < parameters.end_phase || plan.cluster > 1) meet(plan);
    }
}

Kernel forward_kernel_for(const Plan& plan) {
    return by_output_tiles(plan, [&](auto tiles) {
        constexpr int kTiles = decltype(tiles)::value;
        return plan.problem.softmax_over_inputs
                   ? kernel_of(forward_kernel<kTiles, true>, "forward, softmax over inputs", kThreads, 1)
                   : kernel_of(forward_kernel<kTiles, false>, "forward, softmax over outputs", kThreads, 1);
    });
}

}  // namespace capsroute::cuda
