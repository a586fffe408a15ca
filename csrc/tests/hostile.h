// Problems as nobody would mean them, at random but always the same: every function that looks at one before kernels
// run must answer with a status, whatever stands in it.
#pragma once

#include "tests/checks.h"
#include "tests/random.h"

namespace capsroute::tests {

// The functions of csrc/capsroute.h that take a problem, of one device.
struct Core {
    int64_t (*forward_workspace)(const RoutingProblem&);
    int64_t (*backward_workspace)(const RoutingProblem&, const RoutingBackward&);
    int64_t (*agreement_workspace)(const RoutingProblem&);
    int64_t (*forward_pass_workspace)(const RoutingProblem&);
    int64_t (*backward_pass_workspace)(const RoutingProblem&);
    int64_t (*last_pass_workspace)(const RoutingProblem&, const RoutingLastPass&);
    Status (*forward)(const RoutingProblem&, const RoutingForward&);
    Status (*backward)(const RoutingProblem&, const RoutingBackward&);
    Status (*agreement)(const RoutingProblem&, const RoutingAgreement&);
    Status (*forward_pass)(const RoutingProblem&, const RoutingForwardPass&);
    Status (*backward_pass)(const RoutingProblem&, const RoutingBackwardPass&);
    Status (*last_pass)(const RoutingProblem&, const RoutingLastPass&);
    bool (*described)(const RoutingProblem&);  // whether there is something to say of it
};

// A problem that may be anything; its pointers are null or point to a few bytes, which nobody may read.
RoutingProblem hostile_problem(Random& random);

// Gives a problem of that kind to every function, with a workspace that is never large enough, so that no kernel runs.
// Returns what is wrong with the problem itself; ok where that depends on what is asked of it.
Status interview(const Core& core, const RoutingProblem& problem, Random& random, const std::string& name,
                 Failures& failures);

// Gives a small problem that is right to every function, with buffers of exactly the size that it needs.
void run_right_problem(const Core& core, Random& random, const std::string& name, Failures& failures);

// `structs` problems that may be anything, of which no kernel sees one; and `runs` small ones that are right, with
// buffers of exactly the size that they need: all results must be finite, and nothing written beside them.
void check_hostile(const Core& core, int structs, int runs, Failures& failures);

}  // namespace capsroute::tests
