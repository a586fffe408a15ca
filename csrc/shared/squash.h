// The squash and its derivative, for numbers, vectors of numbers, and the device.
//
// v = f(n) s with n = |s|^2, so dv = f ds + 2 f'(n) (s . ds) s. Where a formula has no value at n = 0, f and f' are 0.
//
// f' falls with the cube of |s|: beyond 1e13 it is no float any more, while f' s s is as large as f. So it comes in two
// parts, of which the unit is about 1 / |s|, and s is multiplied with that: 2 f' (s . ds) s = slope (u . ds) u, u =
// unit s.
#pragma once

#include "options.h"

namespace capsroute {

template <class V>
struct SquashFactors {
    V factor;  // f
    V slope;   // slope unit^2 = 2 f'
    V unit;
};

// Ops has the number type V and, as static functions: of(double), root(V), reciprocal_or_zero(V), positive(c, a, b) (a
// where c > 0, else b), power(V, double) of positive numbers, and one_minus_exp(V r) = 1 - e^-r for r >= 0.
template <class Ops>
CAPSROUTE_ANYWHERE SquashFactors<typename Ops::V> squash_factors(const RoutingProblem& p, typename Ops::V n) {
    using V = typename Ops::V;
    const V zero = Ops::of(0), one = Ops::of(1), eps = Ops::of(p.eps);
    if (p.squash == Squash::none) return {one, zero, zero};
    if (p.squash == Squash::shifted) {
        const V constant = Ops::of(p.squash_constant), q = n + eps, inverse = one / (constant + q);
        const V root = Ops::root(q), h = Ops::reciprocal_or_zero(root);
        return {root * inverse, root * inverse * ((constant + constant) * inverse - one), h};
    }
    if (p.squash == Squash::standard) {
        const V under_root = n + eps, inverse = one / (one + n);
        const V root = Ops::root(under_root), h = Ops::reciprocal_or_zero(root);
        const V ratio = n / Ops::positive(under_root, under_root, one);  // of small numbers, so not by a reciprocal
        return {n * inverse * h, inverse * root * (inverse + inverse - ratio), h};
    }
    const V r = Ops::root(n);
    const bool clamps = p.squash == Squash::clamped || p.squash == Squash::power;
    const V length = clamps ? Ops::positive(r - eps, r, eps) : r + eps;
    const V h = Ops::reciprocal_or_zero(length);
    if (p.squash == Squash::exponential) {
        const V less = Ops::one_minus_exp(r), factor = less * h;
        return {factor, r * h * (one - less - factor), Ops::reciprocal_or_zero(r)};
    }
    const V inverse = one / (one + n);
    // d length / d r, times r / length; where r = eps it is that of torch.clamp
    const V ratio = clamps ? Ops::positive(eps - r, zero, one) : r * h;
    if (p.squash == Squash::power) {
        const V some = Ops::positive(n, n, one);
        const V gain = Ops::positive(n, Ops::power(some * inverse, p.squash_constant), zero);
        const V twice = Ops::of(2 * p.squash_constant) * inverse - ratio;
        return {gain * h, gain * h * twice, Ops::reciprocal_or_zero(r)};
    }
    return {n * inverse * h, inverse * length * (inverse + inverse - ratio), h};
}

}  // namespace capsroute
