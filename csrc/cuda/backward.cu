// The backward kernel: queries and a of all iterations, and the passes that carry the gradient from the last to the
// first.
#include "persistent.cuh"

namespace capsroute::cuda {

template <int kTiles, bool kOverInputs>
CAPSROUTE_KERNEL(kThreads, 1)
backward_kernel(CAPSROUTE_PARAMETER BackwardParameters parameters) {
    const Plan& plan = parameters.plan;
    const RoutingBackward& buffers = parameters.buffers;
    const RoutingProblem& p = plan.problem;
    const BlockMemory memory(plan);
    for (int phase = parameters.first_phase; phase < parameters.end_phase; ++phase) {
        if (phase == 0) {
            run_backward_start<kTiles, kOverInputs>(plan, buffers);
        } else {
            const int t = int(p.iterations) - (phase - 1) / 3, kind = (phase - 1) % 3;
            if (!backward_phase_exists(plan, t, kind)) continue;
            if (kind == kStep) {
                run_backward_step<kTiles, kOverInputs>(plan, buffers, t, memory.exchange);
            } else {
                memory.kept.put(Kept::phase, phase);
                run_phase<kTiles, kOverInputs, true>(plan, t, kind, memory);
                phase = memory.kept.get(Kept::phase);
            }
        }
        if (phase + 1 < parameters.end_phase || plan.cluster > 1) meet(plan);
    }
}

Kernel backward_kernel_for(const Plan& plan) {
    return by_output_tiles(plan, [&](auto tiles) {
        constexpr int kTiles = decltype(tiles)::value;
        return plan.problem.softmax_over_inputs
                   ? kernel_of(backward_kernel<kTiles, true>, "backward, softmax over inputs", kThreads, 1)
                   : kernel_of(backward_kernel<kTiles, false>, "backward, softmax over outputs", kThreads, 1);
    });
}

}  // namespace capsroute::cuda
