// The plainest kernels: every size and type, one thread per element, everything computed and kept in float64. They are
// the oracle on a GPU, and what takes the problems that the fused kernels do not: float64, and D above 64.
#pragma once

#include "../shared/problem.h"
#include "host.h"

namespace capsroute::cuda {

struct PlainPlan {
    RoutingProblem problem;
    double*
        query;  // Q^t for t = 1 .. T, the vectors that the votes are multiplied with: [T, B, J, D]; Q^1 is not written
    double* sums;      // s of the present iteration, and in backward the gradient of Q: [B, J, D]
    double* coupling;  // c^t: [T, B, I, J]; forward: of the present iteration
    double* gradient;  // dl^t: [T, B, I, J]
    double* slope;     // a^t: [T, B, J, D]
};

int64_t plan_plain(const RoutingProblem& problem, bool backward, void* workspace, PlainPlan& plan);
Status plain_forward(const PlainPlan& plan, const RoutingForward& buffers, const Device& device, void* stream);
Status plain_backward(const PlainPlan& plan, const RoutingBackward& buffers, const Device& device, void* stream);

// The passes one by one; for the last two the plan is that of backward.
Status plain_forward_pass(const PlainPlan& plan, const RoutingForwardPass& pass, const Device& device, void* stream);
Status plain_backward_pass(const PlainPlan& plan, const RoutingBackwardPass& pass, const Device& device, void* stream);
Status plain_last_pass(const PlainPlan& plan, const RoutingLastPass& pass, const Device& device, void* stream);

}  // namespace capsroute::cuda
