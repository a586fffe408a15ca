// What csrc/shared/squash.h asks of numbers, for float and double.
#pragma once

#include "../shared/squash.h"
#include "device.cuh"

namespace capsroute::cuda {

template <class T>
struct SquashNumbers {
    using V = T;
    CAPSROUTE_ANYWHERE T of(double value) { return T(value); }
    CAPSROUTE_ANYWHERE T root(T a) { return sqrt(a); }
    CAPSROUTE_ANYWHERE T reciprocal_or_zero(T a) { return a == 0 ? T(0) : T(1) / a; }
    CAPSROUTE_ANYWHERE T positive(T condition, T a, T b) { return condition > 0 ? a : b; }
    CAPSROUTE_ANYWHERE T power(T a, double exponent) { return pow(a, T(exponent)); }
    CAPSROUTE_ANYWHERE T one_minus_exp(T r) { return -expm1(-r); }
};

}  // namespace capsroute::cuda
