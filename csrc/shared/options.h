// What the options of a problem come to in an iteration: the same code for the host, the device and the CPU kernels.
//
// The logits of iteration t are logit_factor(t) times the initial ones plus the products of the votes with the query
// Q^t, and Q^{t+1} = query_keep(t) Q^t + query_add(t) v^t. docs/maths.md derives both.
#pragma once

#include "../capsroute.h"

#if defined(__CUDACC__)
#define CAPSROUTE_ANYWHERE static inline __host__ __device__
#else
#define CAPSROUTE_ANYWHERE static inline
#endif

namespace capsroute {

CAPSROUTE_ANYWHERE double inverse_temperature(const RoutingProblem& p, int64_t t) {
    return p.inverse_temperature[(t < p.temperatures ? t : int64_t(p.temperatures)) - 1];
}

CAPSROUTE_ANYWHERE double logit_factor(const RoutingProblem& p, int64_t t) {
    if (p.coupling_given) return 1;
    return p.replace_logits && t > 1 ? 0 : inverse_temperature(p, t);
}

// From the query of iteration t to that of the next.
CAPSROUTE_ANYWHERE double query_keep(const RoutingProblem& p, int64_t t) {
    return p.replace_logits ? 0 : inverse_temperature(p, t + 1) / inverse_temperature(p, t);
}
CAPSROUTE_ANYWHERE double query_add(const RoutingProblem& p, int64_t t) {
    return inverse_temperature(p, t + 1) * p.agreement_factor;
}

// Is the coupling of this iteration the same for all that take part, and nothing else in front of the votes?
CAPSROUTE_ANYWHERE bool is_uniform(const RoutingProblem& p, int64_t t) {
    return t == 1 && !p.logits && !p.input_weight;
}

// The first iteration whose a counts at all, in what the sums and logits depend on besides the votes, and in the votes.
CAPSROUTE_ANYWHERE int64_t first_iteration(const RoutingProblem& p) {
    return p.gradient == Gradient::last ? p.iterations : 1;
}
CAPSROUTE_ANYWHERE int64_t first_iteration_of_votes(const RoutingProblem& p) {
    return p.gradient == Gradient::all ? 1 : p.iterations;
}

// Do the logits of this iteration depend on the votes, for the gradient?
CAPSROUTE_ANYWHERE bool logits_carry_votes(const RoutingProblem& p, int64_t t) {
    return p.gradient == Gradient::all && t > 1;
}

// Is the output of this iteration squashed?
CAPSROUTE_ANYWHERE bool squashes(const RoutingProblem& p, int64_t t) {
    return p.squash_output || t != p.iterations;
}

}  // namespace capsroute
