// Tiles of 16 x 8 floats in the registers of a warp, and their products on the tensor cores.
//
// A lane is row pair g = lane / 4 and column pair q = lane % 4. Of a 16 x 8 tile it holds
//     v[0], v[1] = (g, 2q), (g, 2q + 1)        v[2], v[3] = (g + 8, 2q), (g + 8, 2q + 1)
// whether the tile is the left operand of a product (16 samples x 8 components of an input) or its result. Of an 8 x 8
// right operand it holds (2q, g) and (2q + 1, g). The order of the 8 terms of a product is free, and with this one a
// result can be the left operand of the next product as it is, and every pair lies side by side in memory.
#pragma once

#include "device.cuh"
#include "plan.h"

namespace capsroute::cuda {

// Unsigned divisions, or the compiler would keep the sign of each of these in a register of its own.
CAPSROUTE_DEVICE int lane_index() {
    return int(unsigned(thread_index()) % kWarp);
}
CAPSROUTE_DEVICE int warp_index() {
    return int(unsigned(forgotten(thread_index())) / kWarp);
}
CAPSROUTE_DEVICE int lane_row() {
    return int(unsigned(lane_index()) / 4);
}
CAPSROUTE_DEVICE int lane_column() {
    return int(unsigned(lane_index()) % 4 * 2);
}

// Where a lane's four floats stand in a fragment in shared memory.
CAPSROUTE_DEVICE int lane_offset() {
    return int(unsigned(forgotten(thread_index())) % kWarp * 4);
}

// Sums over the four lanes that share a row; each of them gets it.
CAPSROUTE_DEVICE float sum_over_columns(float value) {
    value += shuffle_xor(value, 1);
    return value + shuffle_xor(value, 2);
}

// Sums over the eight lanes that share a column pair.
CAPSROUTE_DEVICE float sum_over_rows(float value) {
    value += shuffle_xor(value, 4);
    value += shuffle_xor(value, 8);
    return value + shuffle_xor(value, 16);
}

// e^x for x <= 0. The product with log2(e) rounds, so that the result is wrong by |x| e^x 2^-24 at most, 2.2e-8 of the
// largest term of a softmax, besides the 2^-22 of the instruction.
CAPSROUTE_DEVICE float exp_nonpositive(float x) {
    return exp2_approximate(x * 1.44269504f);
}

// 1 / a, and 0 at 0: a softmax over nothing, or the direction of a vector of length 0.
CAPSROUTE_DEVICE float reciprocal_or_zero(float a) {
    return a == 0 ? 0.0f : 1.0f / a;
}

// A tile kept as fragments, see plan.h.
CAPSROUTE_DEVICE float4 load_fragment(const float* fragments, int64_t tile) {
    return reinterpret_cast<const float4*>(fragments)[tile * kWarp + lane_index()];
}
CAPSROUTE_DEVICE void store_fragment(float* fragments, int64_t tile, const float (&v)[4]) {
    reinterpret_cast<float4*>(fragments)[tile * kWarp + lane_index()] = make_float4(v[0], v[1], v[2], v[3]);
}

// How an operand goes to the tensor cores, which see 10 bits after the point. `exact`: it has no more than that, as
// bfloat16 and float16 have, or is rounded to them. `split`: in two parts, for products as exact as in float32.
enum class Operand { exact, split };

template <Operand kOperand, int kCount>
struct Parts {
    float high[kCount];
};
template <int kCount>
struct Parts<Operand::split, kCount> {
    float high[kCount];
    float low[kCount];
};

template <Operand kOperand, int kCount>
CAPSROUTE_DEVICE Parts<kOperand, kCount> parts_of(const float (&v)[kCount]) {
    Parts<kOperand, kCount> parts;
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
        if constexpr (kOperand == Operand::split) {
            // To the nearest, in two instructions where the conversion takes six. A NaN that this spoils, or a number
            // so large that this makes it infinite, makes the low part a NaN.
            parts.high[k] = float_of((bits_of(v[k]) + 0x1000) & 0xffffe000);
            parts.low[k] = v[k] - parts.high[k];
        } else {
            parts.high[k] = round_to_tf32(v[k]);
        }
    }
    return parts;
}

// The product without tensor cores: each lane fetches the operands of its four results from the others.
CAPSROUTE_DEVICE void multiply_add_by_shuffles(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    const int row = lane_row() * 4, column = lane_column() * 4;
#pragma unroll 1  // eight times the code and the registers would not be faster: the shuffles are the limit
    for (int pair = 0; pair < kColumns / 2; ++pair) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const float a_upper = shuffle(a[k], row + pair), a_lower = shuffle(a[2 + k], row + pair);
            const float b_left = shuffle(b[k], column + pair), b_right = shuffle(b[k], column + 4 + pair);
            c[0] += a_upper * b_left;
            c[1] += a_upper * b_right;
            c[2] += a_lower * b_left;
            c[3] += a_lower * b_right;
        }
    }
}

// c += a b for a 16 x 8 tile a, given whole and in parts, and an 8 x 8 operand b. The tensor cores cut off what they
// add up instead of rounding it, so no more than a few products may follow each other in one c; longer sums are made
// outside.
template <Operand kLeft, Operand kRight>
CAPSROUTE_DEVICE void multiply_add(float (&c)[4], const float (&a)[4], const Parts<kLeft, 4>& parts,
                                   const float (&b)[2]) {
    if (!has_mma_tf32()) {
        multiply_add_by_shuffles(c, a, b);
        return;
    }
    const Parts<kRight, 2> right = parts_of<kRight>(b);
    // Terms 2q and 2q + 1 of ours are terms q and q + 4 of the instruction.
    const float high[4] = {parts.high[0], parts.high[2], parts.high[1], parts.high[3]};
    if constexpr (kLeft == Operand::split) {
        const float low[4] = {parts.low[0], parts.low[2], parts.low[1], parts.low[3]};
        mma_m16n8k8_tf32(c, low, right.high);
    }
    if constexpr (kRight == Operand::split) mma_m16n8k8_tf32(c, high, right.low);
    mma_m16n8k8_tf32(c, high, right.high);
}

// Of a tile of 16 samples x 8 columns, the transposed upper (samples 0 .. 7) or lower half as a lane holds it: elements
// (2q, g) and (2q + 1, g) of the half.
CAPSROUTE_DEVICE float2 transposed_half(float left, float right) {
    const int source = lane_column() * 4 + lane_row() / 2;
    const bool odd = lane_row() % 2;
    const float first_left = shuffle(left, source), first_right = shuffle(right, source);
    const float second_left = shuffle(left, source + 4), second_right = shuffle(right, source + 4);
    return make_float2(odd ? first_right : first_left, odd ? second_right : second_left);
}

}  // namespace capsroute::cuda
