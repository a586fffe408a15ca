// The whole op on the CPU: passes and steps in turn, their items handed to the threads as these come free.
#include <algorithm>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "dispatch.h"
#include "plan.h"

namespace capsroute {
namespace cpu {
namespace {

// Calls work(item, scratch) for each item and waits for all. To be called by every thread of a team, or by one thread
// outside of any. Which thread takes an item has no influence on its result.
template <class T, class Work>
void for_each(const State<T>& state, int64_t items, Work work) {
#if defined(_OPENMP)
    T* scratch = state.scratch + omp_get_thread_num() * state.scratch_size;
#pragma omp for schedule(dynamic, 1)
#else
    T* scratch = state.scratch;
#endif
    for (int64_t item = 0; item < items; ++item) work(item, scratch);
}

template <class T>
const Kernels<T>& kernels_for() {
    if constexpr (sizeof(T) == 4) {
        return kernels().of_float;
    } else {
        return kernels().of_double;
    }
}

template <class T>
void run_forward(const State<T>& state, const RoutingForward& buffers) {
    const Kernels<T>& k = kernels_for<T>();
    const int64_t tiles = state.tiles;
    for_each(state, tiles, [&](int64_t tile, T*) { k.prepare(state, tile); });
    for (int64_t t = 1; t <= state.problem.iterations; ++t) {
        // Neighbouring items share a chunk, so that its weights are still in a cache.
        for_each(state, state.chunks * tiles,
                 [&](int64_t item, T* scratch) { k.forward_pass(state, t, item / tiles, item % tiles, scratch); });
        for_each(state, tiles, [&](int64_t tile, T*) { k.forward_step(state, buffers, t, tile); });
    }
}

template <class T>
void run_backward(const State<T>& state, const RoutingBackward& buffers) {
    const Kernels<T>& k = kernels_for<T>();
    const RoutingProblem& p = state.problem;
    const int64_t tiles = state.tiles;
    for_each(state, tiles, [&](int64_t tile, T*) {
        k.prepare(state, tile);
        k.backward_start(state, buffers, tile);
    });
    for (int64_t t = p.iterations; t >= 2 && !p.gradient_last; --t) {
        for_each(state, state.chunks * tiles,
                 [&](int64_t item, T* scratch) { k.backward_pass(state, t, item / tiles, item % tiles, scratch); });
        for_each(state, tiles, [&](int64_t tile, T*) { k.backward_step(state, buffers, t, tile); });
    }
    if (buffers.grad_x || buffers.grad_weight || buffers.grad_votes || buffers.grad_logits) {
        for_each(state, state.groups * state.parts, [&](int64_t item, T* scratch) {
            k.last_pass(state, buffers, item / state.parts, item % state.parts, scratch);
        });
    }
    if (state.part_weight) {
        for_each(state, p.weight_inputs, [&](int64_t input, T*) { k.finish_weight(state, buffers, input); });
    }
    if (state.part_logits) {
        for_each(state, p.inputs, [&](int64_t input, T*) { k.finish_logits(state, buffers, input); });
    }
    if (buffers.grad_bias) {
        for_each(state, p.outputs, [&](int64_t output, T*) { k.finish_bias(state, buffers, output); });
    }
}

// Runs `body` on a team of the problem's threads; one thread needs no team.
template <class Body>
void on_team(int threads, Body body) {
#if defined(_OPENMP)
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        body();
        return;
    }
#endif
    (void)threads;
    body();
}

Wanted wanted_of(const RoutingBackward& buffers) {
    return {buffers.grad_weight != nullptr, buffers.grad_logits != nullptr};
}

template <class T>
Status forward(const RoutingProblem& problem, const RoutingForward& buffers) {
    State<T> state;
    const int64_t bytes = plan(problem, Direction::forward, {}, buffers.workspace, state);
    if (bytes < 0) return Status(-bytes);
    if (bytes > buffers.workspace_bytes) return Status::small_workspace;
    on_team(problem.threads, [&] { run_forward(state, buffers); });
    return Status::ok;
}

template <class T>
Status backward(const RoutingProblem& problem, const RoutingBackward& buffers) {
    State<T> state;
    const int64_t bytes = plan(problem, Direction::backward, wanted_of(buffers), buffers.workspace, state);
    if (bytes < 0) return Status(-bytes);
    if (bytes > buffers.workspace_bytes) return Status::small_workspace;
    on_team(problem.threads, [&] { run_backward(state, buffers); });
    return Status::ok;
}

int64_t workspace(const RoutingProblem& problem, Direction direction, Wanted wanted) {
    const Status status = check(problem);
    if (status != Status::ok) return -int64_t(status);
    if (problem.dtype == DType::float64) {
        State<double> state;
        return plan(problem, direction, wanted, nullptr, state);
    }
    State<float> state;
    return plan(problem, direction, wanted, nullptr, state);
}

}  // namespace
}  // namespace cpu

int64_t routing_forward_workspace_cpu(const RoutingProblem& problem) {
    return cpu::workspace(problem, cpu::Direction::forward, {});
}

int64_t routing_backward_workspace_cpu(const RoutingProblem& problem, const RoutingBackward& buffers) {
    return cpu::workspace(problem, cpu::Direction::backward, cpu::wanted_of(buffers));
}

Status routing_forward_cpu(const RoutingProblem& problem, const RoutingForward& buffers) {
    const Status status = check(problem, buffers);
    if (status != Status::ok) return status;
    return problem.dtype == DType::float64 ? cpu::forward<double>(problem, buffers)
                                           : cpu::forward<float>(problem, buffers);
}

Status routing_backward_cpu(const RoutingProblem& problem, const RoutingBackward& buffers) {
    const Status status = check(problem, buffers);
    if (status != Status::ok) return status;
    return problem.dtype == DType::float64 ? cpu::backward<double>(problem, buffers)
                                           : cpu::backward<float>(problem, buffers);
}

bool built_with_openmp() {
#if defined(_OPENMP)
    return true;
#else
    return false;
#endif
}

}  // namespace capsroute
