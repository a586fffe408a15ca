// The four number formats of the interface, to and from double, by arithmetic alone.
#pragma once

#include <math.h>
#include <string.h>

#include <vector>

#include "capsroute.h"

namespace capsroute::tests {

struct Format {
    const char* name;
    DType dtype;
    int bytes;
    int mantissa, exponent;  // bits, of the half types
    double tolerance;        // of a result, relative to the largest one
};

// Half types: two units in the last place of the result, as their inputs are rounded before the naive computation too.
constexpr Format kFormats[] = {
    {"float32", DType::float32, 4, 0, 0, 1e-5},
    {"float64", DType::float64, 8, 0, 0, 1e-12},
    {"bfloat16", DType::bfloat16, 2, 7, 8, 0x1p-7},
    {"float16", DType::float16, 2, 10, 5, 0x1p-10},
};

// What problems of a format are computed in.
constexpr const Format& accumulation_format(const Format& format) {
    return kFormats[format.dtype == DType::float64 ? 1 : 0];
}

inline uint16_t encode_half(double value, const Format& format) {
    const int bias = (1 << (format.exponent - 1)) - 1;
    int exponent = 0;
    frexp(value, &exponent);
    exponent = exponent - 1 < 1 - bias ? 1 - bias : exponent - 1;
    const double mantissa = nearbyint(ldexp(fabs(value), format.mantissa - exponent));
    // The leading bit of a normal number adds itself to the exponent field; so does a carry of the rounding.
    const int bits = int(mantissa) + (value == 0 ? 0 : (exponent + bias - 1) << format.mantissa);
    return uint16_t(bits | (signbit(value) ? 0x8000 : 0));
}

inline double decode_half(uint16_t bits, const Format& format) {
    const int bias = (1 << (format.exponent - 1)) - 1;
    const int field = (bits & 0x7fff) >> format.mantissa, rest = bits & ((1 << format.mantissa) - 1);
    double value = ldexp(rest + (field ? 1 << format.mantissa : 0), (field ? field : 1) - bias - format.mantissa);
    if (field == (1 << format.exponent) - 1) value = rest ? NAN : INFINITY;
    return bits & 0x8000 ? -value : value;
}

inline void encode(double value, const Format& format, void* to) {
    const float single = float(value);
    const uint16_t half = format.bytes == 2 ? encode_half(value, format) : 0;
    const void* from = format.bytes == 8 ? static_cast<const void*>(&value) : &single;
    memcpy(to, format.bytes == 2 ? &half : from, format.bytes);
}

inline double decode(const void* from, const Format& format) {
    double value;
    float single;
    uint16_t half;
    switch (format.bytes) {
        case 8: memcpy(&value, from, 8); return value;
        case 4: memcpy(&single, from, 4); return single;
        default: memcpy(&half, from, 2); return decode_half(half, format);
    }
}

}  // namespace capsroute::tests
