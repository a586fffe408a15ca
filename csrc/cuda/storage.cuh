// Elements of tensors in any storage type.
#pragma once

#include "device.cuh"
#include "plan.h"

namespace capsroute::cuda {

CAPSROUTE_DEVICE float bfloat16_to_float(uint16_t bits) {
    return float_of(uint32_t(bits) << 16);
}

// Rounds to nearest, ties to even; a NaN stays one.
CAPSROUTE_DEVICE uint16_t float_to_bfloat16(float value) {
    const uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t((bits >> 16) | 0x40);
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Element `at` of a tensor in any type but float64, which the fused kernels do not take.
CAPSROUTE_DEVICE float read_float(DType dtype, const void* from, int64_t at) {
    if (dtype == DType::float32) return static_cast<const float*>(from)[at];
    const uint16_t bits = static_cast<const uint16_t*>(from)[at];
    return dtype == DType::bfloat16 ? bfloat16_to_float(bits) : float16_to_float(bits);
}

CAPSROUTE_DEVICE void write_float(DType dtype, void* to, int64_t at, float value) {
    if (dtype == DType::float32) {
        static_cast<float*>(to)[at] = value;
    } else {
        static_cast<uint16_t*>(to)[at] = dtype == DType::bfloat16 ? float_to_bfloat16(value) : float_to_float16(value);
    }
}

// Element `at` of a tensor; T is double for float64 and float for all others.
template <class T>
CAPSROUTE_DEVICE T read(DType dtype, const void* from, int64_t at) {
    return dtype == DType::float64 ? T(static_cast<const double*>(from)[at]) : T(read_float(dtype, from, at));
}

template <class T>
CAPSROUTE_DEVICE void write(DType dtype, void* to, int64_t at, T value) {
    if (dtype == DType::float64) {
        static_cast<double*>(to)[at] = double(value);
    } else {
        write_float(dtype, to, at, float(value));
    }
}

}  // namespace capsroute::cuda
