// Conversions and the power of two.
#include <math.h>
#include <stdio.h>

#include "tests/emulation/programs.h"
#include "tests/formats.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

void add(Failures& failures, const char* what, double argument, double got, double expected) {
    char text[160];
    snprintf(text, sizeof text, "%s(%.9g) is %.9g, not %.9g", what, argument, got, expected);
    failures.add(text);
}

void check_float16(Failures& failures) {
    const Format& format = kFormats[3];
    for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
        const double expected = decode_half(uint16_t(bits), format);
        const float got = float16_to_float(uint16_t(bits));
        if (isnan(expected) ? !isnan(got) : bits_of(got) != bits_of(float(expected)))
            add(failures, "float16_to_float", bits, got, expected);
        const uint16_t back = float_to_float16(float(expected));
        if (isnan(expected) ? !isnan(decode_half(back, format)) : back != bits)
            add(failures, "float_to_float16", expected, back, bits);
    }
    // On the border between two neighbours the even one is taken, and beyond it the nearer one. 65536 stands for
    // infinity, so the last border is 65520.
    for (uint32_t lower = 0; lower < 0x7c00; ++lower) {
        const double above = lower == 0x7bff ? 65536.0 : float16_to_float(uint16_t(lower + 1));
        const float border = float((float16_to_float(uint16_t(lower)) + above) / 2);
        const struct {
            float value;
            uint32_t expected;
        } cases[] = {
            {border, lower + lower % 2}, {nextafterf(border, 0), lower}, {nextafterf(border, INFINITY), lower + 1}};
        for (const auto& each : cases) {
            const uint32_t got = float_to_float16(each.value), negative = float_to_float16(-each.value);
            if (got != each.expected || negative != (each.expected | 0x8000))
                add(failures, "float_to_float16", each.value, got, each.expected);
        }
    }
}

void check_round_to_tf32(Failures& failures) {
    const struct {
        float value, expected;
    } cases[] = {
        {1, 1},
        {1 + 0x1p-10f, 1 + 0x1p-10f},
        {1 + 0x1p-11f, 1 + 0x1p-10f},  // a tie goes away from zero
        {-1 - 0x1p-11f, -1 - 0x1p-10f},
        {1 + 0x1.ffep-12f, 1},
        {1 + 0x1p-10f + 0x1p-11f, 1 + 0x1p-9f},
        {2 - 0x1p-23f, 2},
        {-0.0f, -0.0f},
        {INFINITY, INFINITY},
        {-INFINITY, -INFINITY},
    };
    for (const auto& each : cases)
        if (const float got = round_to_tf32(each.value); bits_of(got) != bits_of(each.expected))
            add(failures, "round_to_tf32", each.value, got, each.expected);
    if (!isnan(round_to_tf32(NAN)) || !isnan(round_to_tf32(float_of(0x7f800001))))
        failures.add("round_to_tf32 loses a NaN");
    emulation::configure({.architecture = 75});
    if (has_mma_tf32() || round_to_tf32(1 + 0x1p-23f) != 1 + 0x1p-23f) failures.add("sm_75 rounds to TF32");
    emulation::configure({.architecture = 80});
    if (!has_mma_tf32()) failures.add("sm_80 has no TF32");
    emulation::configure({});
}

void check_exp2(Failures& failures) {
    for (float x = -126; x < 128; x += 0.0371f) {
        const double expected = exp2(double(x)), got = exp2_approximate(x);
        if (fabs(got - expected) > 2 * 0x1p-23 * expected) add(failures, "exp2_approximate", x, got, expected);
    }
    const struct {
        float x, expected;
    } cases[] = {{-126, 0x1p-126f}, {-126.5f, 0}, {-149, 0}, {-INFINITY, 0}, {128, INFINITY}, {INFINITY, INFINITY}};
    for (const auto& each : cases)
        if (const float got = exp2_approximate(each.x); got != each.expected)
            add(failures, "exp2_approximate", each.x, got, each.expected);
    if (!isnan(exp2_approximate(NAN))) failures.add("exp2_approximate loses a NaN");
}

}  // namespace

void check_numbers(Failures& failures) {
    check_float16(failures);
    check_round_to_tf32(failures);
    check_exp2(failures);
}

}  // namespace capsroute::tests
