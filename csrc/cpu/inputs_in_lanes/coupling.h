// From kept votes to coupling coefficients, for one sample and the blocks of a chunk. Internal linkage, see simd.h.
//
// Terms are arrays [blocks of the chunk, J, N].
#pragma once

#include "../samples_in_lanes/coupling.h"
#include "votes.h"

namespace {

// The blocks of a chunk.
struct Blocks {
    int64_t begin, end;
};

template <class T>
inline Blocks blocks_of(const KeptState<T>& state, int64_t chunk) {
    const int64_t begin = chunk * state.chunk_blocks, end = begin + state.chunk_blocks;
    return {begin, end < state.blocks ? end : state.blocks};
}

template <class T>
CAPSROUTE_INLINE T* terms_of(const KeptState<T>& state, T* terms, int64_t block) {
    return terms + block * state.problem.outputs * kLanes<T>;
}

// Calls add(k, chain) for each component of a sum of products in two chains.
template <class Add>
CAPSROUTE_INLINE void chained(int64_t size, const Add& add) {
    int64_t k = 0;
    for (; k + 4 <= size; k += 4) {
        add(k, 0);
        add(k + 1, 1);
        add(k + 2, 0);
        add(k + 3, 1);
    }
    for (; k < size; ++k) add(k, 0);
}

// dots[b][j] = votes of output j . query, for kBlocks blocks that read each component of the query once. Each block's
// products are summed in the same order whatever kBlocks and kQueries are: backward finds the logits of forward.
template <int kBlocks, int kQueries, class T>
CAPSROUTE_INLINE void kept_products(const KeptState<T>& state, int64_t block, int64_t sample, const T* query,
                                    const T* second_query, T* dots, T* second_dots) {
    const int64_t size = state.problem.output_size, outputs = state.problem.outputs, count = state.votes_per_input;
    const int64_t next = state.wave * count * kLanes<T>;  // from one block to the next
    const T* votes = at_block(state, state.votes, block, sample, count);
    for (int64_t j = 0; j < outputs; ++j) {
        Pack<T> sum[kQueries][kBlocks][2];
        _Pragma("GCC unroll 4") for (int b = 0; b < 2 * kBlocks * kQueries; ++b) {
            sum[b / (2 * kBlocks)][b / 2 % kBlocks][b % 2] = splat(T(0));
        }
        const auto add = [&](int64_t k, int chain) __attribute__((always_inline)) {
            const Pack<T> q = splat(query[j * size + k]);
            const Pack<T> q2 = splat(kQueries > 1 ? second_query[j * size + k] : T(0));
            _Pragma("GCC unroll 2") for (int b = 0; b < kBlocks; ++b) {
                const Pack<T> vote = load(votes + (j * size + k) * kLanes<T> + b * next);
                sum[0][b][chain] = fma(q, vote, sum[0][b][chain]);
                if constexpr (kQueries > 1) sum[1][b][chain] = fma(q2, vote, sum[1][b][chain]);
            }
        };
        chained(size, add);
        _Pragma("GCC unroll 2") for (int b = 0; b < kBlocks; ++b) {
            store(dots + (b * outputs + j) * kLanes<T>, sum[0][b][0] + sum[0][b][1]);
            if constexpr (kQueries > 1) {
                store(second_dots + (b * outputs + j) * kLanes<T>, sum[1][b][0] + sum[1][b][1]);
            }
        }
    }
}

// The product of a vector with a query, added up as that of a vote is.
template <class T>
inline T product_like_kept(int64_t size, const T* vector, const T* query) {
    T sum[2] = {0, 0};
    chained(size, [&](int64_t k, int chain) { sum[chain] = fma_of(query[k], vector[k], sum[chain]); });
    return sum[0] + sum[1];
}

// dots = votes . query for all blocks of a chunk, and the same for a second query.
template <int kQueries, class T>
inline void chunk_products(const KeptState<T>& state, Blocks blocks, int64_t sample, const T* query,
                           const T* second_query, T* dots, T* second_dots) {
    const int64_t row = state.problem.outputs * kLanes<T>;
    int64_t block = blocks.begin;
    for (; block + 2 <= blocks.end; block += 2, dots += 2 * row, second_dots += 2 * row) {
        kept_products<2, kQueries>(state, block, sample, query, second_query, dots, second_dots);
    }
    if (block < blocks.end) {
        kept_products<1, kQueries>(state, block, sample, query, second_query, dots, second_dots);
    }
}

// logits += the initial logits of a block as they count in an iteration.
template <class T>
inline void add_initial_logits(const KeptState<T>& state, const Wave& wave, int64_t iteration, int64_t block,
                               int64_t sample, T* logits) {
    const RoutingProblem& problem = state.problem;
    const T part = T(capsroute::logit_factor(problem, iteration));
    if (!problem.logits || part == 0) return;
    const int64_t outputs = problem.outputs, inputs = inputs_in_block(state, block);
    const int64_t row = problem.logits_per_sample ? (wave.first + sample) * problem.inputs : 0;
    const int64_t first = (row + block * kLanes<T>)*outputs;
    for (int64_t n = 0; n < inputs; ++n) {
        for (int64_t j = 0; j < outputs; ++j) {
            logits[j * kLanes<T> + n] += part * read<T>(problem.dtype, problem.logits, first + n * outputs + j);
        }
    }
}

// Softmax over the outputs of one block, in place; absent outputs and inputs get 0.
template <class T>
inline void softmax_over_outputs(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample,
                                 T* logits) {
    const int64_t outputs = state.problem.outputs;
    const Pack<T> zero = splat(T(0));
    Pack<T> largest = state.problem.leaky ? zero : splat(kLowest<T>);
    for (int64_t j = 0; j < outputs; ++j) {
        if (output_there(state, wave, sample, j)) largest = larger(load(logits + j * kLanes<T>), largest);
    }
    Pack<T> sum = state.problem.leaky ? exp_nonpositive(zero - largest) : zero;
    for (int64_t j = 0; j < outputs; ++j) {
        T* logit = logits + j * kLanes<T>;
        const Pack<T> share = output_there(state, wave, sample, j) ? exp_nonpositive(load(logit) - largest) : zero;
        store(logit, share);
        sum = sum + share;
    }
    const Pack<T> factor = reciprocal_or_zero(sum);
    const bool masked = has_absent_inputs(state, block);
    const Pack<T> there = masked ? inputs_present(state, wave, block, sample) : zero;
    for (int64_t j = 0; j < outputs; ++j) {
        const Pack<T> c = load(logits + j * kLanes<T>) * factor;
        store(logits + j * kLanes<T>, masked ? select(there, c, zero) : c);
    }
}

// Coupling coefficients that were given, in the place of logits; absent outputs and inputs get 0.
template <class T>
inline void mask_coupling(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample, T* c) {
    const Pack<T> zero = splat(T(0));
    const bool masked = has_absent_inputs(state, block);
    const Pack<T> there = masked ? inputs_present(state, wave, block, sample) : zero;
    for (int64_t j = 0; j < state.problem.outputs; ++j) {
        const Pack<T> own = output_there(state, wave, sample, j) ? load(c + j * kLanes<T>) : zero;
        store(c + j * kLanes<T>, masked ? select(there, own, zero) : own);
    }
}

// Logits of one block to coupling coefficients, where the other inputs do not count.
template <class T>
inline void couple_outputs(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample, T* logits) {
    if (state.problem.coupling_given) {
        mask_coupling(state, wave, block, sample, logits);
    } else {
        softmax_over_outputs(state, wave, block, sample, logits);
    }
}

// What the coupling of each input of a block is multiplied with after the softmax; 0 where it is absent.
template <class T>
inline Pack<T> weights_of_block(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample) {
    const RoutingProblem& problem = state.problem;
    alignas(64) T lanes[kLanes<T>] = {};
    const int64_t first = (wave.first + sample) * problem.inputs + block * kLanes<T>;
    const int64_t inputs = inputs_in_block(state, block);
    for (int64_t n = 0; n < inputs; ++n) lanes[n] = read<T>(problem.dtype, problem.input_weight, first + n);
    const Pack<T> weights = load(lanes);
    return has_absent_inputs(state, block) ? select(inputs_present(state, wave, block, sample), weights, splat(T(0)))
                                           : weights;
}

template <class T>
inline void weigh_coupling(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample, T* c) {
    if (!state.problem.input_weight) return;
    const Pack<T> weights = weights_of_block(state, wave, block, sample);
    for (int64_t j = 0; j < state.problem.outputs; ++j) store(c + j * kLanes<T>, load(c + j * kLanes<T>) * weights);
}

// Softmax over the inputs of a chunk, in place, relative to their largest logit; stores that and the sum of the
// exponentials per output. The step puts the chunks together.
template <class T>
inline void softmax_over_chunk(const KeptState<T>& state, const Wave& wave, Blocks blocks, int64_t sample, T* logits,
                               T* chunk_largest, T* chunk_sum) {
    const Pack<T> zero = splat(T(0)), lowest = splat(kLowest<T>);
    const int64_t outputs = state.problem.outputs;
    for (int64_t j = 0; j < outputs; ++j) {
        Pack<T> largest = lowest;
        for (int64_t block = blocks.begin; block < blocks.end; ++block) {
            T* logit = terms_of(state, logits, block - blocks.begin) + j * kLanes<T>;
            if (has_absent_inputs(state, block)) {
                store(logit, select(inputs_present(state, wave, block, sample), load(logit), lowest));
            }
            largest = larger(load(logit), largest);
        }
        alignas(64) T lanes[kLanes<T>];
        store(lanes, largest);
        T top = lanes[0];
        for (int n = 1; n < kLanes<T>; ++n) top = lanes[n] > top ? lanes[n] : top;
        Pack<T> sum = zero;
        for (int64_t block = blocks.begin; block < blocks.end; ++block) {
            T* logit = terms_of(state, logits, block - blocks.begin) + j * kLanes<T>;
            Pack<T> share = exp_nonpositive(load(logit) - splat(top));
            if (has_absent_inputs(state, block)) {
                share = select(inputs_present(state, wave, block, sample), share, zero);
            }
            store(logit, share);
            sum = sum + share;
        }
        chunk_largest[j] = top;
        chunk_sum[j] = sum_of_lanes(sum);
    }
}

// to[k] = sum over the blocks of a chunk and their lanes of c[j] votes[j, k]; without c of the votes alone.
template <int kBlock, bool kWeighted, class T>
CAPSROUTE_INLINE void sum_blocks(const KeptState<T>& state, Blocks blocks, int64_t sample, const T* c, int64_t k,
                                 int64_t end, T* sums) {
    const int64_t count = state.votes_per_input;
    for (; k + kBlock <= end; k += kBlock) {
        Pack<T> sum[kBlock];
        _Pragma("GCC unroll 16") for (int b = 0; b < kBlock; ++b) sum[b] = splat(T(0));
        const T* factor = c;
        for (int64_t block = blocks.begin; block < blocks.end; ++block) {
            const T* votes = at_block(state, state.votes, block, sample, count) + k * kLanes<T>;
            if constexpr (kWeighted) {
                const Pack<T> f = load(factor);
                _Pragma("GCC unroll 16") for (int b = 0; b < kBlock; ++b) {
                    sum[b] = fma(f, load(votes + b * kLanes<T>), sum[b]);
                }
                factor += state.problem.outputs * kLanes<T>;
            } else {
                _Pragma("GCC unroll 16") for (int b = 0; b < kBlock; ++b) {
                    sum[b] = sum[b] + load(votes + b * kLanes<T>);
                }
            }
        }
        _Pragma("GCC unroll 16") for (int b = 0; b < kBlock; ++b) store(sums + (k + b) * kLanes<T>, sum[b]);
    }
    if constexpr (kBlock > 1) {
        if (k < end) sum_blocks<kBlock / 2, kWeighted>(state, blocks, sample, c, k, end, sums);
    }
}

constexpr int kSumBlock = kRegisters == 1 ? 16 : 4;

template <class T>
inline void weighted_sums(const KeptState<T>& state, Blocks blocks, int64_t sample, const T* terms, T* sums, T* to) {
    const int64_t size = state.problem.output_size;
    for (int64_t j = 0; j < state.problem.outputs; ++j) {
        sum_blocks<kSumBlock, true>(state, blocks, sample, terms + j * kLanes<T>, j * size, (j + 1) * size, sums);
    }
    add_lanes(sums, state.votes_per_input, to);
}

template <class T>
inline void plain_sums(const KeptState<T>& state, Blocks blocks, int64_t sample, T* sums, T* to) {
    sum_blocks<kSumBlock, false>(state, blocks, sample, sums, 0, state.votes_per_input, sums);
    add_lanes(sums, state.votes_per_input, to);
}

}  // namespace
