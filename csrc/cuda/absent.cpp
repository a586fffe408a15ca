// What the core offers on CUDA devices in a build without CUDA: that there are none.
#include <stdio.h>

#include "../capsroute.h"

namespace capsroute {

int64_t routing_forward_workspace_cuda(const RoutingProblem&, int) {
    return -int64_t(Status::no_device);
}

int64_t routing_backward_workspace_cuda(const RoutingProblem&, const RoutingBackward&, int) {
    return -int64_t(Status::no_device);
}

int64_t routing_agreement_workspace_cuda(const RoutingProblem&, int) {
    return -int64_t(Status::no_device);
}

int64_t routing_forward_pass_workspace_cuda(const RoutingProblem&, int) {
    return -int64_t(Status::no_device);
}

int64_t routing_backward_pass_workspace_cuda(const RoutingProblem&, int) {
    return -int64_t(Status::no_device);
}

int64_t routing_last_pass_workspace_cuda(const RoutingProblem&, const RoutingLastPass&, int) {
    return -int64_t(Status::no_device);
}

Status routing_forward_cuda(const RoutingProblem&, const RoutingForward&, int, void*) {
    return Status::no_device;
}

Status routing_backward_cuda(const RoutingProblem&, const RoutingBackward&, int, void*) {
    return Status::no_device;
}

Status routing_agreement_cuda(const RoutingProblem&, const RoutingAgreement&, int, void*) {
    return Status::no_device;
}

Status routing_forward_pass_cuda(const RoutingProblem&, const RoutingForwardPass&, int, void*) {
    return Status::no_device;
}

Status routing_backward_pass_cuda(const RoutingProblem&, const RoutingBackwardPass&, int, void*) {
    return Status::no_device;
}

Status routing_last_pass_cuda(const RoutingProblem&, const RoutingLastPass&, int, void*) {
    return Status::no_device;
}

Status cuda_usable(int) {
    return Status::no_device;
}

Status cuda_describe(const RoutingProblem&, int, char* text, int text_bytes) {
    if (!text || text_bytes < 1) return Status::missing_pointer;
    snprintf(text, size_t(text_bytes), "no CUDA kernels in this build");
    return Status::no_device;
}

void cuda_division_choose(const CudaDivision&) {}

CudaDivision cuda_division() {
    return {};
}

int cuda_arch_count() {
    return 0;
}

int cuda_arch(int) {
    return 0;
}

const char* cuda_error_detail() {
    return "no CUDA kernels in this build";
}

}  // namespace capsroute
