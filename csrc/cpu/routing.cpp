// The whole op on the CPU: passes and steps in turn, their items handed to the threads as these come free.
#include <algorithm>

#include "../shared/options.h"
#include "choice.h"
#include "driver.h"
#include "inputs_in_lanes/plan.h"

namespace capsroute {
namespace cpu {
namespace {

// For the phases of a wave, whose votes stay with the thread that made them.
template <class T, class Work>
void for_each_at_home(Team& team, const KeptState<T>& state, int64_t items, Work work) {
    team.for_each_in_ranges(items,
                            [&](int64_t item, int thread) { work(item, state.scratch + thread * state.scratch_size); });
}

template <class T>
const KeptKernels<T>& kept_kernels_for() {
    if constexpr (sizeof(T) == 4) {
        return kernels().kept_of_float;
    } else {
        return kernels().kept_of_double;
    }
}

template <class T>
void run_forward(Team& team, const State<T>& state, const RoutingForward& buffers) {
    const Kernels<T>& k = kernels_for<T>();
    const int64_t tiles = state.tiles;
    begin_scratch(team, state);
    if (state.keeps_votes) {
        for_each(team, state, tiles, [&](int64_t tile, T* scratch) {
            k.prepare(state, tile);
            for (int64_t t = 1; t <= state.problem.iterations; ++t) {
                k.forward_pass(state, t, 0, tile, scratch);
                k.forward_step(state, buffers, t, tile);
            }
        });
        return;
    }
    for_each(team, state, tiles, [&](int64_t tile, T*) { k.prepare(state, tile); });
    for (int64_t t = 1; t <= state.problem.iterations; ++t) {
        // Neighbouring items share a chunk, so that its weights are still in a cache.
        for_each(team, state, state.chunks * tiles,
                 [&](int64_t item, T* scratch) { k.forward_pass(state, t, item / tiles, item % tiles, scratch); });
        for_each(team, state, tiles, [&](int64_t tile, T*) { k.forward_step(state, buffers, t, tile); });
    }
}

template <class T>
void run_backward(Team& team, const State<T>& state, const RoutingBackward& buffers) {
    const Kernels<T>& k = kernels_for<T>();
    const RoutingProblem& p = state.problem;
    const int64_t tiles = state.tiles;
    begin_scratch(team, state);
    const int64_t last_of_passes = p.gradient == Gradient::last ? p.iterations + 1 : 2;
    for_each(team, state, tiles, [&](int64_t tile, T* scratch) {
        k.prepare(state, tile);
        k.backward_start(state, buffers, tile);
        for (int64_t t = p.iterations; state.keeps_votes && t >= last_of_passes; --t) {
            k.backward_pass(state, t, 0, tile, scratch);
            k.backward_step(state, buffers, t, tile);
        }
    });
    for (int64_t t = p.iterations; !state.keeps_votes && t >= last_of_passes; --t) {
        for_each(team, state, state.chunks * tiles,
                 [&](int64_t item, T* scratch) { k.backward_pass(state, t, item / tiles, item % tiles, scratch); });
        for_each(team, state, tiles, [&](int64_t tile, T*) { k.backward_step(state, buffers, t, tile); });
    }
    run_last(team, state, buffers);
}

template <class T>
void run_agreement(Team& team, const State<T>& state, const RoutingAgreement& buffers) {
    const Kernels<T>& k = kernels_for<T>();
    const int64_t tiles = state.tiles;
    begin_scratch(team, state);
    for_each(team, state, tiles, [&](int64_t tile, T*) { k.agreement_start(state, buffers, tile); });
    for_each(team, state, state.chunks * tiles,
             [&](int64_t item, T* scratch) { k.agreement_pass(state, buffers, item / tiles, item % tiles, scratch); });
}

// Calls work(wave) for the waves of a batch, one after the other.
template <class T, class Work>
void for_each_wave(const KeptState<T>& state, Work work) {
    const int64_t batch = state.problem.batch;
    for (int64_t first = 0; first < batch; first += state.wave) {
        const int64_t left = batch - first;
        work(Wave{first, std::min(left, state.wave), left <= state.wave});
    }
}

template <class T>
void run_forward(Team& team, const KeptState<T>& state, const RoutingForward& buffers) {
    const KeptKernels<T>& k = kept_kernels_for<T>();
    const RoutingProblem& p = state.problem;
    const bool uniform_start = is_uniform(p, 1);
    for_each_wave(state, [&](const Wave& wave) {
        const int64_t samples = wave.samples, items = state.chunks * samples;
        for_each_at_home(team, state, state.chunks,
                         [&](int64_t chunk, T* scratch) { k.make(state, wave, chunk, uniform_start, scratch); });
        for (int64_t t = 1; t <= p.iterations; ++t) {
            if (t > 1 || !uniform_start) {
                for_each_at_home(team, state, items, [&](int64_t item, T* scratch) {
                    k.forward_pass(state, wave, t, item / samples, item % samples, scratch);
                });
            }
            for_each(team, state, samples, [&](int64_t s, T*) { k.forward_step(state, buffers, wave, t, s); });
        }
    });
}

template <class T>
void run_backward(Team& team, const KeptState<T>& state, const RoutingBackward& buffers) {
    const KeptKernels<T>& k = kept_kernels_for<T>();
    const RoutingProblem& p = state.problem;
    const bool from_votes = buffers.grad_x || buffers.grad_weight || buffers.grad_logits || buffers.grad_input_weight;
    for_each_wave(state, [&](const Wave& wave) {
        const int64_t samples = wave.samples, items = state.chunks * samples;
        for_each(team, state, samples, [&](int64_t s, T*) { k.backward_start(state, buffers, wave, s); });
        for_each_at_home(team, state, state.chunks,
                         [&](int64_t chunk, T* scratch) { k.make(state, wave, chunk, false, scratch); });
        for (int64_t t = p.iterations; t >= 2 && p.gradient != Gradient::last; --t) {
            for_each_at_home(team, state, items, [&](int64_t item, T* scratch) {
                k.backward_pass(state, buffers, wave, t, item / samples, item % samples, scratch);
            });
            for_each(team, state, samples, [&](int64_t s, T*) { k.backward_step(state, buffers, wave, t, s); });
        }
        if (from_votes) {
            for_each_at_home(team, state, state.blocks,
                             [&](int64_t block, T* scratch) { k.last_pass(state, buffers, wave, block, scratch); });
        }
        if (buffers.grad_bias) for_each(team, state, 1, [&](int64_t, T*) { k.finish_bias(state, buffers, wave); });
    });
}

template <class AnyState>
Status forward(const RoutingProblem& problem, const RoutingForward& buffers) {
    AnyState state;
    const int64_t bytes = plan(problem, Direction::forward, {}, buffers.workspace, state);
    if (bytes < 0) return Status(-bytes);
    if (bytes > buffers.workspace_bytes) return Status::small_workspace;
    on_team(problem.threads, [&](Team& team) { run_forward(team, state, buffers); });
    return Status::ok;
}

template <class AnyState>
Status backward(const RoutingProblem& problem, const RoutingBackward& buffers) {
    AnyState state;
    const int64_t bytes = plan(problem, Direction::backward, wanted_of(buffers), buffers.workspace, state);
    if (bytes < 0) return Status(-bytes);
    if (bytes > buffers.workspace_bytes) return Status::small_workspace;
    on_team(problem.threads, [&](Team& team) { run_backward(team, state, buffers); });
    return Status::ok;
}

template <class AnyState>
Status agreement(RoutingProblem problem, const RoutingAgreement& buffers) {
    problem.input_mask = problem.output_mask = nullptr;  // every vote counts
    AnyState state;
    const int64_t bytes = plan(problem, Direction::forward, {}, buffers.workspace, state);
    if (bytes < 0) return Status(-bytes);
    if (bytes > buffers.workspace_bytes) return Status::small_workspace;
    on_team(problem.threads, [&](Team& team) { run_agreement(team, state, buffers); });
    return Status::ok;
}

// Calls work with an empty state of the kind that the problem takes.
template <class Work>
auto with_state(const RoutingProblem& problem, Work work) {
    const bool keep = votes_for(problem) == CpuVotes::wave;
    if (problem.dtype == DType::float64) return keep ? work(KeptState<double>{}) : work(State<double>{});
    return keep ? work(KeptState<float>{}) : work(State<float>{});
}

}  // namespace

int64_t workspace(const RoutingProblem& problem, const RoutingForward&, Place) {
    const Status status = check(problem);
    if (status != Status::ok) return -int64_t(status);
    return with_state(problem, [&](auto state) { return plan(problem, Direction::forward, {}, nullptr, state); });
}

int64_t workspace(const RoutingProblem& problem, const RoutingBackward& buffers, Place) {
    const Status status = check_wanted(problem, buffers);
    if (status != Status::ok) return -int64_t(status);
    return with_state(
        problem, [&](auto state) { return plan(problem, Direction::backward, wanted_of(buffers), nullptr, state); });
}

int64_t workspace(const RoutingProblem& problem, const RoutingAgreement&, Place) {
    const Status status = check(problem);
    if (status != Status::ok) return -int64_t(status);
    State<float> of_float;
    State<double> of_double;
    return problem.dtype == DType::float64 ? plan(problem, Direction::forward, {}, nullptr, of_double)
                                           : plan(problem, Direction::forward, {}, nullptr, of_float);
}

Status run(const RoutingProblem& problem, const RoutingForward& buffers, Place) {
    const Status status = check(problem, buffers);
    if (status != Status::ok) return status;
    return with_state(problem, [&](auto state) { return forward<decltype(state)>(problem, buffers); });
}

Status run(const RoutingProblem& problem, const RoutingBackward& buffers, Place) {
    const Status status = check(problem, buffers);
    if (status != Status::ok) return status;
    return with_state(problem, [&](auto state) { return backward<decltype(state)>(problem, buffers); });
}

Status run(const RoutingProblem& problem, const RoutingAgreement& buffers, Place) {
    const Status status = check(problem, buffers);
    if (status != Status::ok) return status;
    return problem.dtype == DType::float64 ? agreement<State<double>>(problem, buffers)
                                           : agreement<State<float>>(problem, buffers);
}

}  // namespace cpu

const RoutingCalls routing_on_cpu = {
    .forward = {cpu::workspace, cpu::run},
    .backward = {cpu::workspace, cpu::run},
    .agreement = {cpu::workspace, cpu::run},
    .forward_pass = {cpu::workspace, cpu::run},
    .backward_pass = {cpu::workspace, cpu::run},
    .last_pass = {cpu::workspace, cpu::run},
};

bool built_with_openmp() {
#if defined(_OPENMP)
    return true;
#else
    return false;
#endif
}

}  // namespace capsroute
