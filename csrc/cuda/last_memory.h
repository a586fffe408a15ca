// How the shared memory of a warp of the last pass is laid out; the plan asks for its size, the kernel for its parts.
#pragma once

#include "plan.h"

namespace capsroute::cuda {

// In floats.
struct LastMemory {
    int weight, grad_weight, x, grad_x, share, grad_logits, total;

    CAPSROUTE_BOTH LastMemory(const Plan& plan, int outputs, bool wants_weight, bool wants_logits) {
        const bool by_product = !plan.problem.votes;
        const int columns = plan.output_tiles * kColumns, rows = outputs * columns * plan.row_stride;
        const int tile = kRows * plan.row_stride;
        const bool has_share = !plan.problem.softmax_over_inputs;
        weight = 0;
        grad_weight = weight + (by_product ? rows : 0);
        x = grad_weight + (by_product && wants_weight ? rows : 0);
        grad_x = x + (by_product ? tile : kRows * padded_stride(columns));  // x, or the votes of one output
        share = grad_x + (by_product ? tile : 0);
        grad_logits = share + (has_share ? int(plan.problem.iterations) * kRows * 4 : 0);
        total = grad_logits + (wants_logits && !plan.problem.logits_per_sample ? (outputs + 3) / 4 * 4 : 0);
    }
};

}  // namespace capsroute::cuda
