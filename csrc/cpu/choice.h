// How a problem gets at its votes in each pass: the one cost model.
#pragma once

#include "../capsroute.h"

namespace capsroute::cpu {

// The same for forward and backward, whose logits must agree bit for bit.
CpuVotes votes_for(const RoutingProblem& problem);

}  // namespace capsroute::cpu
