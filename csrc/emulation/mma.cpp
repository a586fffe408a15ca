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

// The functions below are loops over whole matrices, which the compiler turns into vector instructions.

// What the instruction sees of operands: 10 bits after the point. The highest of them is set in a NaN, or else a NaN
// with its only bits among the others would become an infinity.
template <int kCount>
void see(const float (&values)[kCount], double (&result)[kCount]) {
    uint32_t bits[kCount];
    memcpy(bits, values, sizeof bits);
    for (int n = 0; n < kCount; ++n) bits[n] = (bits[n] & 0xffffe000) | (__builtin_isnan(values[n]) ? 0x400000 : 0);
    float kept[kCount];
    memcpy(kept, bits, sizeof kept);
    for (int n = 0; n < kCount; ++n) result[n] = kept[n];
}

// To float, towards zero: without its 29 low bits a double is a float, unless it is subnormal there.
template <int kCount>
void cut_off(const double (&values)[kCount], float (&result)[kCount]) {
    uint64_t bits[kCount];
    memcpy(bits, values, sizeof bits);
    for (int n = 0; n < kCount; ++n) bits[n] &= ~uint64_t(0x1fffffff);
    double kept[kCount];
    memcpy(kept, bits, sizeof kept);
    for (int n = 0; n < kCount; ++n) result[n] = float(kept[n]);
}

void multiply(const double (&a)[kRows * kInner], const double (&b)[kInner * kColumns], double (&c)[kRows * kColumns]) {
    for (int row = 0; row < kRows; ++row) {
        double sums[kColumns];
        memcpy(sums, c + row * kColumns, sizeof sums);
        for (int k = 0; k < kInner; ++k)
            for (int column = 0; column < kColumns; ++column)
                sums[column] += a[row * kInner + k] * b[k * kColumns + column];
        memcpy(c + row * kColumns, sums, sizeof sums);
    }
}

void perform_mma(void* const* operands) {
    float a[kRows * kInner], b[kInner * kColumns], c[kRows * kColumns];
    for (int lane = 0; lane < kWarp; ++lane) {
        const Fragments& own = *static_cast<const Fragments*>(operands[lane]);
        const int g = lane / 4, q = lane % 4;
        for (int n = 0; n < 4; ++n) {
            a[(g + n % 2 * 8) * kInner + q + n / 2 * 4] = own.a[n];
            c[(g + n / 2 * 8) * kColumns + q * 2 + n % 2] = own.c[n];
        }
        for (int n = 0; n < 2; ++n) b[(q + n * 4) * kColumns + g] = own.b[n];
    }
    double seen_a[kRows * kInner], seen_b[kInner * kColumns], sums[kRows * kColumns];
    see(a, seen_a);
    see(b, seen_b);
    for (int n = 0; n < kRows * kColumns; ++n) sums[n] = c[n];
    multiply(seen_a, seen_b, sums);
    cut_off(sums, c);
    for (int lane = 0; lane < kWarp; ++lane) {
        const Fragments& own = *static_cast<const Fragments*>(operands[lane]);
        const int g = lane / 4, q = lane % 4;
        for (int n = 0; n < 4; ++n) own.c[n] = c[(g + n / 2 * 8) * kColumns + q * 2 + n % 2];
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
