// Gradients of x and the weight where the components of an input fill whole registers and a pack takes several of them:
// with the components in the lanes, as they lie in memory. Nothing is turned, and the weights are read once for both.
// Where a pack is one register, turning costs less than the half of each register that would stay empty here.
// Internal linkage, see simd.h.
#pragma once

#include "votes.h"

namespace {

using capsroute::RoutingBackward;

// Do the components of an input, whole and in T, fill registers of which a pack takes several?
template <class T>
inline bool has_register_rows(const RoutingProblem& problem) {
    return kRegisters > 1 && element_bytes(problem.dtype) == int64_t(sizeof(T)) && problem.input_size % kWidth<T> == 0;
}

// What the gradients of some weights of one input come from; strides are those between samples.
template <class T>
struct InputRows {
    const T* weight;
    T* grad_weight;
    const T* x;
    int64_t x_stride;
    const T* grad_votes;  // votes N apart
    int64_t votes_stride;
    T* grad_x;
    int64_t grad_x_stride;
    const uint8_t* mask;  // or null
    int64_t mask_stride;
    int64_t size, samples;
    bool fresh;  // the first wave
};

// For kBlock votes from the k-th on, and the components in one register.
template <int kBlock, bool kX, bool kWeight, class T>
CAPSROUTE_INLINE void add_row_gradients(const InputRows<T>& rows, int64_t k, int64_t e) {
    using V = typename Pack<T>::V;
    V weight[kBlock], sum[kBlock];
    _Pragma("GCC unroll 4") for (int b = 0; b < kBlock; ++b) {
        if constexpr (kX) weight[b] = load_register(rows.weight + (k + b) * rows.size + e);
        sum[b] = V{};
    }
    for (int64_t s = 0; s < rows.samples; ++s) {
        if (rows.mask && !rows.mask[s * rows.mask_stride]) continue;  // whatever stands in its x
        const T* gradient = rows.grad_votes + s * rows.votes_stride + k * kLanes<T>;
        if constexpr (kWeight) {
            const V x = load_register(rows.x + s * rows.x_stride + e);
            _Pragma("GCC unroll 4") for (int b = 0; b < kBlock; ++b) sum[b] = gradient[b * kLanes<T>] * x + sum[b];
        }
        if constexpr (kX) {
            V part = gradient[0] * weight[0];  // apart from the long sum, whose latency would be waited for
            _Pragma("GCC unroll 4") for (int b = 1; b < kBlock; ++b) part = gradient[b * kLanes<T>] * weight[b] + part;
            T* to = rows.grad_x + s * rows.grad_x_stride + e;
            store_register(to, load_register(to) + part);
        }
    }
    if constexpr (!kWeight) return;
    _Pragma("GCC unroll 4") for (int b = 0; b < kBlock; ++b) {
        T* to = rows.grad_weight + (k + b) * rows.size + e;
        store_register(to, rows.fresh ? sum[b] : load_register(to) + sum[b]);
    }
}

// The gradients of x (if kX) and of the weight (if kWeight) of one block; pose is [wave, N, d] of scratch.
template <bool kX, bool kWeight, class T>
inline void row_gradients(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave, int64_t block,
                          T* pose) {
    constexpr int64_t kVotes = 16;  // of an input, before the next one: their gradients stay in the first-level cache
    const RoutingProblem& problem = state.problem;
    const int64_t size = problem.input_size, count = state.votes_per_input, per_input = count * size;
    const int64_t first = block * kLanes<T>, inputs = inputs_in_block(state, block), own = kLanes<T> * size;
    if constexpr (kX) {
        for (int64_t n = 0; n < wave.samples * own; ++n) pose[n] = 0;
    }
    for (int64_t begin = 0; begin < count; begin += kVotes) {
        const int64_t end = count - begin < kVotes ? count : begin + kVotes;
        for (int64_t n = 0; n < inputs; ++n) {
            const int64_t number = wave.first * problem.inputs + first + n;  // of the input in its first sample
            const int64_t weights = (first + n) * per_input;
            const InputRows<T> rows{
                .weight = static_cast<const T*>(problem.weight) + weights,
                .grad_weight = kWeight ? static_cast<T*>(buffers.grad_weight) + weights : nullptr,
                .x = static_cast<const T*>(problem.x) + number * size,
                .x_stride = problem.inputs * size,
                .grad_votes = at_block(state, state.votes, block, 0, count) + n,
                .votes_stride = count * kLanes<T>,
                .grad_x = pose + n * size,
                .grad_x_stride = own,
                .mask = problem.input_mask ? problem.input_mask + number : nullptr,
                .mask_stride = problem.inputs,
                .size = size,
                .samples = wave.samples,
                .fresh = wave.first == 0,
            };
            for (int64_t e = 0; e < size; e += kWidth<T>) {
                int64_t k = begin;
                for (; k + 4 <= end; k += 4) add_row_gradients<4, kX, kWeight>(rows, k, e);
                for (; k < end; ++k) add_row_gradients<1, kX, kWeight>(rows, k, e);
            }
        }
    }
    if constexpr (!kX) return;
    for (int64_t s = 0; s < wave.samples; ++s) {
        T* to = static_cast<T*>(buffers.grad_x) + ((wave.first + s) * problem.inputs + first) * size;
        for (int64_t n = 0; n < inputs * size; ++n) to[n] = pose[s * own + n];
    }
}

template <class T>
inline void row_gradients(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave, int64_t block,
                          T* pose) {
    if (buffers.grad_x && buffers.grad_weight) {
        row_gradients<true, true>(state, buffers, wave, block, pose);
    } else if (buffers.grad_x) {
        row_gradients<true, false>(state, buffers, wave, block, pose);
    } else if (buffers.grad_weight) {
        row_gradients<false, true>(state, buffers, wave, block, pose);
    }
}

}  // namespace
