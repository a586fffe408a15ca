// Problems as nobody would mean them: every function that looks at one before kernels run must answer with a status,
// whatever stands in it. For the calls of any device.
#pragma once

#include "tests/core.h"
#include "tests/random.h"

namespace capsroute::tests {

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

// Problems with one thing wrong, and which status each of them must be answered with; and some that look so and are
// not.
void check_refusals(const Core& core, Failures& failures);

}  // namespace capsroute::tests
