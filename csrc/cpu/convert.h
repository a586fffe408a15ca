// Storage types and their conversion to the accumulation type. Internal linkage throughout, see simd.h.
#pragma once

#include <stdint.h>

#include "../capsroute.h"

namespace {

inline float float_from_bits(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

inline uint32_t bits_from_float(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float from_bfloat16(uint16_t half) {
    return float_from_bits(uint32_t(half) << 16);
}

// Rounds to nearest, ties to even; a NaN stays one.
inline uint16_t to_bfloat16(float value) {
    const uint32_t bits = bits_from_float(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t((bits >> 16) | 0x40);
    return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// The product with 2^112 moves the exponent from one bias to the other and makes subnormal numbers normal.
inline float from_float16(uint16_t half) {
    const uint32_t magnitude = uint32_t(half & 0x7fff) << 13;
    const uint32_t finite = bits_from_float(float_from_bits(magnitude) * 0x1p112f);
    const uint32_t bits = magnitude >= 0x0f800000 ? (magnitude | 0x7f800000) : finite;
    return float_from_bits(bits | uint32_t(half & 0x8000) << 16);
}

// Rounds to nearest, ties to even; too large becomes infinity; a NaN stays one.
inline uint16_t to_float16(float value) {
    const uint32_t bits = bits_from_float(value);
    const uint32_t magnitude = bits & 0x7fffffff;
    const uint16_t sign = uint16_t((bits >> 16) & 0x8000);
    if (magnitude > 0x7f800000) return sign | 0x7e00;
    if (magnitude >= 0x477ff000) return sign | 0x7c00;  // 65520 and above
    if (magnitude < 0x38800000) {                       // below 2^-14: adding 0.5 rounds to steps of 2^-24
        return sign | uint16_t(bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000);
    }
    return sign | uint16_t((magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000) >> 13);
}

inline int64_t element_bytes(capsroute::DType dtype) {
    return dtype == capsroute::DType::float64 ? 8 : dtype == capsroute::DType::float32 ? 4 : 2;
}

// Element `index` of a tensor of the given storage type.
template <class T>
inline T read(capsroute::DType dtype, const void* from, int64_t index) {
    switch (dtype) {
        case capsroute::DType::float64: return T(static_cast<const double*>(from)[index]);
        case capsroute::DType::bfloat16: return from_bfloat16(static_cast<const uint16_t*>(from)[index]);
        case capsroute::DType::float16: return from_float16(static_cast<const uint16_t*>(from)[index]);
        default: return static_cast<const float*>(from)[index];
    }
}

template <class T>
inline void write(capsroute::DType dtype, void* to, int64_t index, T value) {
    switch (dtype) {
        case capsroute::DType::float64: static_cast<double*>(to)[index] = value; return;
        case capsroute::DType::bfloat16: static_cast<uint16_t*>(to)[index] = to_bfloat16(float(value)); return;
        case capsroute::DType::float16: static_cast<uint16_t*>(to)[index] = to_float16(float(value)); return;
        default: static_cast<float*>(to)[index] = float(value);
    }
}

}  // namespace
