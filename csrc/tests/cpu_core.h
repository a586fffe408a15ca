// The functions of the core that run on the CPU, for the tests that any device's functions can be given to.
#pragma once

#include "tests/hostile.h"

namespace capsroute::tests {

inline constexpr Core kCpuCore = {
    routing_forward_workspace_cpu,
    routing_backward_workspace_cpu,
    routing_agreement_workspace_cpu,
    routing_forward_pass_workspace_cpu,
    routing_backward_pass_workspace_cpu,
    routing_last_pass_workspace_cpu,
    routing_forward_cpu,
    routing_backward_cpu,
    routing_agreement_cpu,
    routing_forward_pass_cpu,
    routing_backward_pass_cpu,
    routing_last_pass_cpu,
    [](const RoutingProblem& problem) { return cpu_votes_of(problem) != nullptr; },
};

}  // namespace capsroute::tests
