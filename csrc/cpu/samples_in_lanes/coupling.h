// From logits to coupling coefficients, for one input and a tile of samples. Internal linkage, see simd.h.
#pragma once

#include "../../shared/options.h"
#include "votes.h"

namespace {

template <class T>
constexpr T kLowest = sizeof(T) == 4 ? T(-3.0e38) : T(-1.0e308);  // a logit below every finite one that matters

// logits[j] += the initial logits of this input as they count in an iteration.
template <class T>
inline void add_initial_logits(const State<T>& state, int64_t iteration, int64_t tile, int64_t input, T* logits) {
    const RoutingProblem& problem = state.problem;
    const T part = T(capsroute::logit_factor(problem, iteration));
    if (!problem.logits || part == 0) return;
    if (!problem.logits_per_sample) {
        for (int64_t j = 0; j < problem.outputs; ++j) {
            const Pack<T> initial = splat(part * read<T>(problem.dtype, problem.logits, input * problem.outputs + j));
            store(logits + j * kLanes<T>, load(logits + j * kLanes<T>) + initial);
        }
        return;
    }
    const int64_t samples = samples_in_tile(state, tile);
    for (int64_t n = 0; n < samples; ++n) {
        const int64_t at = ((tile * kLanes<T> + n) * problem.inputs + input) * problem.outputs;
        for (int64_t j = 0; j < problem.outputs; ++j) {
            logits[j * kLanes<T> + n] += part * read<T>(problem.dtype, problem.logits, at + j);
        }
    }
}

template <class T>
inline Pack<T> output_present(const State<T>& state, int64_t tile, int64_t output) {
    return load(state.present + (tile * state.problem.outputs + output) * kLanes<T>);
}

// Softmax over the outputs, in place; absent outputs and inputs get 0.
template <class T>
inline void softmax_over_outputs(const State<T>& state, int64_t tile, int64_t input, T* logits) {
    const int64_t outputs = state.problem.outputs;
    const Pack<T> zero = splat(T(0));
    const Pack<T> lowest = splat(kLowest<T>);
    Pack<T> largest = state.problem.leaky ? zero : lowest;
    for (int64_t j = 0; j < outputs; ++j) {
        Pack<T> logit = load(logits + j * kLanes<T>);
        if (state.present) {
            logit = select(output_present(state, tile, j), logit, lowest);
            store(logits + j * kLanes<T>, logit);
        }
        largest = larger(logit, largest);
    }
    Pack<T> sum = state.problem.leaky ? exp_nonpositive(zero - largest) : zero;
    for (int64_t j = 0; j < outputs; ++j) {
        Pack<T> share = exp_nonpositive(load(logits + j * kLanes<T>) - largest);
        if (state.present) share = select(output_present(state, tile, j), share, zero);
        store(logits + j * kLanes<T>, share);
        sum = sum + share;
    }
    Pack<T> factor = reciprocal_or_zero(sum);
    const Pack<T> there = state.problem.input_mask ? input_present(state, tile, input) : splat(T(1));
    for (int64_t j = 0; j < outputs; ++j) {
        Pack<T> c = load(logits + j * kLanes<T>) * factor;
        if (state.problem.input_mask) c = select(there, c, zero);
        store(logits + j * kLanes<T>, c);
    }
}

// Coupling coefficients that were given, in the place of logits; absent outputs and inputs get 0.
template <class T>
inline void mask_coupling(const State<T>& state, int64_t tile, int64_t input, T* c) {
    const Pack<T> zero = splat(T(0));
    const Pack<T> there = state.problem.input_mask ? input_present(state, tile, input) : splat(T(1));
    for (int64_t j = 0; j < state.problem.outputs; ++j) {
        Pack<T> own = select(there, load(c + j * kLanes<T>), zero);
        if (state.present) own = select(output_present(state, tile, j), own, zero);
        store(c + j * kLanes<T>, own);
    }
}

// Logits of one input to coupling coefficients, where the other inputs do not count.
template <class T>
inline void couple_outputs(const State<T>& state, int64_t tile, int64_t input, T* logits) {
    if (state.problem.coupling_given) {
        mask_coupling(state, tile, input, logits);
    } else {
        softmax_over_outputs(state, tile, input, logits);
    }
}

// What the coupling of one input is multiplied with after the softmax; 0 where it is absent.
template <class T>
inline Pack<T> weight_of_input(const State<T>& state, int64_t tile, int64_t input) {
    const RoutingProblem& problem = state.problem;
    alignas(64) T lanes[kLanes<T>] = {};
    const int64_t samples = samples_in_tile(state, tile), first = tile * kLanes<T>;
    for (int64_t n = 0; n < samples; ++n) {
        lanes[n] = read<T>(problem.dtype, problem.input_weight, (first + n) * problem.inputs + input);
    }
    const Pack<T> weight = load(lanes);
    return problem.input_mask ? select(input_present(state, tile, input), weight, splat(T(0))) : weight;
}

template <class T>
inline void weigh_coupling(const State<T>& state, int64_t tile, int64_t input, T* c) {
    if (!state.problem.input_weight) return;
    const Pack<T> weight = weight_of_input(state, tile, input);
    for (int64_t j = 0; j < state.problem.outputs; ++j) store(c + j * kLanes<T>, load(c + j * kLanes<T>) * weight);
}

// Softmax over the inputs when its largest logits and sums are known (backward), in place. Not by a log-sum-exp: its
// rounding would be that of the logits, which may be large.
template <class T>
inline void softmax_over_inputs(const State<T>& state, int64_t tile, int64_t input, const T* normaliser, T* logits) {
    const Pack<T> zero = splat(T(0));
    const Pack<T> there = state.problem.input_mask ? input_present(state, tile, input) : splat(T(1));
    const T* inverse_sum = normaliser + state.problem.outputs * kLanes<T>;
    for (int64_t j = 0; j < state.problem.outputs; ++j) {
        Pack<T> c = exp_nonpositive(load(logits + j * kLanes<T>) - load(normaliser + j * kLanes<T>)) *
                    load(inverse_sum + j * kLanes<T>);
        if (state.problem.input_mask) c = select(there, c, zero);
        if (state.present) c = select(output_present(state, tile, j), c, zero);
        store(logits + j * kLanes<T>, c);
    }
}

}  // namespace
