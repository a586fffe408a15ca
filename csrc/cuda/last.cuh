// The last pass of backward: the gradients of the votes, and from them those of x, the weight and the initial logits.
//
// A warp takes one weight, holds it in shared memory (as many outputs as fit), and goes over the tiles of samples and
// the inputs that use it. Of each output it makes the votes once more, then coefficients c^t and dl^t of all
// iterations from the saved largest logits and sums, then the gradient of the votes
//     du = sum over t of w c^t a^t + dl^t Q^t,
// 16 samples x D in registers. Its product with the weight is added to dx of the tile; its transpose times x to dW,
// both in the warp's shared memory. Nothing is exchanged between warps: each input of a tile is one warp's, and the
// parts of dW are added up by another kernel, in their order.
#pragma once

#include "last_memory.h"
#include "step.cuh"

namespace capsroute::cuda {

// What a warp works on.
struct LastItem {
    int weight;
    int first_repeat, end_repeat;
    int first_tile, end_tile;
    int part;       // of the gradient of the weight
    int tile_part;  // of that of the logits
};

CAPSROUTE_DEVICE LastItem last_item_of(const Plan& plan, int index) {
    LastItem item;
    item.weight = index % plan.weights;
    item.part = index / plan.weights;
    item.tile_part = item.part / plan.repeat_parts;
    item.first_repeat = item.part % plan.repeat_parts * plan.part_repeats;
    item.end_repeat = smaller(item.first_repeat + plan.part_repeats, int(plan.problem.inputs) / plan.weights);
    item.first_tile = item.tile_part * plan.part_tiles;
    item.end_tile = smaller(item.first_tile + plan.part_tiles, plan.tiles);
    return item;
}

// Everything a lane needs to find c^t and dl^t of one output and input for its two rows.
struct Coefficients {
    float weight[2];           // of the vote in s: coupling times weight of the input
    float logit_gradient[2];   // dl^t
    float weight_gradient[2];  // of the weight of the input
};

template <int kTiles>
CAPSROUTE_DEVICE Coefficients coefficients_of(const Plan& plan, const Rows& rows, const Shared& share, int input,
                                              int output, int t, const bool (&there)[2], const float (&equal_share)[2],
                                              bool needs_gradients, const float (&votes)[kTiles][4]) {
    const RoutingProblem& p = plan.problem;
    const Iteration iteration = iteration_of(plan, Direction::backward, t);
    const int at = rows.tile * plan.width + output * kTiles;
    const bool uniform = is_uniform(p, t);
    float logits[2] = {}, along[2] = {};
    if (t > 1) products<kTiles>(votes, plan.query, iteration.vectors + at, logits);
    if (needs_gradients) products<kTiles>(votes, plan.slope, iteration.vectors + at, along);
    Coefficients result;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float4 known;  // largest logit, 1 / sum, sum of c p
        if (p.softmax_over_inputs) {
            const float* saved = plan.normaliser + normaliser_index(p, t, rows.sample(r), output);
            const int64_t mean = mean_index(plan, t, rows.tile, output, lane_row() + 8 * r);
            known = there[r] ? make_float4(saved[0], saved[p.outputs], plan.mean[mean], 0.0f)
                             : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        } else if (uniform || p.coupling_given) {
            known = make_float4(0.0f, equal_share[r], 0.0f, 0.0f);
        } else {
            known = share.load4(((t - 1) * kRows + lane_row() + 8 * r) * 4);
        }
        const float factor = factors_of(plan, t).logit;
        const float logit = logits[r] + initial_logit(p, factor, rows.sample(r), input, output);
        const float c = p.coupling_given ? logit : exp_nonpositive(logit - known.x) * known.y;
        const float weight = input_weight_of(p, rows.sample(r), input, there[r]);
        const bool gradients = there[r] && needs_gradients;
        result.weight[r] = there[r] ? c * weight : 0.0f;
        result.logit_gradient[r] = gradients ? (p.coupling_given ? 1.0f : c) * (along[r] * weight - known.z) : 0.0f;
        result.weight_gradient[r] = gradients ? c * along[r] : 0.0f;
    }
    return result;
}

// gradient += a factor for each row times vectors given as fragments.
template <int kTiles>
CAPSROUTE_DEVICE void add_multiples(const float* vectors, int first, const float (&factor)[2],
                                    float (&gradient)[kTiles][4]) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
        const float4 vector = load_fragment(vectors, first + n);
        gradient[n][0] += factor[0] * vector.x;
        gradient[n][1] += factor[0] * vector.y;
        gradient[n][2] += factor[1] * vector.z;
        gradient[n][3] += factor[1] * vector.w;
    }
}

// c += a b for a gradient a, which is always split: it has more digits than bfloat16 or TF32 keep.
CAPSROUTE_DEVICE void multiply_add_gradient(const Plan& plan, float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    // Split here and now: for all steps of d, the parts of a gradient would fill twice its registers.
    const float now[4] = {forgotten(a[0]), forgotten(a[1]), forgotten(a[2]), forgotten(a[3])};
    const Parts<Operand::split, 4> parts = parts_of<Operand::split>(now);
    if (plan.split) {
        multiply_add<Operand::split, Operand::split>(c, now, parts, b);
    } else {
        multiply_add<Operand::split, Operand::exact>(c, now, parts, b);
    }
}

// dx of a tile += du W, for the rows of one output in `weight`.
template <int kTiles>
CAPSROUTE_DEVICE void add_grad_x(const Plan& plan, const Shared& weight, const Shared& grad_x,
                                 const float (&gradient)[kTiles][4]) {
    for (int step = 0; step < plan.k_steps; ++step) {
        float sum[4] = {};
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
            const int at = (n * kColumns + lane_column()) * plan.row_stride + step * kColumns + lane_row();
            const float right[2] = {weight.load(at), weight.load(at + plan.row_stride)};
            multiply_add_gradient(plan, sum, gradient[n], right);
        }
        const int at = lane_row() * plan.row_stride + step * kColumns + lane_column();
        const int below = at + 8 * plan.row_stride;
        const float2 upper = grad_x.load2(at), lower = grad_x.load2(below);
        grad_x.store2(at, make_float2(upper.x + sum[0], upper.y + sum[1]));
        grad_x.store2(below, make_float2(lower.x + sum[2], lower.y + sum[3]));
    }
}

// dW += du^T x, for the rows of one output in `grad_weight`.
template <int kTiles>
CAPSROUTE_DEVICE void add_grad_weight(const Plan& plan, const Shared& x, const Shared& grad_weight,
                                      const float (&gradient)[kTiles][4]) {
    constexpr int kPairs = (kTiles + 1) / 2;  // two column tiles are the 16 rows of one product
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
        float left[2][4] = {};  // of samples 0 .. 7 and 8 .. 15
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                const int n = 2 * pair + k;
                if (n >= kTiles) continue;
                const float2 turned = transposed_half(gradient[n][2 * half], gradient[n][2 * half + 1]);
                left[half][2 * k] = turned.x;
                left[half][2 * k + 1] = turned.y;
            }
        }
        for (int step = 0; step < plan.k_steps; ++step) {
            float sum[4] = {};
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int at = (half * 8 + lane_column()) * plan.row_stride + step * kColumns + lane_row();
                const float right[2] = {x.load(at), x.load(at + plan.row_stride)};
                multiply_add_gradient(plan, sum, left[half], right);
            }
            const int at = (2 * pair * kColumns + lane_row()) * plan.row_stride + step * kColumns + lane_column();
            const float2 first = grad_weight.load2(at);
            grad_weight.store2(at, make_float2(first.x + sum[0], first.y + sum[1]));
            if (2 * pair + 1 >= kTiles) continue;
            const int below = at + 8 * plan.row_stride;
            const float2 second = grad_weight.load2(below);
            grad_weight.store2(below, make_float2(second.x + sum[2], second.y + sum[3]));
        }
    }
}

CAPSROUTE_DEVICE void fill_with_zeros(const Shared& memory, int count) {
    for (int at = lane_index() * 4; at < count; at += kWarp * 4) memory.store4(at, make_float4(0, 0, 0, 0));
}

// The share [T, 16, 4] of a tile and input from the `first` iteration on, zeros for rows past the batch.
CAPSROUTE_DEVICE void load_shares(const Plan& plan, const Shared& to, const Rows& rows, int input, int first) {
    const RoutingProblem& p = plan.problem;
    if (!has_shares(p)) return;
    for (int at = (first - 1) * kRows + lane_index(); at < p.iterations * kRows; at += kWarp) {
        const int t = at / kRows + 1, sample = rows.tile * kRows + at % kRows;
        const bool known = sample < int(p.batch) && !is_uniform(p, t);
        const int slot = iteration_of(plan, Direction::backward, t).slot;
        to.store4(at * 4, known ? *reinterpret_cast<const float4*>(share_of(plan, slot, sample, input))
                                : make_float4(0, 0, 0, 0));
    }
}

// A tile of rows of `size` numbers per sample and input, into a tensor [B, I, size]: the first block of outputs writes
// them, the others add to them, half types through float32 sums.
CAPSROUTE_DEVICE void store_rows(const RoutingProblem& p, void* to, float* float_sums, int size, const Shared& from,
                                 int stride, const Rows& rows, int input, bool first, bool last) {
    const bool whole = p.dtype == DType::float32;
    float* sums = whole ? static_cast<float*>(to) : float_sums;
    for (int at = lane_index(); at < kRows * size; at += kWarp) {
        const int sample = rows.tile * kRows + at / size;
        if (sample >= int(p.batch)) continue;
        const int64_t element = input_index(p, sample, input) * size + at % size;
        float value = from.load(at / size * stride + at % size);
        if (!first) value += sums[element];
        if (whole || !last) {
            sums[element] = value;
        } else {
            write_float(p.dtype, to, element, value);
        }
    }
}

// Rows of dW, or of a part of it.
template <int kTiles>
CAPSROUTE_DEVICE void store_grad_weight(const Plan& plan, const RoutingBackward& buffers, const Shared& grad_weight,
                                        const LastItem& item, int first_output, int outputs) {
    const RoutingProblem& p = plan.problem;
    const int size = int(p.input_size), per_output = int(p.output_size) * size;
    for (int o = 0; o < outputs; ++o) {
        const int64_t start = (int64_t(item.weight) * p.outputs + first_output + o) * per_output;
        for (int at = lane_index(); at < per_output; at += kWarp) {
            const int row = o * kTiles * kColumns + at / size;
            const float value = grad_weight.load(row * plan.row_stride + at % size);
            if (plan.part_weight) {
                plan.part_weight[item.part * p.weight_inputs * p.outputs * per_output + start + at] = value;
            } else {
                write_float(p.dtype, buffers.grad_weight, start + at, value);
            }
        }
    }
}

template <int kTiles>
CAPSROUTE_DEVICE void store_grad_votes(const Plan& plan, const RoutingBackward& buffers, const Rows& rows, int input,
                                       int output, const float (&gradient)[kTiles][4]) {
    const RoutingProblem& p = plan.problem;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int component = component_of(n, r);
            if (rows.sample(r / 2) >= p.batch || component >= p.output_size) continue;
            const int64_t at =
                (input_index(p, rows.sample(r / 2), input) * p.outputs + output) * p.output_size + component;
            write_float(p.dtype, buffers.grad_votes, at, gradient[n][r]);
        }
    }
}

template <int kTiles>
CAPSROUTE_DEVICE void run_last(const Plan& plan, const RoutingBackward& buffers, int index, const Shared& memory) {
    const LastItem item = last_item_of(plan, index);
    const RoutingProblem& p = plan.problem;
    const Wanted wanted = wanted_of(buffers);
    const bool by_product = !p.votes, wants_of_pairs = wanted.logits || wanted.input_weight;
    const LastMemory<int> lie(plan, plan.last_outputs, wanted);
    const int rows_of_output = kTiles * kColumns;
    const int first_t = int(wants_of_pairs ? first_iteration(p) : first_iteration_of_votes(p));
    const int tile_floats = kRows * plan.row_stride, output_floats = rows_of_output * plan.row_stride;
    const Shared share = memory.part(lie.share, lie.grad_input_weight - lie.share);
    const Shared grad_input_weight = memory.part(lie.grad_input_weight, lie.grad_logits - lie.grad_input_weight);
    const Shared grad_logits = memory.part(lie.grad_logits, lie.total - lie.grad_logits);
    for (int first_output = 0; first_output < p.outputs; first_output += plan.last_outputs) {
        const int outputs = smaller(plan.last_outputs, int(p.outputs) - first_output);
        const bool last_block = first_output + outputs == p.outputs;
        warp_sync();
        if (by_product) {
            load_weight<kTiles>(plan, memory.part(lie.weight, outputs * output_floats), item.weight, first_output,
                                outputs, outputs * rows_of_output, lane_index(), kWarp);
            if (wanted.weight)
                fill_with_zeros(memory.part(lie.grad_weight, outputs * output_floats), outputs * output_floats);
        }
        for (int repeat = item.first_repeat; repeat < item.end_repeat; ++repeat) {
            const int input = item.weight + repeat * plan.weights;
            if (wanted.logits && !p.logits_per_sample) {
                warp_sync();
                for (int o = lane_index(); o < outputs; o += kWarp) grad_logits.store(o, 0.0f);
            }
            for (int tile = item.first_tile; tile < item.end_tile; ++tile) {
                const Rows rows{tile};
                const bool here[2] = {input_is_there(p, rows.sample(0), input),
                                      input_is_there(p, rows.sample(1), input)};
                float equal_share[2] = {0.0f, 0.0f};
                if (is_uniform(p, first_t) && !p.softmax_over_inputs) {
                    equal_share[0] = reciprocal_or_zero(outputs_in_softmax(p, rows.sample(0)));
                    equal_share[1] = reciprocal_or_zero(outputs_in_softmax(p, rows.sample(1)));
                }
                warp_sync();
                load_shares(plan, share, rows, input, first_t);
                if (wanted.input_weight && lane_index() < kRows) grad_input_weight.store(lane_index(), 0.0f);
                if (by_product) {
                    load_x(plan, memory.part(lie.x, tile_floats), input, tile * kRows, kRows, lane_index(), kWarp);
                    fill_with_zeros(memory.part(lie.grad_x, tile_floats), tile_floats);
                }
                wait_for_copies();
                warp_sync();
                for (int o = 0; o < outputs; ++o) {
                    const int output = first_output + o;
                    const bool there[2] = {here[0] && output_is_there(p, rows.sample(0), output),
                                           here[1] && output_is_there(p, rows.sample(1), output)};
                    float votes[kTiles][4], gradient[kTiles][4];
                    if (by_product) {
                        votes_by_product<kTiles, 1>(plan, memory.part(lie.weight + o * output_floats, output_floats),
                                                    memory.part(lie.x, tile_floats), 1, votes);
                    } else {
                        constexpr int kColumnsHere = kTiles * kColumns, kStride = padded_stride(kColumnsHere);
                        const Shared given = memory.part(lie.x, kRows * kStride);
                        warp_sync();
                        load_votes<kTiles>(plan, given, input, tile * kRows, kRows, output, 1, kColumnsHere, kStride,
                                           lane_index(), kWarp);
                        warp_sync();
                        votes_from_rows<kTiles, 1>(given, kStride, 1, votes);
                    }
#pragma unroll
                    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
                        for (int r = 0; r < 4; ++r) gradient[n][r] = 0.0f;
                    }
                    float logit_sums[2] = {0.0f, 0.0f}, weight_sums[2] = {0.0f, 0.0f};
                    for (int t = first_t; t <= p.iterations; ++t) {
                        const bool through_logits = logits_carry_votes(p, t);
                        const Coefficients known =
                            coefficients_of<kTiles>(plan, rows, share, input, output, t, there, equal_share,
                                                    through_logits || wants_of_pairs, votes);
                        const Iteration iteration = iteration_of(plan, Direction::backward, t);
                        const int at = rows.tile * plan.width + output * kTiles;
                        if (t >= first_iteration_of_votes(p)) {
                            add_multiples<kTiles>(plan.slope, iteration.vectors + at, known.weight, gradient);
                        }
                        if (through_logits) {
                            add_multiples<kTiles>(plan.query, iteration.vectors + at, known.logit_gradient, gradient);
                        }
                        const float factor = factors_of(plan, t).logit;
#pragma unroll
                        for (int r = 0; r < 2; ++r) {
                            logit_sums[r] = fmaf(factor, known.logit_gradient[r], logit_sums[r]);
                            weight_sums[r] += known.weight_gradient[r];
                        }
                    }
                    // A gradient that is not finite reaches only what is there.
#pragma unroll
                    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
                        for (int r = 0; r < 4; ++r) gradient[n][r] = there[r / 2] ? gradient[n][r] : 0.0f;
                    }
                    if (wanted.input_weight && lane_column() == 0) {
                        grad_input_weight.store(lane_row(), grad_input_weight.load(lane_row()) + weight_sums[0]);
                        grad_input_weight.store(lane_row() + 8,
                                                grad_input_weight.load(lane_row() + 8) + weight_sums[1]);
                    }
                    if (wanted.logits && p.logits_per_sample) {
#pragma unroll
                        for (int r = 0; r < 2; ++r) {
                            if (rows.sample(r) >= p.batch || lane_column() != 0) continue;
                            const int64_t at = input_index(p, rows.sample(r), input) * p.outputs + output;
                            write_float(p.dtype, buffers.grad_logits, at, logit_sums[r]);
                        }
                    } else if (wanted.logits) {
                        const float sum = sum_over_rows(logit_sums[0] + logit_sums[1]);
                        if (lane_index() == 0) grad_logits.store(o, grad_logits.load(o) + sum);
                    }
                    if (!by_product) {
                        if (buffers.grad_votes) store_grad_votes<kTiles>(plan, buffers, rows, input, output, gradient);
                        continue;
                    }
                    if (wanted.x) {
                        add_grad_x<kTiles>(plan, memory.part(lie.weight + o * output_floats, output_floats),
                                           memory.part(lie.grad_x, tile_floats), gradient);
                    }
                    if (wanted.weight) {
                        add_grad_weight<kTiles>(plan, memory.part(lie.x, tile_floats),
                                                memory.part(lie.grad_weight + o * output_floats, output_floats),
                                                gradient);
                    }
                }
                warp_sync();
                if (by_product && wanted.x) {
                    store_rows(p, buffers.grad_x, plan.part_x, int(p.input_size), memory.part(lie.grad_x, tile_floats),
                               plan.row_stride, rows, input, first_output == 0, last_block);
                }
                if (wanted.input_weight) {
                    store_rows(p, buffers.grad_input_weight, plan.part_input_weight, 1, grad_input_weight, 1, rows,
                               input, first_output == 0, last_block);
                }
            }
            warp_sync();
            for (int o = lane_index(); wanted.logits && !p.logits_per_sample && o < outputs; o += kWarp) {
                plan.part_logits[(item.tile_part * p.inputs + input) * p.outputs + first_output + o] =
                    grad_logits.load(o);
            }
        }
        warp_sync();
        if (by_product && wanted.weight) {
            store_grad_weight<kTiles>(plan, buffers, memory.part(lie.grad_weight, outputs * output_floats),
                                      last_item_of(plan, forgotten(index)), first_output, outputs);
        }
    }
}

}  // namespace capsroute::cuda
