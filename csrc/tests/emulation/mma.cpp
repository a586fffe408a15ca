// The matrix instruction: which element of the matrices each register of each lane holds, what it drops, how it adds.
#include <math.h>
#include <stdio.h>

#include <random>

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

constexpr int kRows = 16, kColumns = 8, kInner = 8;

struct Registers {
    float a[32][4], b[32][2], c[32][4];
};

struct Operands {
    Registers* registers;  // as they go in, and come out
};

// Matrices and their way through the instruction.
struct Matrices {
    float a[kRows][kInner] = {}, b[kInner][kColumns] = {}, c[kRows][kColumns] = {};
};

CAPSROUTE_KERNEL(32, 1) multiply(CAPSROUTE_PARAMETER Operands p) {
    const int lane = thread_index();
    mma_m16n8k8_tf32(p.registers->c[lane], p.registers->a[lane], p.registers->b[lane]);
}

// Calls move(register, element) for all registers of all lanes, as the PTX ISA manual lays out m16n8k8 with .tf32: the
// rows of a go down the registers 0 and 1, those of c down the pairs (0, 1) and (2, 3).
template <class Move>
void each_of_c(Registers& registers, Matrices& m, Move move) {
    for (int lane = 0; lane < 32; ++lane) {
        const int group = lane >> 2, in_group = lane & 3;
        move(registers.c[lane][0], m.c[group][2 * in_group]);
        move(registers.c[lane][1], m.c[group][2 * in_group + 1]);
        move(registers.c[lane][2], m.c[group + 8][2 * in_group]);
        move(registers.c[lane][3], m.c[group + 8][2 * in_group + 1]);
    }
}

Matrices multiplied(Matrices m, Failures& failures) {
    Registers registers{};
    for (int lane = 0; lane < 32; ++lane) {
        const int group = lane >> 2, in_group = lane & 3;
        registers.a[lane][0] = m.a[group][in_group];
        registers.a[lane][1] = m.a[group + 8][in_group];
        registers.a[lane][2] = m.a[group][in_group + 4];
        registers.a[lane][3] = m.a[group + 8][in_group + 4];
        registers.b[lane][0] = m.b[in_group][group];
        registers.b[lane][1] = m.b[in_group + 4][group];
    }
    each_of_c(registers, m, [](float& held, float element) { held = element; });
    expect("multiply", launch(multiply, "multiply", {1, 32, 0}, Operands{&registers}, {32, 1}), Status::ok, "",
           failures);
    each_of_c(registers, m, [](float held, float& element) { element = held; });
    return m;
}

bool is(float got, double expected) {
    return got == expected || (isnan(got) && isnan(expected));
}

void expect_element(const char* what, float got, double expected, int row, int column, Failures& failures) {
    if (is(got, expected)) return;
    char text[160];
    snprintf(text, sizeof text, "mma, %s: c[%d][%d] is %.9g, not %.9g", what, row, column, got, expected);
    failures.add(text);
}

// One element of a and one of b: the product lands in one element of c, and adds to what is there.
void check_layout(Failures& failures) {
    for (int row = 0; row < kRows; ++row)
        for (int k = 0; k < kInner; ++k)
            for (int column = 0; column < kColumns; ++column) {
                Matrices m;
                m.a[row][k] = 2.0f;
                m.b[k][column] = 3.0f;
                for (int r = 0; r < kRows; ++r)
                    for (int c = 0; c < kColumns; ++c) m.c[r][c] = float(r * kColumns + c);
                const Matrices result = multiplied(m, failures);
                for (int r = 0; r < kRows; ++r)
                    for (int c = 0; c < kColumns; ++c)
                        expect_element("layout", result.c[r][c],
                                       r * kColumns + c + (r == row && c == column ? 6.0 : 0.0), r, c, failures);
            }
}

// c[0][0] + a[0][0] b[0][0]
float product(float a, float b, float c, Failures& failures) {
    Matrices m;
    m.a[0][0] = a;
    m.b[0][0] = b;
    m.c[0][0] = c;
    return multiplied(m, failures).c[0][0];
}

void check_dropped_bits(Failures& failures) {
    const struct {
        const char* what;
        float a, b, c, expected;
    } cases[] = {
        {"10 bits after the point are seen", 1 + 0x1p-10f, 1, 0, 1 + 0x1p-10f},
        {"the 11th bit of a is dropped", 1 + 0x1p-11f, 1, 0, 1},
        {"the 11th bit of b is dropped", 1, 1 + 0x1p-11f, 0, 1},
        {"all 13 low bits are dropped", 1 + 0x1.fffp-11f, 1, 0, 1},
        {"negative operands lose magnitude", -1 - 0x1.fffp-11f, 1, 0, -1},
        {"c keeps all its bits", 0, 1, 1 + 0x1p-23f, 1 + 0x1p-23f},
        {"products are exact", 1 + 0x1p-10f, 1 + 0x1p-10f, 0, 1 + 0x1p-9f + 0x1p-20f},
        {"sums are cut off below a positive number", 0x1p-12f, 0x1p-12f * 1.5f, 1, 1},
        {"and not rounded up", 0x1p-12f, 0x1.ffcp-12f, 1 + 0x1p-23f, 1 + 0x1p-23f},
        {"sums are cut off above a negative number", -0x1p-12f, 0x1.8p-12f, -1, -1},
        {"what takes away from c takes a whole unit", -0x1p-13f, 0x1p-13f, 1, 1 - 0x1p-24f},
        {"infinity times zero", INFINITY, 0, 1, NAN},
        {"infinity", -INFINITY, 2, 1, -INFINITY},
        {"infinities that cancel", -INFINITY, 2, INFINITY, NAN},
        {"infinity in c", 1, 1, INFINITY, INFINITY},
    };
    for (const auto& each : cases)
        expect_element(each.what, product(each.a, each.b, each.c, failures), each.expected, 0, 0, failures);
    const float barely_nan = float_of(0x7f800001);
    expect_element("a NaN of low bits", product(barely_nan, 1, 0, failures), NAN, 0, 0, failures);
}

// A NaN spoils its own row of a, its own column of b.
void check_nan(Failures& failures) {
    Matrices m;
    for (int n = 0; n < kInner; ++n) {
        for (int row = 0; row < kRows; ++row) m.a[row][n] = 1;
        for (int column = 0; column < kColumns; ++column) m.b[n][column] = 1;
    }
    m.a[11][3] = NAN;
    m.b[6][2] = NAN;
    const Matrices result = multiplied(m, failures);
    for (int row = 0; row < kRows; ++row)
        for (int column = 0; column < kColumns; ++column)
            expect_element("NaN", result.c[row][column], row == 11 || column == 2 ? NAN : 8, row, column, failures);
}

float seen(float value) {
    return float_of(bits_of(value) & 0xffffe000);
}

// Random operands: never above the exact sum of what is seen, and less than a unit of the last place below it.
void check_sums(Failures& failures) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (int round = 0; round < 100; ++round) {
        Matrices m;
        for (auto& row : m.a)
            for (float& value : row) value = normal(random);
        for (auto& row : m.b)
            for (float& value : row) value = normal(random);
        for (auto& row : m.c)
            for (float& value : row) value = normal(random);
        const Matrices result = multiplied(m, failures);
        for (int row = 0; row < kRows; ++row)
            for (int column = 0; column < kColumns; ++column) {
                double exact = m.c[row][column];  // 44 bits are enough for sums of this size
                for (int k = 0; k < kInner; ++k) exact += double(seen(m.a[row][k])) * double(seen(m.b[k][column]));
                const float got = result.c[row][column], next = nextafterf(got, got < 0 ? -INFINITY : INFINITY);
                if (fabs(got) > fabs(exact) || fabs(next) <= fabs(exact) || got * exact < 0)
                    expect_element("random sums", got, exact, row, column, failures);
            }
    }
}

}  // namespace

void check_mma(Failures& failures) {
    emulation::configure({});
    const int64_t before = emulation::counters().mma;
    check_layout(failures);
    if (emulation::counters().mma - before != kRows * kInner * kColumns)
        failures.add("mma instructions are not counted");
    check_dropped_bits(failures);
    check_nan(failures);
    check_sums(failures);
}

}  // namespace capsroute::tests
