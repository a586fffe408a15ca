// Votes of one input for a tile of samples, their products with vectors per sample, and the coupling coefficients.
//
// A lane works for two rows, samples g and g + 8 of its tile. Of the numbers that a sample has per output (logits,
// coefficients, ...) each of the four lanes of a row owns every fourth: lane q owns outputs q, q + 4, ... So an
// exponential is computed once, and 10 outputs take 3 registers a row. Arrays over outputs are indexed by constants
// only, so that they stay in registers.
#pragma once

#include "stage.cuh"

namespace capsroute::cuda {

constexpr float kLowest = -3.0e38f;  // a logit below every finite one that matters

// The rows of a lane.
struct Rows {
    int tile;

    CAPSROUTE_DEVICE int sample(int r) const { return tile * kRows + lane_row() + 8 * r; }
};

// How many outputs share an input in a softmax without logits.
CAPSROUTE_DEVICE float outputs_in_softmax(const RoutingProblem& problem, int sample) {
    int count = problem.output_mask ? 0 : int(problem.outputs);
    for (int j = 0; problem.output_mask && j < int(problem.outputs); ++j) count += output_is_there(problem, sample, j);
    return float(count + problem.leaky);
}

// Where the factor is 0, an initial logit may be anything.
CAPSROUTE_DEVICE float initial_logit(const RoutingProblem& problem, float factor, int sample, int input, int output) {
    if (!problem.logits || factor == 0 || sample >= int(problem.batch)) return 0.0f;
    const int64_t row = problem.logits_per_sample ? input_index(problem, sample, input) : input;
    return factor * read_float(problem.dtype, problem.logits, row * int(problem.outputs) + output);
}

// Calls work(o) for outputs 0 .. kOutputs - 1, unrolled, but skips whole groups past `count`.
template <int kTiles, int kOutputs, class Work>
CAPSROUTE_DEVICE void for_outputs(int count, Work work) {
    constexpr int kGroup = smaller(kOutputs, outputs_per_group(kTiles));
#pragma unroll
    for (int first = 0; first < kOutputs; first += kGroup) {
        if (first >= count) break;
#pragma unroll
        for (int o = first; o < smaller(first + kGroup, kOutputs); ++o) work(o);
    }
}

// One step of 8 components of the products W x, for the outputs whose rows stand in `weight`. The tensor cores cut off
// what they add up instead of rounding it, so each step is a sum of its own; the first makes the votes, and the others
// are added to them.
template <Operand kOperand, bool kFirst, int kTiles, int kOutputs>
CAPSROUTE_DEVICE void multiply_step(const Plan& plan, const Shared& weight, const Shared& x, int step, int count,
                                    float (&votes)[kOutputs * kTiles][4]) {
    // The compiler must not work out addresses for all n beforehand, and keep them in registers.
    const int eight_rows = forgotten(8 * plan.row_stride);
    const int at = forgotten(lane_row() * plan.row_stride + lane_column() + step * kColumns);
    const float2 upper = x.load2(at), lower = x.load2(at + eight_rows);
    const float left[4] = {upper.x, upper.y, lower.x, lower.y};
    const Parts<kOperand, 4> parts = parts_of<kOperand>(left);
    for_outputs<kTiles, kOutputs>(count, [&](int o) {
#pragma unroll
        for (int n = o * kTiles; n < (o + 1) * kTiles; ++n) {
            const float2 pair = weight.load2(at + n * eight_rows);
            const float right[2] = {pair.x, pair.y};
            float sum[4] = {};
            multiply_add<kOperand, kOperand>(sum, left, parts, right);
#pragma unroll
            for (int r = 0; r < 4; ++r) votes[n][r] = kFirst ? sum[r] : votes[n][r] + sum[r];
        }
    });
}

// votes = W x.
template <int kTiles, int kOutputs>
CAPSROUTE_DEVICE void votes_by_product(const Plan& plan, const Shared& weight, const Shared& x, int count,
                                       float (&votes)[kOutputs * kTiles][4]) {
    if (plan.split) {
        multiply_step<Operand::split, true, kTiles, kOutputs>(plan, weight, x, 0, count, votes);
        for (int step = 1; step < plan.k_steps; ++step) {
            multiply_step<Operand::split, false, kTiles, kOutputs>(plan, weight, x, step, count, votes);
        }
    } else {
        multiply_step<Operand::exact, true, kTiles, kOutputs>(plan, weight, x, 0, count, votes);
        for (int step = 1; step < plan.k_steps; ++step) {
            multiply_step<Operand::exact, false, kTiles, kOutputs>(plan, weight, x, step, count, votes);
        }
    }
}

// Votes that were given, from rows of them in shared memory.
template <int kTiles, int kOutputs>
CAPSROUTE_DEVICE void votes_from_rows(const Shared& given, int stride, int count,
                                      float (&votes)[kOutputs * kTiles][4]) {
    const int row = lane_row() * stride + lane_column();
    for_outputs<kTiles, kOutputs>(count, [&](int o) {
#pragma unroll
        for (int n = o * kTiles; n < (o + 1) * kTiles; ++n) {
            const float2 upper = given.load2(row + n * kColumns), lower = given.load2(row + 8 * stride + n * kColumns);
            votes[n][0] = upper.x;
            votes[n][1] = upper.y;
            votes[n][2] = lower.x;
            votes[n][3] = lower.y;
        }
    });
}

// This lane's share of the products of one output's votes with a vector for each sample, given as fragments.
template <int kTiles>
CAPSROUTE_DEVICE void add_products(const float (*votes)[4], const float* vectors, int tile, float& upper,
                                   float& lower) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
        const float4 vector = load_fragment(vectors, tile + n);
        upper += votes[n][0] * vector.x;
        upper += votes[n][1] * vector.y;
        lower += votes[n][2] * vector.z;
        lower += votes[n][3] * vector.w;
    }
}

// The sum of the shares of a row's lanes, known to all of them. Added up as sum_of_own does.
CAPSROUTE_DEVICE float sum_of_products(float share) {
    share += shuffle_xor(share, 2);
    return share + shuffle_xor(share, 1);
}

// The products of one output, known to all lanes of a row. Added up as sum_of_own does: the last pass finds the same
// logits, bit by bit, as the pass whose largest logit and sum it takes.
template <int kTiles>
CAPSROUTE_DEVICE void products(const float (&votes)[kTiles][4], const float* vectors, int tile, float (&result)[2]) {
    result[0] = result[1] = 0.0f;
    add_products<kTiles>(votes, vectors, tile, result[0], result[1]);
#pragma unroll
    for (int r = 0; r < 2; ++r) result[r] = sum_of_products(result[r]);
}

// What a sample has for each output of a warp: the part that this lane owns, of both its rows. Owned number k is that
// of output 4 k + q.
template <int kOutputs>
struct Owned {
    static constexpr int kCount = (kOutputs + 3) / 4;
    float of[kCount][2];

    CAPSROUTE_DEVICE void fill(float value) {
#pragma unroll
        for (int k = 0; k < kCount; ++k) of[k][0] = of[k][1] = value;
    }
    // The number of output o, known to all lanes of the row.
    CAPSROUTE_DEVICE float output(int o, int r) const { return shuffle_of_four(of[o / 4][r], o % 4); }
};

CAPSROUTE_DEVICE int owned_output(int k) {
    return 4 * k + lane_index() % 4;
}

// Of four numbers per lane, the sum over the four lanes of a row of number q, for lane q.
CAPSROUTE_DEVICE float sum_of_own(const float (&v)[4]) {
    const bool high = lane_index() & 2, odd = lane_index() & 1;
    const float even_part = (high ? v[2] : v[0]) + shuffle_xor(high ? v[0] : v[2], 2);
    const float odd_part = (high ? v[3] : v[1]) + shuffle_xor(high ? v[1] : v[3], 2);
    return (odd ? odd_part : even_part) + shuffle_xor(odd ? even_part : odd_part, 1);
}

// The products of the votes of outputs kFirst .. kFirst + kSome - 1 of those of a warp; numbers past `count` mean
// nothing.
template <int kTiles, int kFirst, int kSome, int kOutputs>
CAPSROUTE_DEVICE void owned_products(const float (&votes)[kSome * kTiles][4], const float* vectors, int first_tile,
                                     int count, Owned<kOutputs>& result) {
    static_assert(kFirst % 4 == 0);
#pragma unroll
    for (int k = kFirst / 4; k < (kFirst + kSome + 3) / 4; ++k) {
        if (4 * k >= count) break;
        float upper[4] = {}, lower[4] = {};
#pragma unroll
        for (int o = 4 * k; o < smaller(4 * k + 4, kFirst + kSome); ++o) {
            if (o >= count) continue;  // outputs past the last have no fragments
            add_products<kTiles>(votes + (o - kFirst) * kTiles, vectors, first_tile + o * kTiles, upper[o % 4],
                                 lower[o % 4]);
        }
        result.of[k][0] = sum_of_own(upper);
        result.of[k][1] = sum_of_own(lower);
    }
}

// Bit k: whether the owned output k is among the `count` outputs from `first` on, and there for this sample.
CAPSROUTE_DEVICE uint32_t owned_outputs_there(const RoutingProblem& problem, int sample, int first, int count) {
    const int owned = (forgotten(count) - lane_index() % 4 + 3) / 4;
    uint32_t bits = (1u << owned) - 1;
    if (!problem.output_mask) return bits;
    bits = 0;
    for (int k = 0; k < owned; ++k) {
        bits |= uint32_t(output_is_there(problem, sample, first + owned_output(k))) << k;
    }
    return bits;
}

template <int kOutputs>
CAPSROUTE_DEVICE void add_initial_logits(const Plan& plan, int t, const Rows& rows, int input, int first_output,
                                         const uint32_t (&takes_part)[2], Owned<kOutputs>& logits) {
    const RoutingProblem& problem = plan.problem;
    if (!problem.logits) return;
    const float factor = factors_of(plan, t).logit;
    const int first = forgotten(first_output + owned_output(0));
#pragma unroll
    for (int k = 0; k < Owned<kOutputs>::kCount; ++k) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            if (!(takes_part[r] >> k & 1)) continue;
            logits.of[k][r] += initial_logit(problem, factor, rows.sample(r), input, first + 4 * k);
        }
    }
}

// The weight of an input, 0 where it is not there.
CAPSROUTE_DEVICE float input_weight_of(const RoutingProblem& problem, int sample, int input, bool there) {
    if (!problem.input_weight) return 1.0f;
    return there ? read_float(problem.dtype, problem.input_weight, input_index(problem, sample, input)) : 0.0f;
}

template <int kOutputs>
CAPSROUTE_DEVICE void multiply_by_input_weight(const RoutingProblem& problem, const Rows& rows, int input,
                                               const uint32_t (&takes_part)[2], Owned<kOutputs>& numbers) {
    if (!problem.input_weight) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float weight = input_weight_of(problem, rows.sample(r), input, takes_part[r] != 0);
#pragma unroll
        for (int k = 0; k < Owned<kOutputs>::kCount; ++k) numbers.of[k][r] *= weight;
    }
}

// Coupling coefficients of row r in place of its logits, when the largest logit and 1 / sum are known (x and y). Not by
// a log-sum-exp: that would be rounded like the logits, which may be large. `takes_part` has a bit per owned output.
template <int kOutputs>
CAPSROUTE_DEVICE void coupling_from(float2 normaliser, int r, uint32_t takes_part, Owned<kOutputs>& logits) {
#pragma unroll
    for (int k = 0; k < Owned<kOutputs>::kCount; ++k) {
        const float share = exp_nonpositive(logits.of[k][r] - normaliser.x) * normaliser.y;
        logits.of[k][r] = takes_part >> k & 1 ? share : 0.0f;
    }
}

// The same by the softmax over the outputs of this warp, which are all there are. Returns largest logit and 1 / sum.
template <int kOutputs>
CAPSROUTE_DEVICE float2 softmax_over_outputs(const RoutingProblem& problem, int r, uint32_t takes_part,
                                             Owned<kOutputs>& logits) {
    float largest = kLowest;
#pragma unroll
    for (int k = 0; k < Owned<kOutputs>::kCount; ++k) {
        if (takes_part >> k & 1) largest = fmaxf(largest, logits.of[k][r]);
    }
    if (problem.leaky) largest = fmaxf(largest, 0.0f);
    largest = fmaxf(largest, shuffle_xor(largest, 1));
    largest = fmaxf(largest, shuffle_xor(largest, 2));
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < Owned<kOutputs>::kCount; ++k) {
        logits.of[k][r] = takes_part >> k & 1 ? exp_nonpositive(logits.of[k][r] - largest) : 0.0f;
        sum += logits.of[k][r];
    }
    sum = sum_over_columns(sum);
    if (problem.leaky) sum += exp_nonpositive(-largest);
    const float inverse = reciprocal_or_zero(sum);
#pragma unroll
    for (int k = 0; k < Owned<kOutputs>::kCount; ++k) logits.of[k][r] *= inverse;
    return make_float2(largest, inverse);
}

// The same over inputs, from the normaliser that forward saved.
template <int kOutputs>
CAPSROUTE_DEVICE void coupling_over_inputs(const Plan& plan, int t, const Rows& rows, const uint32_t (&takes_part)[2],
                                           int first_output, Owned<kOutputs>& logits) {
    const RoutingProblem& p = plan.problem;
    const int first = forgotten(first_output + owned_output(0));
#pragma unroll
    for (int k = 0; k < Owned<kOutputs>::kCount; ++k) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float* saved = plan.normaliser + normaliser_index(p, t, rows.sample(r), first + 4 * k);
            logits.of[k][r] =
                takes_part[r] >> k & 1 ? exp_nonpositive(logits.of[k][r] - saved[0]) * saved[p.outputs] : 0.0f;
        }
    }
}

// Largest logit, 1 / sum and sum of c p of a sample and input in iteration number `slot` of those kept.
CAPSROUTE_DEVICE float* share_of(const Plan& plan, int slot, int sample, int input) {
    return plan.share +
           (forgotten(slot) * plan.problem.batch * plan.problem.inputs + input_index(plan.problem, sample, input)) * 4;
}

CAPSROUTE_DEVICE float2 load_normaliser(const Plan& plan, int slot, int sample, int input) {
    if (sample >= int(plan.problem.batch)) return make_float2(0.0f, 0.0f);
    return *reinterpret_cast<const float2*>(share_of(plan, slot, sample, input));
}
CAPSROUTE_DEVICE float load_mean(const Plan& plan, int slot, int sample, int input) {
    return sample < int(plan.problem.batch) ? share_of(plan, slot, sample, input)[2] : 0.0f;
}
CAPSROUTE_DEVICE void store_normaliser(const Plan& plan, int slot, int sample, int input, float2 normaliser) {
    if (sample >= int(plan.problem.batch) || lane_column() != 0) return;
    *reinterpret_cast<float2*>(share_of(plan, slot, sample, input)) = normaliser;
}
CAPSROUTE_DEVICE void store_mean(const Plan& plan, int slot, int sample, int input, float mean) {
    if (sample < int(plan.problem.batch) && lane_column() == 0) share_of(plan, slot, sample, input)[2] = mean;
}

// Where the mean of an output stands under a softmax over inputs.
CAPSROUTE_DEVICE int64_t mean_index(const Plan& plan, int t, int tile, int output, int row) {
    return (((t - 1) * int64_t(plan.tiles) + tile) * int(plan.problem.outputs) + output) * kRows + row;
}

}  // namespace capsroute::cuda
