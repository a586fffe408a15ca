// Forward with kept votes: making them, the pass over a chunk for one sample, and the step that adds the chunks up and
// squashes. Internal linkage, see simd.h.
//
// A pass reads each vote twice, once from the cache where the votes are kept and once from a nearer one: for its logit
// and for its share of the sum, which stays in registers over the blocks of the chunk.
#pragma once

#include "../samples_in_lanes/forward.h"
#include "coupling.h"

namespace {

using capsroute::cpu::divide_scratch;

// The votes of a chunk for all samples of a wave; with add_up also their plain sums, all that the uniform first
// iteration needs.
template <class T>
void kept_make(const KeptState<T>& state, const Wave& wave, int64_t chunk, bool add_up, T* scratch_memory) {
    const KeptScratch<T> scratch = divide_scratch(state, scratch_memory);
    const Blocks blocks = blocks_of(state, chunk);
    for (int64_t block = blocks.begin; block < blocks.end; ++block) keep_votes(state, wave, block, scratch.panel);
    for (int64_t s = 0; add_up && s < wave.samples; ++s) {
        plain_sums(state, blocks, s, scratch.sums, at_sample(state, state.partial, chunk, s, state.votes_per_input));
    }
}

template <class T>
void kept_forward_pass(const KeptState<T>& state, const Wave& wave, int64_t iteration, int64_t chunk, int64_t sample,
                       T* scratch_memory) {
    const RoutingProblem& problem = state.problem;
    const KeptScratch<T> scratch = divide_scratch(state, scratch_memory);
    const Blocks blocks = blocks_of(state, chunk);
    const int64_t outputs = problem.outputs, count = state.votes_per_input;
    const int64_t row = outputs * kLanes<T>;
    if (iteration == 1) {
        for (int64_t k = 0; k < (blocks.end - blocks.begin) * row; ++k) scratch.terms[k] = 0;
    } else {
        const T* query = at_sample(state, state.query, 0, sample, count);
        chunk_products<1>(state, blocks, sample, query, query, scratch.terms, scratch.terms);
    }
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
        T* logits = terms_of(state, scratch.terms, block - blocks.begin);
        add_initial_logits(state, wave, iteration, block, sample, logits);
        if (!problem.softmax_over_inputs) couple_outputs(state, wave, block, sample, logits);
    }
    if (problem.softmax_over_inputs) {
        softmax_over_chunk(state, wave, blocks, sample, scratch.terms,
                           at_sample(state, state.partial_max, chunk, sample, outputs),
                           at_sample(state, state.partial_sum, chunk, sample, outputs));
    }
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
        weigh_coupling(state, wave, block, sample, terms_of(state, scratch.terms, block - blocks.begin));
    }
    weighted_sums(state, blocks, sample, scratch.terms, scratch.sums,
                  at_sample(state, state.partial, chunk, sample, count));
}

// One number through the functions of packs.
template <class T>
inline T exp_nonpositive_of(T x) {
    alignas(64) T lanes[kLanes<T>];
    store(lanes, exp_nonpositive(splat(x)));
    return lanes[0];
}

// The squash of a vector with this squared length, and its derivative.
template <class T>
inline capsroute::SquashFactors<T> squash_of_number(const RoutingProblem& problem, int64_t iteration, T squared) {
    alignas(64) T factor[kLanes<T>], slope[kLanes<T>], unit[kLanes<T>];
    const SquashOf<T> squash = squash_of(problem, iteration, splat(squared));
    store(factor, squash.factor);
    store(slope, squash.slope);
    store(unit, squash.unit);
    return {factor[0], slope[0], unit[0]};
}

// The coupling of the first iteration without initial logits, per output; 0 where it is absent.
template <class T>
inline void uniform_coupling(const KeptState<T>& state, const Wave& wave, int64_t sample) {
    const RoutingProblem& problem = state.problem;
    const uint8_t* mask = problem.input_mask;
    if (mask) mask += (wave.first + sample) * problem.inputs;
    int64_t members = problem.leaky ? 1 : 0;
    if (problem.softmax_over_inputs) {
        for (int64_t i = 0; i < problem.inputs; ++i) members += !mask || mask[i];
    } else {
        for (int64_t j = 0; j < problem.outputs; ++j) members += output_there(state, wave, sample, j);
    }
    T* uniform = at_sample(state, state.uniform, 0, sample, problem.outputs);
    for (int64_t j = 0; j < problem.outputs; ++j) {
        uniform[j] = members > 0 && output_there(state, wave, sample, j) ? T(1) / T(members) : T(0);
    }
}

// to = the query of the next iteration, for the components of one output whose s includes the bias. Backward repeats it
// bit for bit, so there is one copy of its code, and no sum of two plain products (see add_products). Returns the
// factor of the squash.
template <class T>
__attribute__((noinline)) T advance_query(const KeptState<T>& state, bool there, int64_t iteration, const T* s,
                                          const T* query, T* to) {
    const int64_t size = state.problem.output_size;
    const QueryStep<T> step(state.problem, iteration);
    T squared = 0;
    for (int64_t k = 0; k < size; ++k) squared += s[k] * s[k];
    const T factor = squash_of_number(state.problem, iteration, squared).factor, part = step.add * factor;
    for (int64_t k = 0; k < size; ++k) {
        T next = part * s[k];
        if (step.keep != 0) next = fma_of(step.keep, query[k], next);
        to[k] = there ? next : T(0);
    }
    return factor;
}

// How the chunks of an output combine under a softmax over inputs: partial sums, each times exp(its largest logit -
// largest) * factor, add up to the result.
template <class T>
struct KeptChunkWeights {
    T largest = kLowest<T>, factor = 0;

    KeptChunkWeights(const KeptState<T>& state, int64_t sample, int64_t output) {
        const int64_t outputs = state.problem.outputs;
        for (int64_t chunk = 0; chunk < state.chunks; ++chunk) {
            const T here = at_sample(state, state.partial_max, chunk, sample, outputs)[output];
            largest = here > largest ? here : largest;
        }
        T total = 0;
        for (int64_t chunk = 0; chunk < state.chunks; ++chunk) {
            T* largest_of_chunk = at_sample(state, state.partial_max, chunk, sample, outputs) + output;
            const T share = exp_nonpositive_of(*largest_of_chunk - largest);
            *largest_of_chunk = share;
            total += at_sample(state, state.partial_sum, chunk, sample, outputs)[output] * share;
        }
        factor = total != 0 ? T(1) / total : T(0);
    }

    // To be asked after the constructor, which replaces the largest logits of the chunks by their shares.
    T scale(const KeptState<T>& state, int64_t chunk, int64_t sample, int64_t output) const {
        return at_sample(state, state.partial_max, chunk, sample, state.problem.outputs)[output] * factor;
    }
};

// sums = the partial sums of all chunks of one output, each times its scale. Under a softmax over inputs
// also the largest logit and 1 / sum of exponentials.
template <class T>
inline void add_chunks(const KeptState<T>& state, int64_t sample, int64_t output, bool over_inputs, T common, T* sums,
                       T& largest, T& factor) {
    const int64_t size = state.problem.output_size, count = state.votes_per_input;
    const auto add = [&](int64_t chunk, T scale) {
        const T* part = at_sample(state, state.partial, chunk, sample, count) + output * size;
        for (int64_t k = 0; k < size; ++k) sums[k] = chunk == 0 ? scale * part[k] : sums[k] + scale * part[k];
    };
    if (!over_inputs) {
        for (int64_t chunk = 0; chunk < state.chunks; ++chunk) add(chunk, common);
        return;
    }
    const KeptChunkWeights<T> weights(state, sample, output);
    for (int64_t chunk = 0; chunk < state.chunks; ++chunk) add(chunk, weights.scale(state, chunk, sample, output));
    largest = weights.largest;
    factor = weights.factor;
}

template <class T>
void kept_forward_step(const KeptState<T>& state, const RoutingForward& buffers, const Wave& wave, int64_t iteration,
                       int64_t sample) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs, size = problem.output_size, count = state.votes_per_input;
    const int64_t number = wave.first + sample;                      // in the batch
    const int64_t saved = (iteration - 1) * problem.batch + number;  // row of the saved tensors
    const bool uniform = capsroute::is_uniform(problem, iteration);
    const bool over_inputs = problem.softmax_over_inputs && !uniform;
    if (uniform) uniform_coupling(state, wave, sample);
    T* query = at_sample(state, state.query, 0, sample, count);
    T* sums = at_sample(state, state.partial, 0, sample, count);  // chunk 0 holds the result
    for (int64_t j = 0; j < outputs; ++j) {
        const bool there = output_there(state, wave, sample, j);
        T largest = 0, factor = 1;
        const T common = uniform ? at_sample(state, state.uniform, 0, sample, outputs)[j] : T(1);
        add_chunks(state, sample, j, over_inputs, common, sums + j * size, largest, factor);
        if (buffers.normaliser) {  // nobody reads that of the uniform iteration
            T* normaliser = static_cast<T*>(buffers.normaliser) + 2 * saved * outputs + j;
            normaliser[0] = largest;
            normaliser[outputs] = factor;
        }
        T* s = sums + j * size;
        // Coupling 0 times a vote that is not finite is not 0; an absent output takes nothing.
        for (int64_t k = 0; k < size; ++k) s[k] = there ? s[k] : T(0);
        T* pre_squash = static_cast<T*>(buffers.pre_squash);
        for (int64_t k = 0; pre_squash && k < size; ++k) pre_squash[saved * count + j * size + k] = s[k];
        for (int64_t k = 0; problem.bias && k < size; ++k) {
            s[k] += read<T>(problem.dtype, problem.bias, j * size + k);
        }
        const T squashed = advance_query(state, there, iteration, s, query + j * size, query + j * size);
        if (iteration < problem.iterations) continue;
        for (int64_t k = 0; k < size; ++k) {
            write(problem.dtype, buffers.output, number * count + j * size + k, there ? squashed * s[k] : T(0));
        }
    }
}

}  // namespace
