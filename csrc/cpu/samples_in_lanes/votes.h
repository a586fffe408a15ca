// Getting at the votes of one input for a tile of samples, from x and weight or from given votes, and packing x.
// Internal linkage, see simd.h.
#pragma once

#include "../packs.h"
#include "../state.h"

namespace {

using capsroute::RoutingProblem;
using capsroute::cpu::Scratch;
using capsroute::cpu::State;

// Votes per block: as many accumulators as the registers hold beside one pack of x and the weights.
constexpr int kVoteBlock = CAPSROUTE_VECTOR_BYTES == 64 ? 16 : 4 * CAPSROUTE_VECTOR_BYTES / 32;

template <class T>
inline int64_t samples_in_tile(const State<T>& state, int64_t tile) {
    const int64_t left = state.problem.batch - tile * kLanes<T>;
    return left < kLanes<T> ? left : kLanes<T>;
}

// to[column][lane] = from[offset + lane * stride + column], 0 for lanes that have no sample. Elements from `end` on are
// not read.
template <class T>
inline void transpose_in(capsroute::DType dtype, const void* from, int64_t offset, int64_t stride, int64_t samples,
                         int64_t columns, int64_t end, T* to) {
    for (int64_t column = 0; column < columns; column += kLanes<T>) {
        const int64_t left = columns - column < kLanes<T> ? columns - column : kLanes<T>;
        Pack<T> block[kLanes<T>];
        for (int n = 0; n < kLanes<T>; ++n) {
            const int64_t at = offset + n * stride + column;
            if (n >= samples) {
                block[n] = splat(T(0));
            } else if (at + kLanes<T> <= end) {  // columns beyond the last are read, and dropped below
                block[n] = load_as<T>(dtype, from, at);
            } else {
                alignas(64) T values[kLanes<T>] = {};
                for (int64_t c = 0; c < left; ++c) values[c] = read<T>(dtype, from, at + c);
                block[n] = load(values);
            }
        }
        transpose(block);
        for (int64_t n = 0; n < left; ++n) store(to + (column + n) * kLanes<T>, block[n]);
    }
}

// to[offset + lane * stride + column] = from[column][lane] for the samples of a tile.
template <class T>
inline void transpose_out(capsroute::DType dtype, const T* from, int64_t samples, int64_t columns, void* to,
                          int64_t offset, int64_t stride) {
    int64_t column = 0;
    for (; column + kLanes<T> <= columns; column += kLanes<T>) {
        Pack<T> block[kLanes<T>];
        for (int n = 0; n < kLanes<T>; ++n) block[n] = load(from + (column + n) * kLanes<T>);
        transpose(block);
        for (int n = 0; n < samples; ++n) store_as(dtype, to, offset + n * stride + column, block[n]);
    }
    if (column == columns) return;
    const int64_t left = columns - column;
    Pack<T> block[kLanes<T>];
    for (int64_t n = 0; n < kLanes<T>; ++n) {
        block[n] = n < left ? load(from + (column + n) * kLanes<T>) : splat(T(0));
    }
    transpose(block);
    for (int64_t n = 0; n < samples; ++n) store_some_as(dtype, to, offset + n * stride + column, left, block[n]);
}

// 1 where the input is there, 0 where it is absent or the lane has no sample.
template <class T>
inline Pack<T> input_present(const State<T>& state, int64_t tile, int64_t input) {
    alignas(64) T lanes[kLanes<T>] = {};
    const int64_t samples = samples_in_tile(state, tile);
    const uint8_t* mask = state.problem.input_mask + tile * kLanes<T> * state.problem.inputs + input;
    for (int64_t n = 0; n < samples; ++n) lanes[n] = mask[n * state.problem.inputs] ? T(1) : T(0);
    return load(lanes);
}

template <class T>
inline bool any_input_present(const State<T>& state, int64_t tile, int64_t input) {
    const int64_t samples = samples_in_tile(state, tile);
    const uint8_t* mask = state.problem.input_mask + tile * kLanes<T> * state.problem.inputs + input;
    uint8_t any = 0;
    for (int64_t n = 0; n < samples; ++n) any |= mask[n * state.problem.inputs];
    return any != 0;
}

// dot += sum over k of votes[k] query[k], in short chains of dependent sums. Every product of votes and query goes
// through here, so that backward finds the logits of forward bit for bit. A sum of two plain products must not stand
// here: the compiler may round either of them, another one in another place.
template <int kBlock, class T>
CAPSROUTE_INLINE void add_products(const Pack<T> (&votes)[kBlock], const T* query, Pack<T>& dot) {
    constexpr int kChains = 4;
    if constexpr (kBlock <= kChains) {
        _Pragma("GCC unroll 4") for (int k = 0; k < kBlock; ++k) dot = fma(votes[k], load(query + k * kLanes<T>), dot);
    } else {
        Pack<T> chain[kChains];
        _Pragma("GCC unroll 16") for (int k = 0; k < kBlock; ++k) {
            chain[k % kChains] =
                fma(votes[k], load(query + k * kLanes<T>), k < kChains ? splat(T(0)) : chain[k % kChains]);
        }
        _Pragma("GCC unroll 4") for (int c = 0; c < kChains; ++c) dot = dot + chain[c];
    }
}

// One block of votes of one input: votes[k] = weight[k, :] . x, and their products with up to two queries.
template <int kBlock, int kQueries, int kSize, bool kPairs, class T>
CAPSROUTE_INLINE void vote_block(const T* weight, int64_t runtime_size, const T* x, T* votes, const T* query,
                                 const T* second_query, Pack<T>& dot, Pack<T>& second_dot) {
    const int64_t size = kSize ? kSize : runtime_size;
    Pack<T> sum[kBlock];
    _Pragma("GCC unroll 16") for (int k = 0; k < kBlock; ++k) sum[k] = splat(T(0));
    _Pragma("GCC unroll 8") for (int64_t e = 0; e < size; ++e) {
        const Pack<T> value = load(x + e * kLanes<T>);
        _Pragma("GCC unroll 16") for (int k = 0; k < kBlock; ++k) {
            sum[k] = multiply_weight<kPairs>(weight + k * size + e, value, sum[k]);
        }
    }
    _Pragma("GCC unroll 16") for (int k = 0; k < kBlock; ++k) store(votes + k * kLanes<T>, sum[k]);
    if constexpr (kQueries > 0) add_products(sum, query, dot);
    if constexpr (kQueries > 1) add_products(sum, second_query, second_dot);
}

// Votes k .. votes_per_output of one output, in blocks of kBlock and then of halves of it.
template <int kBlock, int kQueries, int kSize, bool kPairs, class T>
CAPSROUTE_INLINE void vote_blocks(const T* weight, int64_t size, const T* x, int64_t k, int64_t count, T* votes,
                                  const T* query, const T* second_query, Pack<T>& dot, Pack<T>& second_dot) {
    for (; k + kBlock <= count; k += kBlock) {
        vote_block<kBlock, kQueries, kSize, kPairs>(weight + k * size, size, x, votes + k * kLanes<T>,
                                                    query + k * kLanes<T>, second_query + k * kLanes<T>, dot,
                                                    second_dot);
    }
    if constexpr (kBlock > 1) {
        if (k < count) {
            vote_blocks<kBlock / 2, kQueries, kSize, kPairs>(weight, size, x, k, count, votes, query, second_query, dot,
                                                             second_dot);
        }
    }
}

// The votes of one input; x and weight are numbers, or with kPairs pairs of them, `runtime_size` to an input.
template <int kQueries, int kSize, bool kPairs, class T>
inline void votes_from_weight(const RoutingProblem& problem, const T* weight, int64_t runtime_size, const T* x,
                              T* votes, const T* query, const T* second_query, T* dots, T* second_dots) {
    const int64_t size = kSize ? kSize : runtime_size;
    const int64_t count = problem.output_size;
    for (int64_t j = 0; j < problem.outputs; ++j) {
        Pack<T> dot = splat(T(0)), second_dot = splat(T(0));
        const int64_t first = j * count * kLanes<T>;
        vote_blocks<kVoteBlock, kQueries, kSize, kPairs>(weight + j * count * size, size, x, 0, count, votes + first,
                                                         query + (kQueries > 0 ? first : 0),
                                                         second_query + (kQueries > 1 ? first : 0), dot, second_dot);
        if constexpr (kQueries > 0) store(dots + j * kLanes<T>, dot);
        if constexpr (kQueries > 1) store(second_dots + j * kLanes<T>, second_dot);
    }
}

// The products of `count` votes of one output that are there already, vote(k), in the same blocks as vote_blocks.
template <int kBlock, int kQueries, class T, class Vote>
CAPSROUTE_INLINE void product_blocks(const Vote& vote, const T* query, const T* second_query, int64_t k, int64_t count,
                                     Pack<T>& dot, Pack<T>& second_dot) {
    for (; k + kBlock <= count; k += kBlock) {
        Pack<T> block[kBlock];
        _Pragma("GCC unroll 16") for (int b = 0; b < kBlock; ++b) block[b] = vote(k + b);
        add_products(block, query + k * kLanes<T>, dot);
        if constexpr (kQueries > 1) add_products(block, second_query + k * kLanes<T>, second_dot);
    }
    if constexpr (kBlock > 1) {
        if (k < count) product_blocks<kBlock / 2, kQueries>(vote, query, second_query, k, count, dot, second_dot);
    }
}

// The product of one vector with `count` components, vote(k), and a query, as it would be that of a vote.
template <class T, class Vote>
inline Pack<T> product_like_votes(const Vote& vote, const T* query, int64_t count) {
    Pack<T> dot = splat(T(0)), none = dot;
    product_blocks<kVoteBlock, 1>(vote, query, query, 0, count, dot, none);
    return dot;
}

// dots[j] = sum over k of votes[j, k] query[j, k], and the same for a second query.
template <int kQueries, class T>
inline void dot_products(const RoutingProblem& problem, const T* votes, const T* query, const T* second_query, T* dots,
                         T* second_dots) {
    const int64_t count = problem.output_size;
    for (int64_t j = 0; j < problem.outputs; ++j) {
        const int64_t first = j * count * kLanes<T>;
        Pack<T> dot = splat(T(0)), second_dot = splat(T(0));
        const auto vote = [&](int64_t k) __attribute__((always_inline)) { return load(votes + first + k * kLanes<T>); };
        product_blocks<kVoteBlock, kQueries>(vote, query + first, second_query + first, 0, count, dot, second_dot);
        store(dots + j * kLanes<T>, dot);
        if constexpr (kQueries > 1) store(second_dots + j * kLanes<T>, second_dot);
    }
}

// The votes of one input as they stand in the tensor [B, I, J, D], which may have any strides.
template <class T>
inline void copy_votes(const State<T>& state, int64_t tile, int64_t input, T* votes) {
    const RoutingProblem& problem = state.problem;
    const int64_t samples = samples_in_tile(state, tile), outputs = problem.outputs, size = problem.output_size;
    const int64_t* stride = problem.vote_strides;
    const int64_t offset = tile * kLanes<T> * stride[0] + input * stride[1];
    if (stride[3] != 1) {
        for (int64_t j = 0; j < outputs; ++j) {
            for (int64_t k = 0; k < size; ++k, votes += kLanes<T>) {
                const int64_t at = offset + j * stride[2] + k * stride[3];
                for (int n = 0; n < kLanes<T>; ++n) {
                    votes[n] = n < samples ? read<T>(problem.dtype, problem.votes, at + n * stride[0]) : T(0);
                }
            }
        }
        return;
    }
    const int64_t end = offset + (samples - 1) * stride[0] + (outputs - 1) * stride[2] + size;  // the last vote here
    if (stride[2] == size || outputs == 1) {
        transpose_in(problem.dtype, problem.votes, offset, stride[0], samples, outputs * size, end, votes);
        return;
    }
    // Outputs apart from each other; with a stride of 0 they have the same votes.
    for (int64_t j = 0; j < outputs; ++j) {
        T* own = votes + j * size * kLanes<T>;
        if (j > 0 && stride[2] == 0) {
            for (int64_t k = 0; k < size * kLanes<T>; k += kLanes<T>) store(own + k, load(votes + k));
        } else {
            transpose_in(problem.dtype, problem.votes, offset + j * stride[2], stride[0], samples, size, end, own);
        }
    }
}

// The same; those of an absent input or output are replaced by 0.
template <class T>
inline void votes_from_tensor(const State<T>& state, int64_t tile, int64_t input, const Scratch<T>& scratch) {
    const RoutingProblem& problem = state.problem;
    T* votes = scratch.votes;
    copy_votes(state, tile, input, votes);
    if (!problem.input_mask && !state.present) return;
    const Pack<T> zero = splat(T(0));
    const Pack<T> input_there = problem.input_mask ? input_present(state, tile, input) : splat(T(1));
    for (int64_t j = 0; j < problem.outputs; ++j) {
        Pack<T> there = input_there;
        if (state.present) there = there * load(state.present + (tile * problem.outputs + j) * kLanes<T>);
        for (int64_t k = 0; k < problem.output_size; ++k, votes += kLanes<T>) {
            store(votes, select(there, load(votes), zero));
        }
    }
}

// The weights [inputs, J*D, d] from that of an input on, in the accumulation type.
template <class T>
inline const T* weights_of(const RoutingProblem& problem, int64_t input, int64_t inputs, T* buffer) {
    const int64_t count = problem.outputs * problem.output_size * problem.input_size;
    return row(problem.dtype, problem.weight, input % problem.weight_inputs * count, inputs * count, buffer);
}

// Packs of an input: one for each component of x, or for each pair of them; none where votes are given.
template <class T>
CAPSROUTE_INLINE int64_t packs_of_input(const State<T>& state) {
    if (state.problem.votes) return 0;
    return state.pairs ? state.problem.input_size / 2 : state.problem.input_size;
}

// x of some inputs for a tile, [inputs, packs_of_input, N], in `to`; 0 where the input is absent or the lane has no
// sample.
template <class T>
inline const T* pack_x(const State<T>& state, int64_t tile, int64_t first_input, int64_t inputs, T* to) {
    const RoutingProblem& problem = state.problem;
    if (problem.votes) return to;  // there is no x
    const int64_t size = packs_of_input(state), per_sample = problem.inputs * size;
    const capsroute::DType dtype = state.pairs ? capsroute::DType::float32 : problem.dtype;  // pairs are only moved
    transpose_in(dtype, problem.x, tile * kLanes<T> * per_sample + first_input * size, per_sample,
                 samples_in_tile(state, tile), inputs * size, problem.batch * per_sample, to);
    T* x = to;
    for (int64_t i = 0; problem.input_mask && i < inputs; ++i) {
        const Pack<T> there = input_present(state, tile, first_input + i);
        for (int64_t e = 0; e < size; ++e, x += kLanes<T>) store(x, select(there, load(x), splat(T(0))));
    }
    return to;
}

// The scratch of one input: its votes stand at their place among the kept ones where votes are kept.
template <class T>
inline Scratch<T> scratch_of_input(const State<T>& state, const Scratch<T>& scratch, int64_t input) {
    Scratch<T> own = scratch;
    if (state.keeps_votes) own.votes = scratch.kept + input * state.votes_per_input * kLanes<T>;
    return own;
}

// The weights [inputs, J*D, d] of a chunk in the accumulation type, converted unless they still are from the tile
// before; null where they are not held.
template <class T>
inline const T* weights_of_chunk(const State<T>& state, int64_t chunk, int64_t begin, int64_t end,
                                 const Scratch<T>& scratch) {
    if (!scratch.chunk_row) return nullptr;
    if (*scratch.held != chunk + 1) weights_of(state.problem, begin, end - begin, scratch.chunk_row);
    *scratch.held = chunk + 1;
    return scratch.chunk_row;
}

template <bool kValue>
struct Constant {
    static constexpr bool value = kValue;
};

// The weight of an input as pairs, [J*D, d / 2].
template <class T>
inline const T* pairs_of_weight(const State<T>& state, int64_t input) {
    const RoutingProblem& problem = state.problem;
    const int64_t count = state.votes_per_input * (problem.input_size / 2);
    return static_cast<const T*>(problem.weight) + input % problem.weight_inputs * count;
}

// scratch.votes = the votes of one input, packed in x, for a tile; dots (and second_dots) their products with the
// queries. `weight` is that of the input where it was converted before, else null.
template <int kQueries, class T>
inline void make_votes(const State<T>& state, int64_t tile, int64_t input, const T* x, const T* weight,
                       const Scratch<T>& scratch, const T* query, const T* second_query, T* dots, T* second_dots) {
    const RoutingProblem& problem = state.problem;
    if (problem.votes) {
        votes_from_tensor(state, tile, input, scratch);
        if constexpr (kQueries > 0) {
            dot_products<kQueries>(problem, scratch.votes, query, second_query, dots, second_dots);
        }
        return;
    }
    const int64_t size = packs_of_input(state);
    const auto from = [&](auto pairs, const T* rows) {
        constexpr bool kPairs = decltype(pairs)::value;
        constexpr int kEight = kPairs ? 4 : 8, kSixteen = 2 * kEight;  // packs of the usual numbers of components
        if (size == kEight) {
            votes_from_weight<kQueries, kEight, kPairs>(problem, rows, size, x, scratch.votes, query, second_query,
                                                        dots, second_dots);
        } else if (size == kSixteen) {
            votes_from_weight<kQueries, kSixteen, kPairs>(problem, rows, size, x, scratch.votes, query, second_query,
                                                          dots, second_dots);
        } else {
            votes_from_weight<kQueries, 0, kPairs>(problem, rows, size, x, scratch.votes, query, second_query, dots,
                                                   second_dots);
        }
    };
    if constexpr (kMultipliesPairs && sizeof(T) == 4) {
        if (state.pairs) return from(Constant<true>{}, pairs_of_weight(state, input));
    }
    from(Constant<false>{}, weight ? weight : weights_of(problem, input, 1, scratch.row));
}

// The same for a pass: votes that were kept by the pass before are not made again.
template <int kQueries, class T>
inline void votes_of_pass(const State<T>& state, bool first_pass, int64_t tile, int64_t input, const T* x,
                          const T* weight, const Scratch<T>& scratch, const T* query, const T* second_query, T* dots,
                          T* second_dots) {
    if (first_pass || !state.keeps_votes) {
        make_votes<kQueries>(state, tile, input, x, weight, scratch, query, second_query, dots, second_dots);
    } else if constexpr (kQueries > 0) {
        dot_products<kQueries>(state.problem, scratch.votes, query, second_query, dots, second_dots);
    }
}

}  // namespace
