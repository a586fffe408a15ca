// Which kernels a problem takes on a device, and the launches that the whole op and its passes share.
#pragma once

#include "kernels.h"
#include "plain.h"

namespace capsroute::cuda {

// Either plan; bytes is the workspace, or a negative Status.
struct Choice {
    bool fused = false;
    int64_t bytes = 0;
    Plan plan;
    PlainPlan plain;
};

Choice choose(const RoutingProblem& problem, const Device& device, Direction direction, Wanted wanted, void* workspace);

// What is planned for a problem that was checked, where it is not the problem itself.
using Planned = RoutingProblem (*)(RoutingProblem);
inline RoutingProblem as_it_is(RoutingProblem problem) {
    return problem;
}

// Bytes of workspace, or a negative Status.
int64_t chosen_workspace(const RoutingProblem& problem, Planned planned, Direction direction,
                         const RoutingBackward& gradients, int index);

struct Space {
    void* memory;
    int64_t bytes;
};

// Checks a problem, finds the device and makes it current, looks at the workspace, and runs what is planned by the
// kernels that it takes: fused or plain(plan, buffers, device, stream).
template <class Buffers, class Fused, class Plain>
Status run_chosen(const RoutingProblem& problem, Planned planned, const Buffers& buffers, Direction direction,
                  const RoutingBackward& gradients, Space space, Place place, Fused fused, Plain plain) {
    Device device;
    Status status = check(problem, buffers);
    if (status == Status::ok) status = device_of(place.device, device);
    if (status != Status::ok) return status;
    const Choice choice = choose(planned(problem), device, direction, wanted_of(gradients), space.memory);
    if (choice.bytes < 0) return Status(-choice.bytes);
    if (choice.bytes > space.bytes) return Status::small_workspace;
    const DeviceGuard guard(place.device);
    if (guard.status() != Status::ok) return guard.status();
    return choice.fused ? fused(choice.plan, buffers, device, place.stream)
                        : plain(choice.plain, buffers, device, place.stream);
}

// The calls of passes.cu and agreement.cu.
int64_t workspace(const RoutingProblem& problem, const RoutingForwardPass& pass, Place place);
int64_t workspace(const RoutingProblem& problem, const RoutingBackwardPass& pass, Place place);
int64_t workspace(const RoutingProblem& problem, const RoutingLastPass& pass, Place place);
int64_t workspace(const RoutingProblem& problem, const RoutingAgreement& buffers, Place place);
Status run(const RoutingProblem& problem, const RoutingForwardPass& pass, Place place);
Status run(const RoutingProblem& problem, const RoutingBackwardPass& pass, Place place);
Status run(const RoutingProblem& problem, const RoutingLastPass& pass, Place place);
Status run(const RoutingProblem& problem, const RoutingAgreement& buffers, Place place);

template <class Parameters>
Status launch_on(const Device& device, const Kernel& kernel, const Shape& shape, void* stream,
                 const Parameters& parameters) {
    int resident = 0;
    const Status status = resident_blocks(device, kernel, shape, resident);
    if (status != Status::ok) return status;
    if (resident < 1) return Status::no_kernel;
    return launch(device, kernel, shape, stream, &parameters, sizeof parameters);
}

// The shape of the blocks of forward and backward.
inline Shape shape_of_passes(const Plan& plan) {
    const bool grid = plan.fusion == CudaFusion::grid;
    return {plan.blocks, plan.tile_warps * plan.input_warps * kWarp, plan.shared_bytes, grid, plan.cluster};
}

// One phase alone, for plans of launches.
template <class Parameters>
Status launch_phase(const Device& device, const Kernel& kernel, void* stream, Parameters parameters, int phase) {
    parameters.first_phase = phase;
    parameters.end_phase = phase + 1;
    return launch_on(device, kernel, shape_of_passes(parameters.plan), stream, parameters);
}

// The gradients, once all vectors and what normalises the couplings are there.
Status end_backward(const Plan& plan, const RoutingBackward& buffers, const Device& device, void* stream);

}  // namespace capsroute::cuda
