// Routing written out in double precision, as slowly and plainly as docs/maths.md: what the kernels are compared with.
#pragma once

#include <stdint.h>

#include <vector>

namespace capsroute::tests {

using Numbers = std::vector<double>;

// A problem with its data. Empty vectors stand for arguments that are not given.
struct Example {
    int64_t batch = 1, inputs = 1, input_size = 1, outputs = 1, output_size = 1, weight_inputs = 1, iterations = 1;
    bool softmax_over_inputs = false, leaky = false, gradient_last = false, from_votes = false,
         logits_per_sample = false;
    double eps = 1e-8;

    Numbers x;                         // [B, I, d]
    Numbers weight;                    // [I_w, J, D, d]
    Numbers votes;                     // [B, I, J, D], instead of x and weight
    Numbers bias;                      // [J, D]
    Numbers logits;                    // [I, J] or [B, I, J]
    std::vector<uint8_t> input_mask;   // [B, I]
    std::vector<uint8_t> output_mask;  // [B, J]
    Numbers grad_output;               // [B, J, D]
};

// The output capsules and the gradients of sum(output * grad_output).
struct Answer {
    Numbers output;
    Numbers x, weight, votes, bias, logits;
};

Numbers naive_forward(const Example& example);
Answer naive_forward_and_backward(const Example& example);

}  // namespace capsroute::tests
