// Routing written out in double precision, as slowly and plainly as it is published, with logits that are updated after
// each iteration: what the kernels are compared with. Nothing but names is shared with them.
#pragma once

#include <stdint.h>

#include <vector>

#include "capsroute.h"

namespace capsroute::tests {

using Numbers = std::vector<double>;

// A problem with its data. Empty vectors stand for arguments that are not given.
struct Example {
    int64_t batch = 1, inputs = 1, input_size = 1, outputs = 1, output_size = 1, weight_inputs = 1, iterations = 1;
    bool softmax_over_inputs = false, leaky = false, from_votes = false, logits_per_sample = false, keep_s = false,
         replace_logits = false, coupling_given = false;
    Gradient gradient = Gradient::all;
    Squash squash = Squash::standard;
    double eps = 1e-8, squash_constant = 1, agreement_factor = 1;
    Numbers temperatures;  // of the iterations, the last one also of all that follow; empty: 1

    Numbers x;                         // [B, I, d]
    Numbers weight;                    // [I_w, J, D, d]
    Numbers votes;                     // [B, I, J, D], instead of x and weight
    Numbers bias;                      // [J, D]
    Numbers logits;                    // [I, J] or [B, I, J]; with coupling_given the coupling coefficients
    Numbers input_weight;              // [B, I]
    std::vector<uint8_t> input_mask;   // [B, I]
    std::vector<uint8_t> output_mask;  // [B, J]
    Numbers grad_output;               // [B, J, D]
};

// The output capsules and the gradients of sum(output * grad_output).
struct Answer {
    Numbers output;
    Numbers x, weight, votes, bias, logits, input_weight;
};

// The output of `example`, in which what its gradient mode holds constant is what `constants`, the same but for some
// numbers, makes of it. With itself as constants this is the plain output; its derivative after `example` is the
// gradient.
Numbers naive_forward(const Example& example, const Example& constants);

Answer naive_forward_and_backward(const Example& example);

// v of iteration t, counted from 0, from s with its bias, [B, J, D]; and the gradient of s from that of v.
Numbers naive_squash(const Example& example, int64_t t, const Numbers& s);
Numbers naive_through_squash(const Example& example, int64_t t, const Numbers& s, const Numbers& grad);

// The products of the votes with grad_output, [B, I, J]. There must be no masks.
Numbers naive_agreement(const Example& example);

}  // namespace capsroute::tests
