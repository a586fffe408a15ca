// The hostile problems for the CUDA kernels of the emulated device.
#include "tests/hostile.h"

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

bool described(const RoutingProblem& problem) {
    char text[16];  // shorter than what there is to say
    return cuda_describe(problem, 0, text, int(sizeof text)) == Status::ok;
}

}  // namespace

void check_hostile_problems(Failures& failures) {
    for (int architecture : {75, 90}) {
        for (int multiprocessors : {3, 1}) {  // with one, a block has several items, one after the other
            emulation::configure({.architecture = architecture, .multiprocessors = multiprocessors});
            check_refusals({routing_on_cuda, described}, failures);
            check_hostile({routing_on_cuda, described}, 2500, 60, failures);
        }
    }
    emulation::configure({});
}

}  // namespace capsroute::tests
