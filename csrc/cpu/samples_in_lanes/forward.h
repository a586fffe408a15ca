// Forward: the pass over a chunk of inputs, and the step that adds the chunks up and squashes.
// Internal linkage, see simd.h.
//
// A pass streams the weights of its chunk once per tile of samples and keeps the votes of one input, the query V and
// the sums, three times J*D packs, in the nearest caches. Per vote: d multiply-adds to make it, one for its logit, one
// for its share of the sum.
#pragma once

#include "../squash.h"
#include "coupling.h"

namespace {

using capsroute::RoutingForward;

template <class T>
inline int64_t chunk_end(const State<T>& state, int64_t chunk) {
    const int64_t end = (chunk + 1) * state.chunk_inputs;
    return end < state.problem.inputs ? end : state.problem.inputs;
}

template <class T>
inline T* tile_of(T* from, const State<T>& state, int64_t chunk_or_iteration, int64_t tile, int64_t per_tile) {
    return from + (chunk_or_iteration * state.tiles + tile) * per_tile * kLanes<T>;
}

// Which outputs are there, and the coupling of the first iteration without initial logits.
template <class T>
void prepare(const State<T>& state, int64_t tile) {
    const RoutingProblem& problem = state.problem;
    const int64_t samples = samples_in_tile(state, tile), first = tile * kLanes<T>;
    const int64_t inputs = problem.inputs, outputs = problem.outputs;
    for (int64_t j = 0; state.present && j < outputs; ++j) {
        for (int n = 0; n < kLanes<T>; ++n) {
            const bool there = n < samples && problem.output_mask[(first + n) * outputs + j];
            state.present[(tile * outputs + j) * kLanes<T> + n] = there ? T(1) : T(0);
        }
    }
    Pack<T> members = splat(problem.leaky ? T(1) : T(0));  // of the first softmax
    if (problem.softmax_over_inputs) {
        for (int64_t i = 0; i < inputs; ++i) {
            members = members + (problem.input_mask ? input_present(state, tile, i) : splat(T(1)));
        }
    } else {
        for (int64_t j = 0; j < outputs; ++j) {
            members = members + (state.present ? output_present(state, tile, j) : splat(T(1)));
        }
    }
    const Pack<T> share = reciprocal_or_zero(members);
    for (int64_t j = 0; j < outputs; ++j) {
        const Pack<T> c = state.present ? share * output_present(state, tile, j) : share;
        store(state.uniform + (tile * outputs + j) * kLanes<T>, c);
    }
}

// sums[0 .. kBlock) = sum over the inputs of a chunk of their votes, kept in registers: a plain matrix product.
template <int kBlock, int kSize, bool kPairs, class T>
CAPSROUTE_INLINE void vote_sums(const State<T>& state, int64_t begin, int64_t end, const T* x, int64_t first,
                                const T* held, T* buffer, T* sums) {
    const RoutingProblem& problem = state.problem;
    const int64_t size = kSize ? kSize : packs_of_input(state), per_input = state.votes_per_input * size;
    Pack<T> sum[kBlock];
    _Pragma("GCC unroll 16") for (int k = 0; k < kBlock; ++k) sum[k] = splat(T(0));
    int64_t weight_input = begin % problem.weight_inputs;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t at = weight_input * per_input + first * size;
        const T* weight = kPairs ? static_cast<const T*>(problem.weight) + at
                          : held ? held + (i - begin) * per_input + first * size
                                 : row(problem.dtype, problem.weight, at, kBlock * size, buffer);
        _Pragma("GCC unroll 8") for (int64_t e = 0; e < size; ++e, x += kLanes<T>) {
            const Pack<T> value = load(x);
            _Pragma("GCC unroll 16") for (int k = 0; k < kBlock; ++k) {
                sum[k] = multiply_weight<kPairs>(weight + k * size + e, value, sum[k]);
            }
        }
        if (++weight_input == problem.weight_inputs) weight_input = 0;
    }
    _Pragma("GCC unroll 16") for (int k = 0; k < kBlock; ++k) store(sums + k * kLanes<T>, sum[k]);
}

template <int kBlock, int kSize, bool kPairs, class T>
inline void vote_sums_from(const State<T>& state, int64_t begin, int64_t end, const T* x, int64_t k, const T* held,
                           T* buffer, T* sums) {
    for (; k + kBlock <= state.votes_per_input; k += kBlock) {
        vote_sums<kBlock, kSize, kPairs>(state, begin, end, x, k, held, buffer, sums + k * kLanes<T>);
    }
    if constexpr (kBlock > 1) {
        if (k < state.votes_per_input) {
            vote_sums_from<kBlock / 2, kSize, kPairs>(state, begin, end, x, k, held, buffer, sums);
        }
    }
}

template <bool kPairs, class T>
inline void vote_sums_of_chunk(const State<T>& state, int64_t begin, int64_t end, const T* x, const T* held, T* buffer,
                               T* sums) {
    if (state.problem.input_size == 8) {
        vote_sums_from<kVoteBlock, kPairs ? 4 : 8, kPairs>(state, begin, end, x, 0, held, buffer, sums);
    } else if (state.problem.input_size == 16) {
        vote_sums_from<kVoteBlock, kPairs ? 8 : 16, kPairs>(state, begin, end, x, 0, held, buffer, sums);
    } else {
        vote_sums_from<kVoteBlock, 0, kPairs>(state, begin, end, x, 0, held, buffer, sums);
    }
}

// The uniform first pass: all votes have the same coupling, which the step multiplies in.
template <class T>
inline void uniform_pass(const State<T>& state, int64_t chunk, int64_t tile, const Scratch<T>& scratch, T* sums) {
    const RoutingProblem& problem = state.problem;
    const int64_t begin = chunk * state.chunk_inputs, end = chunk_end(state, chunk);
    const T* x = pack_x(state, tile, begin, end - begin, scratch.x);
    const T* held = weights_of_chunk(state, chunk, begin, end, scratch);
    if (!problem.votes && !state.keeps_votes) {
        if constexpr (kMultipliesPairs && sizeof(T) == 4) {
            if (state.pairs) return vote_sums_of_chunk<true>(state, begin, end, x, held, scratch.row, sums);
        }
        vote_sums_of_chunk<false>(state, begin, end, x, held, scratch.row, sums);
        return;
    }
    for (int64_t k = 0; k < state.votes_per_input; ++k) store(sums + k * kLanes<T>, splat(T(0)));
    for (int64_t i = begin; i < end; ++i, x += packs_of_input(state) * kLanes<T>) {
        const Scratch<T> own = scratch_of_input(state, scratch, i);
        make_votes<0>(state, tile, i, x, static_cast<const T*>(nullptr), own, sums, sums, sums, sums);
        for (int64_t k = 0; k < state.votes_per_input; ++k) {
            store(sums + k * kLanes<T>, load(sums + k * kLanes<T>) + load(own.votes + k * kLanes<T>));
        }
    }
}

// sums[j, :] += c[j] votes[j, :], from the last output to the first: the votes made last are still nearest.
template <class T>
inline void add_weighted(const RoutingProblem& problem, const T* c, const T* votes, T* sums) {
    for (int64_t j = problem.outputs - 1; j >= 0; --j) {
        const Pack<T> factor = load(c + j * kLanes<T>);
        const int64_t first = j * problem.output_size * kLanes<T>, end = first + problem.output_size * kLanes<T>;
        for (int64_t k = first; k < end; k += kLanes<T>) store(sums + k, fma(factor, load(votes + k), load(sums + k)));
    }
}

// Softmax over inputs, one input at a time: the sums are relative to the largest logit so far and are scaled down when
// it grows. logits become exp(logit - largest).
template <class T>
inline void online_softmax(const State<T>& state, int64_t tile, int64_t input, T* logits, T* largest, T* total,
                           T* sums) {
    const RoutingProblem& problem = state.problem;
    const Pack<T> zero = splat(T(0)), lowest = splat(kLowest<T>);
    const Pack<T> there = problem.input_mask ? input_present(state, tile, input) : splat(T(1));
    for (int64_t j = 0; j < problem.outputs; ++j) {
        Pack<T> logit = load(logits + j * kLanes<T>);
        if (problem.input_mask) logit = select(there, logit, lowest);
        const Pack<T> before = load(largest + j * kLanes<T>);
        if (any_larger(logit, before)) {
            const Pack<T> now = larger(logit, before);
            const Pack<T> factor = exp_nonpositive(before - now);
            store(largest + j * kLanes<T>, now);
            store(total + j * kLanes<T>, load(total + j * kLanes<T>) * factor);
            T* s = sums + j * problem.output_size * kLanes<T>;
            for (int64_t k = 0; k < problem.output_size; ++k, s += kLanes<T>) store(s, load(s) * factor);
        }
        Pack<T> share = exp_nonpositive(logit - load(largest + j * kLanes<T>));
        if (problem.input_mask) share = select(there, share, zero);
        store(total + j * kLanes<T>, load(total + j * kLanes<T>) + share);
        store(logits + j * kLanes<T>, share);
    }
}

template <class T>
void forward_pass(const State<T>& state, int64_t iteration, int64_t chunk, int64_t tile, T* scratch_memory) {
    const RoutingProblem& problem = state.problem;
    const Scratch<T> scratch = capsroute::cpu::divide_scratch(state, scratch_memory);
    const int64_t outputs = problem.outputs;
    T* sums = tile_of(state.partial, state, chunk, tile, state.votes_per_input);
    if (capsroute::is_uniform(problem, iteration)) {
        uniform_pass(state, chunk, tile, scratch, sums);
        return;
    }
    for (int64_t k = 0; k < state.votes_per_input; ++k) store(sums + k * kLanes<T>, splat(T(0)));
    T *largest = nullptr, *total = nullptr;
    if (problem.softmax_over_inputs) {
        largest = tile_of(state.partial_max, state, chunk, tile, outputs);
        total = tile_of(state.partial_sum, state, chunk, tile, outputs);
        for (int64_t j = 0; j < outputs; ++j) {
            store(largest + j * kLanes<T>, splat(kLowest<T>));
            store(total + j * kLanes<T>, splat(T(0)));
        }
    }
    const T* query = tile_of(state.query, state, 0, tile, state.votes_per_input);
    T* logits = scratch.terms;
    const T* none = query;
    T* no_dots = logits;
    const int64_t begin = chunk * state.chunk_inputs, end = chunk_end(state, chunk);
    const bool makes = iteration == 1 || !state.keeps_votes;
    const T* x = makes ? pack_x(state, tile, begin, end - begin, scratch.x) : scratch.x;
    const T* held = weights_of_chunk(state, chunk, begin, end, scratch);
    for (int64_t i = begin; i < end; ++i, x += packs_of_input(state) * kLanes<T>) {
        const T* weight = held ? held + (i - begin) * state.votes_per_input * problem.input_size : nullptr;
        if (problem.input_mask && !any_input_present(state, tile, i)) continue;
        const Scratch<T> own = scratch_of_input(state, scratch, i);
        if (iteration == 1) {
            make_votes<0>(state, tile, i, x, weight, own, none, none, no_dots, no_dots);
            for (int64_t j = 0; j < outputs; ++j) store(logits + j * kLanes<T>, splat(T(0)));
        } else {
            votes_of_pass<1>(state, false, tile, i, x, weight, own, query, none, logits, no_dots);
        }
        add_initial_logits(state, iteration, tile, i, logits);
        if (problem.softmax_over_inputs) {
            online_softmax(state, tile, i, logits, largest, total, sums);
        } else {
            couple_outputs(state, tile, i, logits);
        }
        weigh_coupling(state, tile, i, logits);
        add_weighted(problem, logits, own.votes, sums);
    }
}

// to[lane * stride] = the samples' lanes of a pack, as stored in outputs and saved tensors.
template <class T>
inline void store_samples(capsroute::DType dtype, void* to, int64_t offset, int64_t stride, int64_t samples,
                          Pack<T> a) {
    alignas(64) T lanes[kLanes<T>];
    store(lanes, a);
    for (int64_t n = 0; n < samples; ++n) write(dtype, to, offset + n * stride, lanes[n]);
}

template <class T>
inline Pack<T> load_samples(capsroute::DType dtype, const void* from, int64_t offset, int64_t stride, int64_t samples) {
    alignas(64) T lanes[kLanes<T>] = {};
    for (int64_t n = 0; n < samples; ++n) lanes[n] = read<T>(dtype, from, offset + n * stride);
    return load(lanes);
}

template <class T>
constexpr capsroute::DType kAccumulationType = sizeof(T) == 4 ? capsroute::DType::float32 : capsroute::DType::float64;

// to[k, lane] = the saved numbers [.., B, count] of the samples of a tile, from the `before`-th batch on, in the
// accumulation type.
template <class T>
inline void load_vectors(const State<T>& state, const void* from, int64_t before, int64_t tile, int64_t count, T* to) {
    const int64_t first = (before * state.problem.batch + tile * kLanes<T>)*count;
    for (int64_t k = 0; k < count; ++k) {
        store(to + k * kLanes<T>,
              load_samples<T>(kAccumulationType<T>, from, first + k, count, samples_in_tile(state, tile)));
    }
}

// The bias of vote k of the outputs, or 0.
template <class T>
inline Pack<T> bias_of(const RoutingProblem& problem, int64_t k) {
    return problem.bias ? splat(read<T>(problem.dtype, problem.bias, k)) : splat(T(0));
}

// How the chunks of an output combine under a softmax over inputs: their sums, each times scale(chunk), add up to the
// result.
template <class T>
struct ChunkWeights {
    const State<T>& state;
    int64_t tile, output;
    Pack<T> largest, factor;

    CAPSROUTE_INLINE Pack<T> scale(int64_t chunk) const {
        const T* of_chunk = tile_of(state.partial_max, state, chunk, tile, state.problem.outputs) + output * kLanes<T>;
        return exp_nonpositive(load(of_chunk) - largest) * factor;
    }
};

template <class T>
inline ChunkWeights<T> chunk_weights(const State<T>& state, int64_t tile, int64_t output) {
    ChunkWeights<T> weights{state, tile, output, splat(kLowest<T>), splat(T(1))};
    const int64_t outputs = state.problem.outputs, at = output * kLanes<T>;
    for (int64_t chunk = 0; chunk < state.chunks; ++chunk) {
        weights.largest = larger(load(tile_of(state.partial_max, state, chunk, tile, outputs) + at), weights.largest);
    }
    Pack<T> total = splat(T(0));
    for (int64_t chunk = 0; chunk < state.chunks; ++chunk) {
        const T* of_chunk = tile_of(state.partial_sum, state, chunk, tile, outputs) + at;
        total = fma(load(of_chunk), weights.scale(chunk), total);
    }
    weights.factor = reciprocal_or_zero(total);
    return weights;
}

// The query of the next iteration from that of this one and v = factor s; backward repeats it bit for bit, so this is
// no sum of two plain products (see add_products). In the first iteration the query is 0, and not read.
template <class T>
CAPSROUTE_INLINE Pack<T> next_query(const State<T>& state, int64_t tile, int64_t output, QueryStep<T> step,
                                    const T* query, Pack<T> factor, Pack<T> s) {
    const Pack<T> zero = splat(T(0));
    Pack<T> next = fma(splat(step.add) * factor, s, zero);
    if (step.keep != 0) next = fma(splat(step.keep), load(query), next);
    return state.present ? select(output_present(state, tile, output), next, zero) : next;
}

// Adds the chunks of output j up into the first, which is returned, and saves s and the normaliser for the samples from
// `saved` on where there is room for them.
template <class T>
inline T* finish_sums(const State<T>& state, int64_t iteration, int64_t tile, int64_t j, void* pre_squash,
                      void* normaliser, int64_t saved) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs, size = problem.output_size, count = state.votes_per_input;
    const int64_t samples = samples_in_tile(state, tile);
    const bool uniform = capsroute::is_uniform(problem, iteration);
    const bool over_inputs = problem.softmax_over_inputs && !uniform;
    const Pack<T> common = uniform ? load(state.uniform + (tile * outputs + j) * kLanes<T>) : splat(T(1));
    const ChunkWeights<T> weights =
        over_inputs ? chunk_weights(state, tile, j) : ChunkWeights<T>{state, tile, j, splat(T(0)), common};
    T* sums = tile_of(state.partial, state, 0, tile, count) + j * size * kLanes<T>;  // chunk 0 holds the result
    for (int64_t chunk = 0; chunk < state.chunks; ++chunk) {
        const T* part = tile_of(state.partial, state, chunk, tile, count) + j * size * kLanes<T>;
        const Pack<T> scale = over_inputs ? weights.scale(chunk) : common;
        for (int64_t k = 0; k < size * kLanes<T>; k += kLanes<T>) {
            store(sums + k, chunk == 0 ? load(part + k) * scale : fma(load(part + k), scale, load(sums + k)));
        }
    }
    if (normaliser) {
        const int64_t at = 2 * saved * outputs + j;
        store_samples(kAccumulationType<T>, normaliser, at, 2 * outputs, samples, weights.largest);
        store_samples(kAccumulationType<T>, normaliser, at + outputs, 2 * outputs, samples, weights.factor);
    }
    for (int64_t k = 0; k < size; ++k) {
        Pack<T> s = load(sums + k * kLanes<T>);
        // Coupling 0 times a vote that is not finite is not 0; an absent output takes nothing.
        if (state.present) s = select(output_present(state, tile, j), s, splat(T(0)));
        store(sums + k * kLanes<T>, s);
        if (pre_squash) {
            store_samples(kAccumulationType<T>, pre_squash, saved * count + j * size + k, count, samples, s);
        }
    }
    return sums;
}

template <class T>
void forward_step(const State<T>& state, const RoutingForward& buffers, int64_t iteration, int64_t tile) {
    const RoutingProblem& problem = state.problem;
    const int64_t size = problem.output_size, count = state.votes_per_input;
    const int64_t samples = samples_in_tile(state, tile), first = tile * kLanes<T>;
    const int64_t saved = (iteration - 1) * problem.batch + first;  // row of the saved tensors
    const QueryStep<T> step(problem, iteration);
    for (int64_t j = 0; j < problem.outputs; ++j) {
        T* sums = finish_sums(state, iteration, tile, j, buffers.pre_squash, buffers.normaliser, saved);
        Pack<T> squared = splat(T(0));
        for (int64_t k = 0; k < size; ++k) {
            const Pack<T> s = load(sums + k * kLanes<T>) + bias_of<T>(problem, j * size + k);
            store(sums + k * kLanes<T>, s);
            squared = fma(s, s, squared);
        }
        const Pack<T> factor = squash_of(problem, iteration, squared).factor;
        T* query = tile_of(state.query, state, 0, tile, count) + j * size * kLanes<T>;
        for (int64_t k = 0; k < size; ++k) {
            const Pack<T> s = load(sums + k * kLanes<T>);
            T* own = query + k * kLanes<T>;
            store(own, next_query(state, tile, j, step, own, factor, s));
            Pack<T> v = factor * s;
            if (state.present) v = select(output_present(state, tile, j), v, splat(T(0)));
            if (iteration == problem.iterations) {
                store_samples(problem.dtype, buffers.output, first * count + j * size + k, count, samples, v);
            }
        }
    }
}

}  // namespace
