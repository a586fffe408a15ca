// The products of the votes with given vectors: one pass that stores them. Internal linkage, see simd.h.
#pragma once

#include "forward.h"

namespace {

using capsroute::RoutingAgreement;

// The vectors of a tile, samples in the lanes.
template <class T>
void agreement_start(const State<T>& state, const RoutingAgreement& buffers, int64_t tile) {
    const int64_t count = state.votes_per_input;
    load_vectors(state, buffers.query, 0, tile, count, tile_of(state.query, state, 0, tile, count));
}

template <class T>
void agreement_pass(const State<T>& state, const RoutingAgreement& buffers, int64_t chunk, int64_t tile,
                    T* scratch_memory) {
    const RoutingProblem& problem = state.problem;
    const Scratch<T> scratch = capsroute::cpu::divide_scratch(state, scratch_memory);
    const int64_t outputs = problem.outputs, per_sample = problem.inputs * outputs;
    const int64_t begin = chunk * state.chunk_inputs, end = chunk_end(state, chunk);
    const T* query = tile_of(state.query, state, 0, tile, state.votes_per_input);
    T* dots = scratch.terms;
    const T* x = pack_x(state, tile, begin, end - begin, scratch.x);
    const T* held = weights_of_chunk(state, chunk, begin, end, scratch);
    for (int64_t i = begin; i < end; ++i, x += packs_of_input(state) * kLanes<T>) {
        const T* weight = held ? held + (i - begin) * state.votes_per_input * problem.input_size : nullptr;
        make_votes<1>(state, tile, i, x, weight, scratch, query, query, dots, dots);
        for (int64_t j = 0; j < outputs; ++j) {
            store_samples(kAccumulationType<T>, buffers.agreement, tile * kLanes<T> * per_sample + i * outputs + j,
                          per_sample, samples_in_tile(state, tile), load(dots + j * kLanes<T>));
        }
    }
}

}  // namespace
