// The passes of the op one by one on the CPU.
#include "driver.h"

namespace capsroute {
namespace cpu {
namespace {

template <class T>
void run(Team& team, const State<T>& state, const RoutingForwardPass& pass) {
    const Kernels<T>& k = kernels_for<T>();
    const int64_t tiles = state.tiles;
    for_each(team, state, tiles, [&](int64_t tile, T*) { k.start_forward_pass(state, pass, tile); });
    for_each(team, state, state.chunks * tiles, [&](int64_t item, T* scratch) {
        k.forward_pass(state, pass.iteration, item / tiles, item % tiles, scratch);
    });
    for_each(team, state, tiles, [&](int64_t tile, T*) { k.finish_forward_pass(state, pass, tile); });
}

template <class T>
void run(Team& team, const State<T>& state, const RoutingBackwardPass& pass) {
    const Kernels<T>& k = kernels_for<T>();
    const int64_t tiles = state.tiles;
    for_each(team, state, tiles, [&](int64_t tile, T*) { k.start_backward_pass(state, pass, tile); });
    for_each(team, state, state.chunks * tiles, [&](int64_t item, T* scratch) {
        k.backward_pass(state, pass.iteration, item / tiles, item % tiles, scratch);
    });
    for_each(team, state, tiles, [&](int64_t tile, T*) { k.finish_backward_pass(state, pass, tile); });
}

template <class T>
void run(Team& team, const State<T>& state, const RoutingLastPass& pass) {
    const Kernels<T>& k = kernels_for<T>();
    for_each(team, state, state.tiles, [&](int64_t tile, T*) { k.start_last_pass(state, pass, tile); });
    run_last(team, state, pass.gradients);
}

// Calls work with an empty state of the accumulation type.
template <class Work>
auto with_state(const RoutingProblem& problem, Work work) {
    return problem.dtype == DType::float64 ? work(State<double>{}) : work(State<float>{});
}

int64_t planned_bytes(const RoutingProblem& problem, Direction direction, const RoutingBackward& gradients) {
    const Status status = check_wanted(problem, gradients);
    if (status != Status::ok) return -int64_t(status);
    return with_state(problem,
                      [&](auto state) { return plan(problem, direction, wanted_of(gradients), nullptr, state, true); });
}

template <class Pass>
Status run_pass(const RoutingProblem& problem, const Pass& pass, Direction direction, Wanted wanted, void* workspace,
                int64_t workspace_bytes) {
    const Status status = check(problem, pass);
    if (status != Status::ok) return status;
    return with_state(problem, [&](auto state) {
        const int64_t bytes = plan(problem, direction, wanted, workspace, state, true);
        if (bytes < 0) return Status(-bytes);
        if (bytes > workspace_bytes) return Status::small_workspace;
        on_team(problem.threads, [&](Team& team) {
            begin_scratch(team, state);
            run(team, state, pass);
        });
        return Status::ok;
    });
}

}  // namespace

int64_t workspace(const RoutingProblem& problem, const RoutingForwardPass&, Place) {
    return planned_bytes(problem, Direction::forward, {});
}

int64_t workspace(const RoutingProblem& problem, const RoutingBackwardPass&, Place) {
    return planned_bytes(problem, Direction::backward, {});
}

int64_t workspace(const RoutingProblem& problem, const RoutingLastPass& pass, Place) {
    return planned_bytes(problem, Direction::backward, pass.gradients);
}

Status run(const RoutingProblem& problem, const RoutingForwardPass& pass, Place) {
    return run_pass(problem, pass, Direction::forward, {}, pass.workspace, pass.workspace_bytes);
}

Status run(const RoutingProblem& problem, const RoutingBackwardPass& pass, Place) {
    return run_pass(problem, pass, Direction::backward, {}, pass.workspace, pass.workspace_bytes);
}

Status run(const RoutingProblem& problem, const RoutingLastPass& pass, Place) {
    const RoutingBackward& gradients = pass.gradients;
    return run_pass(problem, pass, Direction::backward, wanted_of(gradients), gradients.workspace,
                    gradients.workspace_bytes);
}

}  // namespace cpu
}  // namespace capsroute
