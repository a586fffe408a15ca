// The squash on packs. Internal linkage, see simd.h.
#pragma once

#include "../shared/squash.h"
#include "simd.h"

namespace {

using capsroute::RoutingProblem;

template <class T>
struct PackOps {
    using V = Pack<T>;
    static CAPSROUTE_INLINE V of(double value) { return splat(T(value)); }
    static CAPSROUTE_INLINE V root(V a) { return square_root(a); }
    static CAPSROUTE_INLINE V reciprocal_or_zero(V a) { return ::reciprocal_or_zero(a); }
    static CAPSROUTE_INLINE V positive(V condition, V a, V b) { return select_positive(condition, a, b); }
    static CAPSROUTE_INLINE V power(V a, double b) { return ::power(a, b); }
    static CAPSROUTE_INLINE V one_minus_exp(V a) { return ::one_minus_exp(a); }
};

template <class T>
using SquashOf = capsroute::SquashFactors<Pack<T>>;

// The factors of vectors with these squared lengths, as they leave iteration t.
template <class T>
CAPSROUTE_INLINE SquashOf<T> squash_of(const RoutingProblem& problem, int64_t iteration, Pack<T> squared) {
    if (!capsroute::squashes(problem, iteration)) return {splat(T(1)), splat(T(0)), splat(T(0))};
    return capsroute::squash_factors<PackOps<T>>(problem, squared);
}

// How the query of the iteration after t follows from that of t and v.
template <class T>
struct QueryStep {
    T keep, add;

    QueryStep(const RoutingProblem& problem, int64_t iteration)
        : keep(iteration == 1 ? T(0) : T(capsroute::query_keep(problem, iteration))),
          add(T(capsroute::query_add(problem, iteration))) {}
};

}  // namespace
