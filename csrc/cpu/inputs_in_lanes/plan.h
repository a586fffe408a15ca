// How a problem is divided and laid out in its workspace when votes are kept for a wave of samples.
#pragma once

#include "../plan.h"
#include "state.h"

namespace capsroute::cpu {

// Samples that go through all iterations together; 0 where the votes of a single one are too many to be kept.
int64_t samples_of_wave(const RoutingProblem& problem);

// As plan(), for kept votes.
template <class T>
int64_t plan(const RoutingProblem& problem, Direction direction, Wanted wanted, void* workspace, KeptState<T>& state);

}  // namespace capsroute::cpu
