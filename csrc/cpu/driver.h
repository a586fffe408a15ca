// What the drivers of the whole op and of its passes share: items for the threads as these come free.
#pragma once

#include <cstring>

#include "dispatch.h"
#include "plan.h"
#include "team.h"
#include "threads.h"

namespace capsroute::cpu {

// Calls work(item, scratch) for each item and waits for all.
template <class AnyState, class Work>
void for_each(Team& team, const AnyState& state, int64_t items, Work work) {
    team.for_each(items, [&](int64_t item, int thread) { work(item, state.scratch + thread * state.scratch_size); });
}

template <class T>
const Kernels<T>& kernels_for() {
    if constexpr (sizeof(T) == 4) {
        return kernels().of_float;
    } else {
        return kernels().of_double;
    }
}

// To be called by every thread before anything else: see Scratch.
template <class AnyState>
void begin_scratch(const Team& team, const AnyState& state) {
    std::memset(state.scratch + team.number() * state.scratch_size, 0, 64);
}

// The last pass over all weights, and the sums over its parts.
template <class T>
void run_last(Team& team, const State<T>& state, const RoutingBackward& buffers) {
    const Kernels<T>& k = kernels_for<T>();
    const RoutingProblem& p = state.problem;
    if (buffers.grad_x || buffers.grad_weight || buffers.grad_votes || buffers.grad_logits ||
        buffers.grad_input_weight) {
        for_each(team, state, state.groups * state.parts, [&](int64_t item, T* scratch) {
            k.last_pass(state, buffers, item / state.parts, item % state.parts, scratch);
        });
    }
    if (state.part_weight) {
        for_each(team, state, p.weight_inputs, [&](int64_t input, T*) { k.finish_weight(state, buffers, input); });
    }
    if (state.part_logits) {
        for_each(team, state, p.inputs, [&](int64_t input, T*) { k.finish_logits(state, buffers, input); });
    }
    if (buffers.grad_bias) {
        for_each(team, state, p.outputs, [&](int64_t output, T*) { k.finish_bias(state, buffers, output); });
    }
}

// Runs body(team) on the problem's threads, or on as many as there can be; one thread needs no others.
template <class Body>
void on_team(int threads, Body body) {
#if defined(_OPENMP)
    if (threads > 1) threads = startable_threads(threads);
    if (threads > 1) {
        Team team(threads);
#pragma omp parallel num_threads(threads)
        body(team);
        return;
    }
#endif
    (void)threads;
    Team alone(1);
    body(alone);
}

// The passes one by one, of passes.cpp.
int64_t workspace(const RoutingProblem& problem, const RoutingForwardPass& pass, Place place);
int64_t workspace(const RoutingProblem& problem, const RoutingBackwardPass& pass, Place place);
int64_t workspace(const RoutingProblem& problem, const RoutingLastPass& pass, Place place);
Status run(const RoutingProblem& problem, const RoutingForwardPass& pass, Place place);
Status run(const RoutingProblem& problem, const RoutingBackwardPass& pass, Place place);
Status run(const RoutingProblem& problem, const RoutingLastPass& pass, Place place);

inline Wanted wanted_of(const RoutingBackward& buffers) {
    return {buffers.grad_weight != nullptr, buffers.grad_logits != nullptr, buffers.grad_input_weight != nullptr};
}

}  // namespace capsroute::cpu
