// The options of a problem: fields, how they are read from packed lists, and their ranges.
// scripts/generate_options.py writes this file from the rows of capsroute/routing/options.py.
#pragma once

#include <stdint.h>

namespace capsroute {

enum class Gradient : int32_t { all, last, detached_votes };
enum class Squash : int32_t { standard, norm_eps, clamped, shifted, exponential, power, none };
enum class CudaKernel : int32_t { automatic, plain, fused };
enum class CudaFusion : int32_t { automatic, grid, cluster, launches };

constexpr int kTemperatures = 32;

struct RoutingOptions {
    // pass: Number T of routing iterations, at least 1. T = 1 without ``logits`` is the uniform coupling.
    int64_t iterations;
    // pass: What a softmax runs over; over ``outputs`` each input divides itself among them, as in the paper.
    bool softmax_over_inputs;
    // pass: Add one zero logit to each softmax over outputs and drop its share.
    bool leaky;
    // backward: ``all`` differentiates through all iterations; ``last`` takes what the earlier ones computed, and the
    // votes in the logits of the last, for constants; ``detached_votes`` takes the votes for constants in all but the
    // last sum, so that bias, logits and ``input_weight`` get gradients through all iterations.
    Gradient gradient;
    // step: In the squash, at least 0.
    double eps;
    // step: How the sum s is scaled; :func:`capsroute.nn.squash` has the formulae.
    Squash squash;
    // step: The number in ``shifted`` (0.5 by default) and ``power`` (1).
    double squash_constant;
    // step: ``accumulate``: initial logits and all agreements so far; ``replace``: the last agreement alone, from the
    // second iteration on.
    bool replace_logits;
    // step: Multiplies every agreement that goes into the logits.
    double agreement_factor;
    // step: Divides the logits before each softmax; a number above 0, or one for each iteration (of at most 32).
    double inverse_temperature[kTemperatures];
    int32_t temperatures;
    // pass: The initial logits are the coupling; nothing is routed.
    bool coupling_given;
    // step: False: the output is s of the last iteration.
    bool squash_output;
    // pass: CUDA only: products of float32 may round to TF32; None asks torch's own switch when the op runs.
    bool allow_tf32;
    // choice: CUDA only: which kernels.
    CudaKernel cuda_kernel;
    // choice: CUDA only: how the fused kernels get from one pass to the next.
    CudaFusion cuda_fusion;
};

// Reads packed lists of these lengths; false where they have others.
static inline bool unpack(const int64_t* integers, int64_t integer_count, const double* numbers, int64_t number_count,
                          RoutingOptions& options) {
    if (integer_count != 13) return false;
    const int64_t temperatures = integers[12];
    if (temperatures < 1 || temperatures > kTemperatures) return false;
    if (number_count != temperatures + 3) return false;
    options.temperatures = int32_t(temperatures);
    for (int64_t t = 0; t < temperatures; ++t) options.inverse_temperature[t] = 1 / numbers[3 + t];
    options.iterations = integers[0];
    options.softmax_over_inputs = integers[1] == 1;
    options.leaky = integers[2] != 0;
    options.gradient = Gradient(integers[3]);
    options.allow_tf32 = integers[5] == 1;
    options.cuda_kernel = CudaKernel(integers[6]);
    options.cuda_fusion = CudaFusion(integers[7]);
    options.squash = Squash(integers[8]);
    options.replace_logits = integers[9] == 1;
    options.coupling_given = integers[10] != 0;
    options.squash_output = integers[11] != 0;
    options.eps = numbers[0];
    options.squash_constant = numbers[1];
    options.agreement_factor = numbers[2];
    return true;
}

// Is each option by itself one that can be?
static inline bool in_range(const RoutingOptions& o) {
    constexpr double kLargestNumber = 1.7976931348623157e308;  // that is finite
    if (o.temperatures < 1 || o.temperatures > kTemperatures) return false;
    for (int t = 0; t < o.temperatures; ++t) {
        if (!(o.inverse_temperature[t] > 0 && o.inverse_temperature[t] <= kLargestNumber)) return false;
    }
    return (o.iterations >= 1) && (int32_t(o.gradient) >= 0 && o.gradient <= Gradient::detached_votes) &&
           (o.eps >= 0 && o.eps <= kLargestNumber) && (int32_t(o.squash) >= 0 && o.squash <= Squash::none) &&
           (o.agreement_factor >= -kLargestNumber && o.agreement_factor <= kLargestNumber) &&
           (int32_t(o.cuda_kernel) >= 0 && o.cuda_kernel <= CudaKernel::fused) &&
           (int32_t(o.cuda_fusion) >= 0 && o.cuda_fusion <= CudaFusion::launches);
}

}  // namespace capsroute
