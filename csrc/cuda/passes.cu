// The passes of the op one by one on a CUDA device.
#include "plain.h"

namespace capsroute {
namespace cuda {
namespace {

int64_t workspace(const RoutingProblem& problem, bool backward, int index) {
    Status status = check(problem);
    Device device;
    if (status == Status::ok) status = device_of(index, device);
    PlainPlan plan;
    return status == Status::ok ? plan_plain(problem, backward, nullptr, plan) : -int64_t(status);
}

// Finds the device and makes it current, checks the workspace, and runs.
template <class Pass, class Run>
Status run(const RoutingProblem& problem, const Pass& pass, bool backward, int index, void* memory,
           int64_t memory_bytes, Run run) {
    Status status = check(problem, pass);
    Device device;
    if (status == Status::ok) status = device_of(index, device);
    if (status != Status::ok) return status;
    PlainPlan plan;
    const int64_t bytes = plan_plain(problem, backward, memory, plan);
    if (bytes < 0) return Status(-bytes);
    if (bytes > memory_bytes) return Status::small_workspace;
    const DeviceGuard guard(index);
    return guard.status() == Status::ok ? run(plan, device) : guard.status();
}

}  // namespace
}  // namespace cuda

int64_t routing_forward_pass_workspace_cuda(const RoutingProblem& problem, int device) {
    return cuda::workspace(problem, false, device);
}

int64_t routing_backward_pass_workspace_cuda(const RoutingProblem& problem, int device) {
    return cuda::workspace(problem, true, device);
}

int64_t routing_last_pass_workspace_cuda(const RoutingProblem& problem, const RoutingLastPass&, int device) {
    return cuda::workspace(problem, true, device);
}

Status routing_forward_pass_cuda(const RoutingProblem& problem, const RoutingForwardPass& pass, int device,
                                 void* stream) {
    return cuda::run(problem, pass, false, device, pass.workspace, pass.workspace_bytes,
                     [&](const cuda::PlainPlan& plan, const cuda::Device& on) {
                         return cuda::plain_forward_pass(plan, pass, on, stream);
                     });
}

Status routing_backward_pass_cuda(const RoutingProblem& problem, const RoutingBackwardPass& pass, int device,
                                  void* stream) {
    return cuda::run(problem, pass, true, device, pass.workspace, pass.workspace_bytes,
                     [&](const cuda::PlainPlan& plan, const cuda::Device& on) {
                         return cuda::plain_backward_pass(plan, pass, on, stream);
                     });
}

Status routing_last_pass_cuda(const RoutingProblem& problem, const RoutingLastPass& pass, int device, void* stream) {
    return cuda::run(problem, pass, true, device, pass.gradients.workspace, pass.gradients.workspace_bytes,
                     [&](const cuda::PlainPlan& plan, const cuda::Device& on) {
                         return cuda::plain_last_pass(plan, pass, on, stream);
                     });
}

}  // namespace capsroute
