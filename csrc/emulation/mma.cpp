// The matrix instruction mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 of a whole warp: c += a b with a of 16 rows
// and 8 columns, b of 8 and 8, c of 16 and 8.
//
// Lane 4 g + q holds, in this order (PTX ISA, "Matrix Fragments for mma.m16n8k8"):
//     of a   rows g, g + 8, g, g + 8 in columns q, q, q + 4, q + 4
//     of b   rows q, q + 4 in column g
//     of c   rows g, g, g + 8, g + 8 in columns 2 q, 2 q + 1, 2 q, 2 q + 1
//
// The manual leaves open how the products are added. Hardware was seen to truncate instead of rounding, so here the sum
// is made in double and cut off towards zero: sums that stay long in c drift, as they do on hardware.
#include <math.h>
#include <string.h>

#include "fault.h"
#include "warp.h"

namespace capsroute::emulation {
namespace {

constexpr int kRows = 16, kColumns = 8, kInner = 8;

struct Fragments {
    float (&c)[4];
    const float (&a)[4];
    const float (&b)[2];
};

// What the instruction sees of an operand: 10 bits after the point. The highest of them is set in a NaN, or else a NaN
// with its only bits among the others would become an infinity.
double operand(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits & ~uint32_t(0x1fff)) | uint32_t(value != value) << 22;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

float towards_zero(double value) {
    float nearest = float(value);
    uint32_t bits;
    memcpy(&bits, &nearest, sizeof bits);
    bits -= fabs(double(nearest)) > fabs(value);
    memcpy(&nearest, &bits, sizeof bits);
    return nearest;
}

void multiply_row(const double (&a)[kInner], const double (&b)[kInner][kColumns], float (&c)[kColumns]) {
    double sums[kColumns] = {};
    for (int k = 0; k < kInner; ++k)
        for (int column = 0; column < kColumns; ++column) sums[column] += a[k] * b[k][column];
    for (int column = 0; column < kColumns; ++column) c[column] = towards_zero(sums[column] + c[column]);
}

void perform_mma(void* const* operands) {
    double a[kRows][kInner], b[kInner][kColumns];
    float c[kRows][kColumns];
    for (int lane = 0; lane < kWarp; ++lane) {
        const Fragments& own = *static_cast<const Fragments*>(operands[lane]);
        const int g = lane / 4, q = lane % 4;
        for (int n = 0; n < 4; ++n) {
            a[g + n % 2 * 8][q + n / 2 * 4] = operand(own.a[n]);
            c[g + n / 2 * 8][q * 2 + n % 2] = own.c[n];
        }
        for (int n = 0; n < 2; ++n) b[q + n * 4][g] = operand(own.b[n]);
    }
    for (int row = 0; row < kRows; ++row) multiply_row(a[row], b, c[row]);
    for (int lane = 0; lane < kWarp; ++lane) {
        const Fragments& own = *static_cast<const Fragments*>(operands[lane]);
        const int g = lane / 4, q = lane % 4;
        for (int n = 0; n < 4; ++n) own.c[n] = c[g + n / 2 * 8][q * 2 + n % 2];
    }
    ++machine.counters.mma;
}

}  // namespace

void mma_m16n8k8_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    if (machine.settings.architecture < 80) fault("mma_m16n8k8_tf32 on a device that has none");
    Fragments own{c, a, b};
    meet_in_warp(Activity::mma, &own, perform_mma);
}

}  // namespace capsroute::emulation
