// What the core offers on CUDA devices in a build without CUDA: that there are none.
#include <stdio.h>

#include "../capsroute.h"

namespace capsroute {
namespace {

template <class Buffers>
constexpr Call<Buffers> kAbsent = {
    [](const RoutingProblem&, const Buffers&, Place) { return -int64_t(Status::no_device); },
    [](const RoutingProblem&, const Buffers&, Place) { return Status::no_device; },
};

}  // namespace

const RoutingCalls routing_on_cuda = {
    kAbsent<RoutingForward>,     kAbsent<RoutingBackward>,     kAbsent<RoutingAgreement>,
    kAbsent<RoutingForwardPass>, kAbsent<RoutingBackwardPass>, kAbsent<RoutingLastPass>,
};

Status cuda_usable(int) {
    return Status::no_device;
}

Status cuda_describe(const RoutingProblem&, int, char* text, int text_bytes) {
    if (!text || text_bytes < 1) return Status::missing_pointer;
    snprintf(text, size_t(text_bytes), "%s", cuda_error_detail());
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
