// The backward kernel: V and a of all iterations, and the passes that carry the gradient from the last to the first.
#include "persistent.cuh"

namespace capsroute::cuda {

template <Operand kOperand, int kTiles>
CAPSROUTE_KERNEL(kThreads, 1)
backward_kernel(CAPSROUTE_PARAMETER BackwardParameters parameters) {
    const Plan& plan = parameters.plan;
    const RoutingBackward& buffers = parameters.buffers;
    const RoutingProblem& p = plan.problem;
    const BlockMemory memory(plan);
    for (int phase = parameters.first_phase; phase < parameters.end_phase; ++phase) {
        if (phase == 0) {
            run_backward_start<kTiles>(plan, buffers);
        } else {
            const int t = int(p.iterations) - (phase - 1) / 3, kind = (phase - 1) % 3;
            if (!backward_phase_exists(plan, t, kind)) continue;
            if (kind == kStep) {
                run_backward_step<kTiles>(plan, buffers, t, memory.exchange);
            } else {
                const int64_t slot = p.gradient_last ? 0 : t - 1;
                const PassVectors vectors{
                    t > 1 ? of_iteration(plan, plan.query, t - 1) : nullptr, of_iteration(plan, plan.slope, t),
                    plan.share ? plan.share + slot * p.batch * p.inputs * 4 : nullptr,
                    plan.mean ? plan.mean + (t - 1) * int64_t(plan.tiles) * p.outputs * kRows : nullptr,
                    static_cast<const float*>(buffers.normaliser) + (t - 1) * p.batch * 2 * p.outputs};
                run_phase<kOperand, kTiles, true>(plan, vectors, t, kind, memory, !plan.resident || t == p.iterations);
            }
        }
        if (phase + 1 < parameters.end_phase || plan.cluster > 1) meet(plan);
    }
}

namespace {

template <int kTiles>
Kernel choose(const Plan& plan) {
    return needs_split(plan.problem)
               ? kernel_of(backward_kernel<Operand::split, kTiles>, "backward, split", kThreads, 1)
               : kernel_of(backward_kernel<Operand::exact, kTiles>, "backward, exact", kThreads, 1);
}

}  // namespace

Kernel backward_kernel_for(const Plan& plan) {
    switch (plan.output_tiles) {
        case 1: return choose<1>(plan);
        case 2: return choose<2>(plan);
        case 4: return choose<4>(plan);
        default: return choose<8>(plan);
    }
}

}  // namespace capsroute::cuda
