// The hostile problems for the CUDA kernels of the emulated device.
#include "tests/hostile.h"

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

// The function with its device, and with its stream where it takes one.
template <auto kFunction, class... Arguments>
auto on_device(const Arguments&... arguments) {
    if constexpr (requires { kFunction(arguments..., 0); }) {
        return kFunction(arguments..., 0);
    } else {
        return kFunction(arguments..., 0, nullptr);
    }
}

bool described(const RoutingProblem& problem) {
    char text[16];  // shorter than what there is to say
    return cuda_describe(problem, 0, text, int(sizeof text)) == Status::ok;
}

constexpr Core kCore = {
    on_device<routing_forward_workspace_cuda>,
    on_device<routing_backward_workspace_cuda>,
    on_device<routing_agreement_workspace_cuda>,
    on_device<routing_forward_pass_workspace_cuda>,
    on_device<routing_backward_pass_workspace_cuda>,
    on_device<routing_last_pass_workspace_cuda>,
    on_device<routing_forward_cuda>,
    on_device<routing_backward_cuda>,
    on_device<routing_agreement_cuda>,
    on_device<routing_forward_pass_cuda>,
    on_device<routing_backward_pass_cuda>,
    on_device<routing_last_pass_cuda>,
    described,
};

}  // namespace

void check_hostile_problems(Failures& failures) {
    for (int architecture : {75, 90}) {
        for (int multiprocessors : {3, 1}) {  // with one, a block has several items, one after the other
            emulation::configure({.architecture = architecture, .multiprocessors = multiprocessors});
            check_hostile(kCore, 2500, 60, failures);
        }
    }
    emulation::configure({});
}

}  // namespace capsroute::tests
