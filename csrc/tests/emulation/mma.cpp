// The matrix instruction: which element of the matrices each register of each lane holds, what it drops, how it adds.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <random>

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

constexpr int kRows = 16, kColumns = 8, kInner = 8;

// The figures of the PTX ISA manual for m16n8k8 with .tf32, written out: LANE:REGISTER of each element, row by row.
const char* const kLayoutA[kRows] = {
    "0:0 1:0 2:0 3:0 0:2 1:2 2:2 3:2",         "4:0 5:0 6:0 7:0 4:2 5:2 6:2 7:2",
    "8:0 9:0 10:0 11:0 8:2 9:2 10:2 11:2",     "12:0 13:0 14:0 15:0 12:2 13:2 14:2 15:2",
    "16:0 17:0 18:0 19:0 16:2 17:2 18:2 19:2", "20:0 21:0 22:0 23:0 20:2 21:2 22:2 23:2",
    "24:0 25:0 26:0 27:0 24:2 25:2 26:2 27:2", "28:0 29:0 30:0 31:0 28:2 29:2 30:2 31:2",
    "0:1 1:1 2:1 3:1 0:3 1:3 2:3 3:3",         "4:1 5:1 6:1 7:1 4:3 5:3 6:3 7:3",
    "8:1 9:1 10:1 11:1 8:3 9:3 10:3 11:3",     "12:1 13:1 14:1 15:1 12:3 13:3 14:3 15:3",
    "16:1 17:1 18:1 19:1 16:3 17:3 18:3 19:3", "20:1 21:1 22:1 23:1 20:3 21:3 22:3 23:3",
    "24:1 25:1 26:1 27:1 24:3 25:3 26:3 27:3", "28:1 29:1 30:1 31:1 28:3 29:3 30:3 31:3",
};
const char* const kLayoutB[kInner] = {
    "0:0 4:0 8:0 12:0 16:0 20:0 24:0 28:0",  "1:0 5:0 9:0 13:0 17:0 21:0 25:0 29:0",
    "2:0 6:0 10:0 14:0 18:0 22:0 26:0 30:0", "3:0 7:0 11:0 15:0 19:0 23:0 27:0 31:0",
    "0:1 4:1 8:1 12:1 16:1 20:1 24:1 28:1",  "1:1 5:1 9:1 13:1 17:1 21:1 25:1 29:1",
    "2:1 6:1 10:1 14:1 18:1 22:1 26:1 30:1", "3:1 7:1 11:1 15:1 19:1 23:1 27:1 31:1",
};
const char* const kLayoutC[kRows] = {
    "0:0 0:1 1:0 1:1 2:0 2:1 3:0 3:1",         "4:0 4:1 5:0 5:1 6:0 6:1 7:0 7:1",
    "8:0 8:1 9:0 9:1 10:0 10:1 11:0 11:1",     "12:0 12:1 13:0 13:1 14:0 14:1 15:0 15:1",
    "16:0 16:1 17:0 17:1 18:0 18:1 19:0 19:1", "20:0 20:1 21:0 21:1 22:0 22:1 23:0 23:1",
    "24:0 24:1 25:0 25:1 26:0 26:1 27:0 27:1", "28:0 28:1 29:0 29:1 30:0 30:1 31:0 31:1",
    "0:2 0:3 1:2 1:3 2:2 2:3 3:2 3:3",         "4:2 4:3 5:2 5:3 6:2 6:3 7:2 7:3",
    "8:2 8:3 9:2 9:3 10:2 10:3 11:2 11:3",     "12:2 12:3 13:2 13:3 14:2 14:3 15:2 15:3",
    "16:2 16:3 17:2 17:3 18:2 18:3 19:2 19:3", "20:2 20:3 21:2 21:3 22:2 22:3 23:2 23:3",
    "24:2 24:3 25:2 25:3 26:2 26:3 27:2 27:3", "28:2 28:3 29:2 29:3 30:2 30:3 31:2 31:3",
};

struct Registers {
    float a[32][4], b[32][2], c[32][4];
};

struct Operands {
    Registers* registers;  // as they go in, and come out
};

struct Element {
    int lane, at;
};

Element element(const char* const* layout, int row, int column) {
    const char* text = layout[row];
    char* end = nullptr;
    Element result{};
    for (int n = 0; n <= column; ++n) {
        result.lane = int(strtol(text, &end, 10));
        result.at = int(strtol(end + 1, &end, 10));
        text = end;
    }
    return result;
}

// Matrices and their way through the instruction.
struct Matrices {
    float a[kRows][kInner] = {}, b[kInner][kColumns] = {}, c[kRows][kColumns] = {};
};

CAPSROUTE_KERNEL(32, 1) multiply(CAPSROUTE_PARAMETER Operands p) {
    const int lane = thread_index();
    mma_m16n8k8_tf32(p.registers->c[lane], p.registers->a[lane], p.registers->b[lane]);
}

Matrices multiplied(Matrices m, Failures& failures) {
    Registers registers{};
    const auto each = [](const char* const* layout, int rows, auto&& work) {
        for (int row = 0; row < rows; ++row)
            for (int column = 0; column < 8; ++column) work(row, column, element(layout, row, column));
    };
    each(kLayoutA, kRows, [&](int row, int k, Element at) { registers.a[at.lane][at.at] = m.a[row][k]; });
    each(kLayoutB, kInner, [&](int k, int column, Element at) { registers.b[at.lane][at.at] = m.b[k][column]; });
    each(kLayoutC, kRows, [&](int row, int column, Element at) { registers.c[at.lane][at.at] = m.c[row][column]; });
    expect("multiply", launch(multiply, "multiply", {1, 32, 0}, Operands{&registers}, {32, 1}), Status::ok, "",
           failures);
    each(kLayoutC, kRows, [&](int row, int column, Element at) { m.c[row][column] = registers.c[at.lane][at.at]; });
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
