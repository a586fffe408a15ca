// What stands before and behind a pass that is called alone: from natural layout to tiles, and back. Internal linkage,
// see simd.h.
#pragma once

#include "backward.h"

namespace {

using capsroute::RoutingBackwardPass;
using capsroute::RoutingForwardPass;
using capsroute::RoutingLastPass;

template <class T>
void start_forward_pass(const State<T>& state, const RoutingForwardPass& pass, int64_t tile) {
    prepare(state, tile);
    if (pass.iteration == 1) return;
    const int64_t count = state.votes_per_input;
    load_vectors(state, pass.query, 0, tile, count, tile_of(state.query, state, 0, tile, count));
}

template <class T>
void finish_forward_pass(const State<T>& state, const RoutingForwardPass& pass, int64_t tile) {
    void* normaliser = state.problem.softmax_over_inputs ? pass.normaliser : nullptr;
    for (int64_t j = 0; j < state.problem.outputs; ++j) {
        finish_sums(state, pass.iteration, tile, j, pass.sum, normaliser, tile * kLanes<T>);
    }
}

// What the backward passes read of iteration t, from the `before`-th of those that are given.
template <class T>
inline void load_iteration(const State<T>& state, const void* query, const void* slope, const void* normaliser,
                           const void* mean, int64_t before, int64_t t, int64_t tile) {
    const int64_t count = state.votes_per_input, outputs = state.problem.outputs;
    if (t > 1) load_vectors(state, query, before, tile, count, tile_of(state.query, state, t - 1, tile, count));
    load_vectors(state, slope, before, tile, count, slope_of(state, t, tile));
    if (!state.problem.softmax_over_inputs) return;
    load_normaliser(state, normaliser, before, t - 1, tile);
    load_vectors(state, mean, before, tile, outputs, tile_of(state.mean, state, t - 1, tile, outputs));
}

template <class T>
void start_backward_pass(const State<T>& state, const RoutingBackwardPass& pass, int64_t tile) {
    prepare(state, tile);
    load_iteration(state, pass.query, pass.slope, pass.normaliser, pass.mean, 0, pass.iteration, tile);
    T* carried = tile_of(state.carried, state, 0, tile, state.votes_per_input);
    for (int64_t k = 0; k < state.votes_per_input; ++k) store(carried + k * kLanes<T>, splat(T(0)));
}

template <class T>
void finish_backward_pass(const State<T>& state, const RoutingBackwardPass& pass, int64_t tile) {
    const int64_t count = state.votes_per_input, first = tile * kLanes<T> * count;
    add_chunks(state, tile, T(0));
    const T* carried = tile_of(state.carried, state, 0, tile, count);
    for (int64_t k = 0; k < count; ++k) {
        store_samples(kAccumulationType<T>, pass.sum, first + k, count, samples_in_tile(state, tile),
                      load(carried + k * kLanes<T>));
    }
}

template <class T>
void start_last_pass(const State<T>& state, const RoutingLastPass& pass, int64_t tile) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs;
    prepare(state, tile);
    for (int64_t t = capsroute::first_iteration(problem); t <= problem.iterations; ++t) {
        load_iteration(state, pass.query, pass.slope, pass.normaliser, pass.mean, t - 1, t, tile);
    }
    if (!problem.softmax_over_inputs || !capsroute::is_uniform(problem, capsroute::first_iteration(problem))) return;
    // The inputs of all parts share the uniform coupling, not these alone.
    const T* share = tile_of(state.normaliser, state, 0, tile, 2 * outputs) + outputs * kLanes<T>;
    for (int64_t j = 0; j < outputs; ++j) {
        store(state.uniform + (tile * outputs + j) * kLanes<T>, load(share + j * kLanes<T>));
    }
}

}  // namespace
