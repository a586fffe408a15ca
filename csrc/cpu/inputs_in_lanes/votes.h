// Votes with inputs in the lanes: packing x, turning weights into the lanes, and their product.
// Internal linkage, see simd.h.
#pragma once

#include "../samples_in_lanes/votes.h"
#include "state.h"

namespace {

using capsroute::cpu::KeptScratch;
using capsroute::cpu::KeptState;
using capsroute::cpu::Wave;

template <class T>
inline int64_t inputs_in_block(const KeptState<T>& state, int64_t block) {
    const int64_t left = state.problem.inputs - block * kLanes<T>;
    return left < kLanes<T> ? left : kLanes<T>;
}

// x, votes or another array [blocks, wave, rows, N] at one block and sample.
template <class T>
CAPSROUTE_INLINE T* at_block(const KeptState<T>& state, T* from, int64_t block, int64_t sample, int64_t rows) {
    return from + (block * state.wave + sample) * rows * kLanes<T>;
}

// An array [first, wave, columns] of plain numbers at one sample.
template <class T>
CAPSROUTE_INLINE T* at_sample(const KeptState<T>& state, T* from, int64_t first, int64_t sample, int64_t columns) {
    return from + (first * state.wave + sample) * columns;
}

// May a lane of this block be absent for some sample?
template <class T>
inline bool has_absent_inputs(const KeptState<T>& state, int64_t block) {
    return state.problem.input_mask || inputs_in_block(state, block) < kLanes<T>;
}

// 1 where the input is there, 0 where it is absent or there is none.
template <class T>
inline Pack<T> inputs_present(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample) {
    alignas(64) T lanes[kLanes<T>] = {};
    const int64_t inputs = inputs_in_block(state, block);
    const uint8_t* mask = state.problem.input_mask;
    if (mask) mask += (wave.first + sample) * state.problem.inputs + block * kLanes<T>;
    for (int64_t n = 0; n < inputs; ++n) lanes[n] = !mask || mask[n] ? T(1) : T(0);
    return load(lanes);
}

template <class T>
inline bool output_there(const KeptState<T>& state, const Wave& wave, int64_t sample, int64_t output) {
    const uint8_t* mask = state.problem.output_mask;
    return !mask || mask[(wave.first + sample) * state.problem.outputs + output];
}

// rows[n] = from[offset + n * stride + column ...], N elements of each of the first `valid` rows and zeros for the
// others, turned so that the rows stand in the lanes. `wanted` columns are needed; elements from `end` on are not read.
template <class T>
CAPSROUTE_INLINE void load_turned(capsroute::DType dtype, const void* from, int64_t offset, int64_t stride,
                                  int64_t valid, int64_t wanted, int64_t end, Pack<T> (&rows)[kLanes<T>]) {
    if (valid == kLanes<T> && offset + (kLanes<T> - 1) * stride + kLanes<T> <= end) {
        _Pragma("GCC unroll 16") for (int n = 0; n < kLanes<T>; ++n) {
            rows[n] = load_as<T>(dtype, from, offset + n * stride);
        }
    } else {
        alignas(64) T values[kLanes<T>][kLanes<T>] = {};
        for (int64_t n = 0; n < valid; ++n) {
            for (int64_t c = 0; c < wanted && c < kLanes<T>; ++c) {
                values[n][c] = read<T>(dtype, from, offset + n * stride + c);
            }
        }
        _Pragma("GCC unroll 16") for (int n = 0; n < kLanes<T>; ++n) rows[n] = load(values[n]);
    }
    transpose(rows);
}

// x of a block of inputs for one sample, [d, N]; 0 where the input is absent.
template <class T>
inline void pack_inputs(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample) {
    const RoutingProblem& problem = state.problem;
    const int64_t size = problem.input_size, inputs = inputs_in_block(state, block);
    const int64_t offset = ((wave.first + sample) * problem.inputs + block * kLanes<T>)*size;
    const int64_t end = problem.batch * problem.inputs * size;
    const bool masked = problem.input_mask;
    const Pack<T> there = masked ? inputs_present(state, wave, block, sample) : splat(T(1));
    T* to = at_block(state, state.x, block, sample, size);
    for (int64_t e = 0; e < size; e += kLanes<T>) {
        const int64_t columns = size - e < kLanes<T> ? size - e : kLanes<T>;
        Pack<T> rows[kLanes<T>];
        load_turned(problem.dtype, problem.x, offset + e, size, inputs, columns, end, rows);
        for (int64_t c = 0; c < columns; ++c) {
            store(to + (e + c) * kLanes<T>, masked ? select(there, rows[c], splat(T(0))) : rows[c]);
        }
    }
}

// N weights each of a block of inputs, from the q-th of every input on, with the inputs in the lanes. Asks for the
// weights that come next, because so many streams are too many for the processor to foresee.
template <class T>
CAPSROUTE_INLINE void turn_weights(const KeptState<T>& state, int64_t block, int64_t q, Pack<T> (&turned)[kLanes<T>]) {
    const RoutingProblem& problem = state.problem;
    const int64_t per_input = state.votes_per_input * problem.input_size, inputs = inputs_in_block(state, block);
    const int64_t offset = block * kLanes<T> * per_input + q;
    const int64_t element = element_bytes(problem.dtype);
    const char* ahead = static_cast<const char*>(problem.weight) + offset * element + 4 * kPackBytes;
    for (int64_t n = 0; n < inputs; ++n) __builtin_prefetch(ahead + n * per_input * element);
    const int64_t wanted = per_input - q;
    load_turned(problem.dtype, problem.weight, offset, per_input, inputs, wanted, problem.weight_inputs * per_input,
                turned);
}

// The weights of votes k .. k + votes of a block, [votes * d, N], inputs in the lanes.
template <class T>
inline void turn_panel(const KeptState<T>& state, int64_t block, int64_t k, int64_t votes, T* panel) {
    const int64_t size = state.problem.input_size, count = votes * size;
    for (int64_t q = 0; q < count; q += kLanes<T>) {
        Pack<T> turned[kLanes<T>];
        turn_weights(state, block, k * size + q, turned);
        _Pragma("GCC unroll 16") for (int c = 0; c < kLanes<T>; ++c) store(panel + (q + c) * kLanes<T>, turned[c]);
    }
}

// Votes of one block for all samples of a wave where an input has half as many components as there are lanes: two
// votes come from the registers of N turned weights.
template <class T>
inline void votes_of_half_rows(const KeptState<T>& state, const Wave& wave, int64_t block) {
    constexpr int kSize = kLanes<T> / 2;
    const int64_t count = state.votes_per_input;
    for (int64_t k = 0; k < count; k += 2) {
        Pack<T> weight[kLanes<T>];
        turn_weights(state, block, k * kSize, weight);
        const bool both = k + 1 < count;
        for (int64_t s = 0; s < wave.samples; ++s) {
            const T* x = at_block(state, state.x, block, s, kSize);
            Pack<T> first = weight[0] * load(x), second = weight[kSize] * load(x);
            _Pragma("GCC unroll 8") for (int e = 1; e < kSize; ++e) {
                const Pack<T> value = load(x + e * kLanes<T>);
                first = fma(weight[e], value, first);
                second = fma(weight[kSize + e], value, second);
            }
            T* votes = at_block(state, state.votes, block, s, count) + k * kLanes<T>;
            store(votes, first);
            if (both) store(votes + kLanes<T>, second);
        }
    }
}

// The same where an input has a multiple of N components: one vote takes one or several loads of N turned weights.
template <class T>
inline void votes_of_whole_rows(const KeptState<T>& state, const Wave& wave, int64_t block) {
    const int64_t count = state.votes_per_input, size = state.problem.input_size;
    for (int64_t k = 0; k < count; ++k) {
        for (int64_t e = 0; e < size; e += kLanes<T>) {
            Pack<T> weight[kLanes<T>];
            turn_weights(state, block, k * size + e, weight);
            for (int64_t s = 0; s < wave.samples; ++s) {
                const T* x = at_block(state, state.x, block, s, size) + e * kLanes<T>;
                T* votes = at_block(state, state.votes, block, s, count) + k * kLanes<T>;
                Pack<T> even = e == 0 ? splat(T(0)) : load(votes), odd = splat(T(0));
                _Pragma("GCC unroll 8") for (int c = 0; c < kLanes<T>; c += 2) {
                    even = fma(weight[c], load(x + c * kLanes<T>), even);
                    odd = fma(weight[c + 1], load(x + (c + 1) * kLanes<T>), odd);
                }
                store(votes, even + odd);
            }
        }
    }
}

template <int kBlock, class T>
CAPSROUTE_INLINE void votes_of_panel(const T* panel, int64_t size, const T* x, int64_t k, int64_t votes, T* to) {
    for (; k + kBlock <= votes; k += kBlock) {
        Pack<T> sum[kBlock];
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) sum[b] = splat(T(0));
        for (int64_t e = 0; e < size; ++e) {
            const Pack<T> value = load(x + e * kLanes<T>);
            _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) {
                sum[b] = fma(load(panel + ((k + b) * size + e) * kLanes<T>), value, sum[b]);
            }
        }
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) store(to + (k + b) * kLanes<T>, sum[b]);
    }
    if constexpr (kBlock > 1) {
        if (k < votes) votes_of_panel<kBlock / 2>(panel, size, x, k, votes, to);
    }
}

// The same for any number of components, through a panel of turned weights in memory.
template <class T>
inline void votes_of_any_rows(const KeptState<T>& state, const Wave& wave, int64_t block, T* panel) {
    const int64_t count = state.votes_per_input, size = state.problem.input_size;
    const int64_t step = capsroute::cpu::panel_votes(size, kLanes<T>);
    for (int64_t k = 0; k < count; k += step) {
        const int64_t votes = count - k < step ? count - k : step;
        turn_panel(state, block, k, votes, panel);
        for (int64_t s = 0; s < wave.samples; ++s) {
            votes_of_panel<kSums>(panel, size, at_block(state, state.x, block, s, size), 0, votes,
                                  at_block(state, state.votes, block, s, count) + k * kLanes<T>);
        }
    }
}

// state.votes of one block for all samples of a wave; 0 for absent inputs, whatever their weights are.
template <class T>
inline void keep_votes(const KeptState<T>& state, const Wave& wave, int64_t block, T* panel) {
    const int64_t size = state.problem.input_size, count = state.votes_per_input;
    for (int64_t s = 0; s < wave.samples; ++s) pack_inputs(state, wave, block, s);
    constexpr bool kInRegisters = kRegisters == 1;  // N turned weights
    if (kInRegisters && 2 * size == kLanes<T>) {
        votes_of_half_rows(state, wave, block);
    } else if (kInRegisters && size % kLanes<T> == 0) {
        votes_of_whole_rows(state, wave, block);
    } else {
        votes_of_any_rows(state, wave, block, panel);
    }
    if (!state.problem.input_mask) return;
    for (int64_t s = 0; s < wave.samples; ++s) {
        const Pack<T> there = inputs_present(state, wave, block, s);
        T* votes = at_block(state, state.votes, block, s, count);
        for (int64_t k = 0; k < count * kLanes<T>; k += kLanes<T>) {
            store(votes + k, select(there, load(votes + k), splat(T(0))));
        }
    }
}

// to[k] = sum over the lanes of from[k], each in the same order.
template <class T>
inline void add_lanes(const T* from, int64_t count, T* to) {
    for (int64_t k = 0; k < count; k += kLanes<T>) {
        const int64_t left = count - k;
        Pack<T> rows[kLanes<T>];
        _Pragma("GCC unroll 16") for (int n = 0; n < kLanes<T>; ++n) {
            rows[n] = n < left ? load(from + (k + n) * kLanes<T>) : splat(T(0));
        }
        transpose(rows);
        _Pragma("GCC unroll 4") for (int h = kLanes<T> / 2; h > 0; h /= 2) {
            _Pragma("GCC unroll 8") for (int n = 0; n < h; ++n) rows[n] = rows[n] + rows[n + h];
        }
        if (left >= kLanes<T>) {
            store(to + k, rows[0]);
        } else {
            alignas(64) T values[kLanes<T>];
            store(values, rows[0]);
            for (int64_t n = 0; n < left; ++n) to[k + n] = values[n];
        }
    }
}

}  // namespace
