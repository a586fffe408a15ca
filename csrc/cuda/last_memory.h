// How the shared memory of a warp of the last pass is laid out; the plan asks for its size, the kernel for its parts.
#pragma once

#include "plan.h"

namespace capsroute::cuda {

// In floats. The plan counts in 64 bits, because it also asks for layouts that do not fit.
template <class Int>
struct LastMemory {
    Int weight, grad_weight, x, grad_x, share, grad_input_weight, grad_logits, total;

    CAPSROUTE_BOTH LastMemory(const Plan& plan, int outputs, const Wanted& wanted) {
        const bool by_product = !plan.problem.votes;
        const int columns = plan.output_tiles * kColumns;
        const Int rows = Int(outputs) * columns * plan.row_stride, tile = Int(kRows) * plan.row_stride;
        weight = 0;
        grad_weight = weight + (by_product ? rows : 0);
        x = grad_weight + (by_product && wanted.weight ? rows : 0);
        grad_x = x + (by_product ? tile : kRows * padded_stride(columns));  // x, or the votes of one output
        share = grad_x + (by_product ? tile : 0);
        grad_input_weight = share + (has_shares(plan.problem) ? Int(plan.problem.iterations) * kRows * 4 : 0);
        grad_logits = grad_input_weight + (wanted.input_weight ? kRows : 0);
        total = grad_logits + (wanted.logits && !plan.problem.logits_per_sample ? (outputs + 3) / 4 * 4 : 0);
    }
};

}  // namespace capsroute::cuda
