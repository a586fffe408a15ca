// A tile of samples as a value: Pack<T> is 64 bytes of T, held in as many registers as the instruction set needs.
//
// Included only by files that are compiled once per instruction set: everything here has internal linkage, and no
// other header is used that could emit code shared between them. GNU vector extensions, no intrinsics.
#pragma once

#include <stdint.h>

#ifndef CAPSROUTE_VECTOR_BYTES
#if defined(__AVX512F__)
#define CAPSROUTE_VECTOR_BYTES 64
#elif defined(__AVX__)
#define CAPSROUTE_VECTOR_BYTES 32
#else
#define CAPSROUTE_VECTOR_BYTES 16
#endif
#endif

#define CAPSROUTE_INLINE inline __attribute__((always_inline))

namespace {

constexpr int kPackBytes = 64;
constexpr int kRegisters = kPackBytes / CAPSROUTE_VECTOR_BYTES;  // per pack
// Sums, in packs, that the registers hold beside what is multiplied: AVX-512 has 32, AVX2 and SSE2 have 16.
constexpr int kSums = 8 / kRegisters;

template <class T>
struct Vector;  // one register
template <>
struct Vector<float> {
    typedef float type __attribute__((vector_size(CAPSROUTE_VECTOR_BYTES)));
    typedef int32_t bits __attribute__((vector_size(CAPSROUTE_VECTOR_BYTES)));
};
template <>
struct Vector<double> {
    typedef double type __attribute__((vector_size(CAPSROUTE_VECTOR_BYTES)));
    typedef int64_t bits __attribute__((vector_size(CAPSROUTE_VECTOR_BYTES)));
};

template <class T>
constexpr int kLanes = kPackBytes / int(sizeof(T));  // samples in a tile
template <class T>
constexpr int kWidth = kLanes<T> / kRegisters;  // of a register

template <class T>
struct Pack {
    using V = typename Vector<T>::type;
    using Bits = typename Vector<T>::bits;
    V v[kRegisters];
};

// Every operation is the same loop over the registers.
// NOLINTNEXTLINE(bugprone-macro-parentheses): r is the name of a variable that is declared
#define CAPSROUTE_EACH(r) _Pragma("GCC unroll 16") for (int r = 0; r < kRegisters; ++r)

template <class T>
CAPSROUTE_INLINE Pack<T> splat(T value) {
    Pack<T> out;
    CAPSROUTE_EACH(r) out.v[r] = value - typename Pack<T>::V{};
    return out;
}

template <class T>
CAPSROUTE_INLINE Pack<T> load(const T* from) {
    Pack<T> out;
    CAPSROUTE_EACH(r) __builtin_memcpy(&out.v[r], from + r * (kLanes<T> / kRegisters), sizeof out.v[r]);
    return out;
}

template <class T>
CAPSROUTE_INLINE void store(T* to, Pack<T> a) {
    CAPSROUTE_EACH(r) __builtin_memcpy(to + r * (kLanes<T> / kRegisters), &a.v[r], sizeof a.v[r]);
}

// One register alone.
template <class T>
CAPSROUTE_INLINE typename Pack<T>::V load_register(const T* from) {
    typename Pack<T>::V out;
    __builtin_memcpy(&out, from, sizeof out);
    return out;
}

template <class T>
CAPSROUTE_INLINE void store_register(T* to, typename Pack<T>::V a) {
    __builtin_memcpy(to, &a, sizeof a);
}

template <class T>
CAPSROUTE_INLINE Pack<T> operator+(Pack<T> a, Pack<T> b) {
    CAPSROUTE_EACH(r) a.v[r] += b.v[r];
    return a;
}
template <class T>
CAPSROUTE_INLINE Pack<T> operator-(Pack<T> a, Pack<T> b) {
    CAPSROUTE_EACH(r) a.v[r] -= b.v[r];
    return a;
}
template <class T>
CAPSROUTE_INLINE Pack<T> operator*(Pack<T> a, Pack<T> b) {
    CAPSROUTE_EACH(r) a.v[r] *= b.v[r];
    return a;
}
template <class T>
CAPSROUTE_INLINE Pack<T> operator/(Pack<T> a, Pack<T> b) {
    CAPSROUTE_EACH(r) a.v[r] /= b.v[r];
    return a;
}

// a * b + c; one rounding where the instruction set has it.
template <class T>
CAPSROUTE_INLINE Pack<T> fma(Pack<T> a, Pack<T> b, Pack<T> c) {
    CAPSROUTE_EACH(r) c.v[r] = a.v[r] * b.v[r] + c.v[r];
    return c;
}
template <class T>
CAPSROUTE_INLINE Pack<T> fma(T a, Pack<T> b, Pack<T> c) {
    CAPSROUTE_EACH(r) c.v[r] = a * b.v[r] + c.v[r];
    return c;
}

// The same of numbers, for those that must be rounded as in packs: of plain products and sums the compiler chooses
// which become one operation.
template <class T>
CAPSROUTE_INLINE T fma_of(T a, T b, T c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

// The larger; where either is NaN, b.
template <class T>
CAPSROUTE_INLINE Pack<T> larger(Pack<T> a, Pack<T> b) {
    CAPSROUTE_EACH(r) b.v[r] = a.v[r] > b.v[r] ? a.v[r] : b.v[r];
    return b;
}

// Lane by lane: where condition is not 0, a, else b.
template <class T>
CAPSROUTE_INLINE Pack<T> select(Pack<T> condition, Pack<T> a, Pack<T> b) {
    CAPSROUTE_EACH(r) a.v[r] = condition.v[r] != T(0) ? a.v[r] : b.v[r];
    return a;
}

// Lane by lane: where condition is above 0, a, else b.
template <class T>
CAPSROUTE_INLINE Pack<T> select_positive(Pack<T> condition, Pack<T> a, Pack<T> b) {
    CAPSROUTE_EACH(r) a.v[r] = condition.v[r] > T(0) ? a.v[r] : b.v[r];
    return a;
}

// Is a > b in any lane?
template <class T>
CAPSROUTE_INLINE bool any_larger(Pack<T> a, Pack<T> b) {
    typename Pack<T>::Bits found{};
    CAPSROUTE_EACH(r) found |= a.v[r] > b.v[r];
    bool any = false;
    for (int lane = 0; lane < kLanes<T> / kRegisters; ++lane) any |= found[lane] != 0;
    return any;
}

template <class T>
CAPSROUTE_INLINE Pack<T> square_root(Pack<T> a) {
    CAPSROUTE_EACH(r) {
        for (int lane = 0; lane < kLanes<T> / kRegisters; ++lane) {
            if constexpr (sizeof(T) == 4) {
                a.v[r][lane] = __builtin_sqrtf(a.v[r][lane]);
            } else {
                a.v[r][lane] = __builtin_sqrt(a.v[r][lane]);
            }
        }
    }
    return a;
}

// 1 / a, but 0 where a is 0; NaN stays NaN.
template <class T>
CAPSROUTE_INLINE Pack<T> reciprocal_or_zero(Pack<T> a) {
    const Pack<T> zero = splat(T(0));
    return select(a, splat(T(1)) / select(a, a, splat(T(1))), zero);
}

// e^x for x <= 0, within about one unit in the last place; 0 below the range of normal numbers; NaN stays NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial (the remainder is below half a unit), scaled by
// 2^n through the exponent bits. Adding and subtracting 1.5 * 2^(mantissa bits) rounds to an integer.
template <class T>
struct ExpConstants;
template <>
struct ExpConstants<float> {
    static constexpr float lowest = -87.3f, round = 12582912.0f;
    static constexpr float log2e = 1.44269504088896341f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr int mantissa_bits = 23, exponent_bias = 127, degree = 7;
};
template <>
struct ExpConstants<double> {
    static constexpr double lowest = -708.3, round = 6755399441055744.0;
    static constexpr double log2e = 1.4426950408889634074, ln2_high = 6.93147180369123816490e-01,
                            ln2_low = 1.90821492927058770002e-10;
    static constexpr int mantissa_bits = 52, exponent_bias = 1023, degree = 13;
};
constexpr double kInverseFactorial[] = {
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

template <class T>
CAPSROUTE_INLINE Pack<T> exp_nonpositive(Pack<T> x) {
    using K = ExpConstants<T>;
    using V = typename Pack<T>::V;
    using Bits = typename Pack<T>::Bits;
    Pack<T> out;
    CAPSROUTE_EACH(r) {
        const V low = K::lowest - V{};
        const V clamped = x.v[r] < low ? low : x.v[r];
        V n = clamped * K::log2e + K::round;
        const Bits exponent = (Bits)n;  // the integer stands in the low mantissa bits
        n = n - K::round;
        const V rest = (clamped - n * K::ln2_high) - n * K::ln2_low;
        V sum = T(kInverseFactorial[K::degree]) - V{};
        _Pragma("GCC unroll 16") for (int k = K::degree - 1; k >= 0; --k) sum = sum * rest + T(kInverseFactorial[k]);
        const Bits scale = (exponent + K::exponent_bias) << K::mantissa_bits;
        const V value = sum * (V)scale;
        out.v[r] = x.v[r] < low ? V{} : value;
    }
    return out;
}

// 1 - e^-x for x >= 0, small x too: there by the Taylor polynomial of exp_nonpositive without its first term.
template <class T>
CAPSROUTE_INLINE Pack<T> one_minus_exp(Pack<T> x) {
    using K = ExpConstants<T>;
    const Pack<T> minus = splat(T(0)) - x, large = splat(T(1)) - exp_nonpositive(minus);
    Pack<T> sum = splat(T(kInverseFactorial[K::degree]));
    for (int k = K::degree - 1; k >= 1; --k) sum = fma(sum, minus, splat(T(kInverseFactorial[k])));
    return select_positive(x - splat(T(0.34)), large, sum * x);
}

// x^y for x > 0. Rare enough to leave to the library.
template <class T>
inline Pack<T> power(Pack<T> x, double y) {
    alignas(kPackBytes) T lanes[kLanes<T>];
    store(lanes, x);
    for (int n = 0; n < kLanes<T>; ++n) {
        if constexpr (sizeof(T) == 4) {
            lanes[n] = __builtin_powf(lanes[n], float(y));
        } else {
            lanes[n] = __builtin_pow(lanes[n], y);
        }
    }
    return load(lanes);
}

// The indices 0 .. n-1 as a type, for shuffles (no STL here).
template <int... kIndex>
struct Indices {};
template <int n, int... kIndex>
struct MakeIndices : MakeIndices<n - 1, n - 1, kIndex...> {};
template <int... kIndex>
struct MakeIndices<0, kIndex...> {
    using type = Indices<kIndex...>;
};

// The lanes of a and, after them, of b that stand at these indices.
template <int... lane, class V>
CAPSROUTE_INLINE V shuffled(V a, V b) {
#if __has_builtin(__builtin_shufflevector)
    return __builtin_shufflevector(a, b, lane...);
#else  // GCC 11
    return __builtin_shuffle(a, b, decltype(a < b){lane...});
#endif
}

// Exchange bit h of the row number with bit h of the lane number, for rows a (bit 0) and b (bit 1).
template <int h, class V, int... lane>
CAPSROUTE_INLINE void exchange(V& a, V& b, Indices<lane...>) {
    constexpr int width = sizeof...(lane);
    const V first = shuffled<((lane & h) ? width + (lane ^ h) : lane)...>(a, b);
    b = shuffled<((lane & h) ? width + lane : (lane ^ h))...>(a, b);
    a = first;
}

template <int h, int width, class V>
CAPSROUTE_INLINE void transpose_registers(V* row) {
    if constexpr (h < width) {
        _Pragma("GCC unroll 16") for (int n = 0; n < width; ++n) {
            if ((n & h) == 0) exchange<h>(row[n], row[n + h], typename MakeIndices<width>::type{});
        }
        transpose_registers<2 * h, width>(row);
    }
}

// Interleave the parts of `group` values, within each 128 bits, of a and b: their first halves, then their second.
template <int group, class V, int... lane>
CAPSROUTE_INLINE void interleave(V& a, V& b, Indices<lane...>) {
    constexpr int width = sizeof...(lane), half = 2 / group;  // parts taken from either of them
    const auto from = [](int n, int second) constexpr {
        const int part = n % 4 / group;  // a and b by turns
        return n / 4 * 4 + (part / 2 + second * half) * group + n % group + (part % 2) * width;
    };
    const V first = shuffled<from(lane, 0)...>(a, b);
    b = shuffled<from(lane, 1)...>(a, b);
    a = first;
}

// Sixteen registers of sixteen floats: two steps within 128 bits and two of whole 128 bits, whose shuffles take one
// register index less than those of transpose_registers and twice as many of which are done at a time.
template <class V>
CAPSROUTE_INLINE void transpose_floats(V (&row)[16]) {
    using All = typename MakeIndices<16>::type;
    _Pragma("GCC unroll 8") for (int n = 0; n < 16; n += 2) interleave<1>(row[n], row[n + 1], All{});
    _Pragma("GCC unroll 4") for (int n = 0; n < 16; n += 4) {
        interleave<2>(row[n], row[n + 2], All{});      // columns 0 and 1 of each 128 bits
        interleave<2>(row[n + 1], row[n + 3], All{});  // columns 2 and 3
    }
    V out[16];
    _Pragma("GCC unroll 4") for (int c = 0; c < 4; ++c) {
        constexpr int kFrom[4] = {0, 2, 1, 3};  // where column c of each four rows stands
        const V a = row[kFrom[c]], b = row[4 + kFrom[c]], d = row[8 + kFrom[c]], e = row[12 + kFrom[c]];
        const V ab_low = shuffled<0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23>(a, b);
        const V ab_high = shuffled<8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31>(a, b);
        const V de_low = shuffled<0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23>(d, e);
        const V de_high = shuffled<8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31>(d, e);
        out[c] = shuffled<0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27>(ab_low, de_low);
        out[4 + c] = shuffled<4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31>(ab_low, de_low);
        out[8 + c] = shuffled<0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27>(ab_high, de_high);
        out[12 + c] = shuffled<4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31>(ab_high, de_high);
    }
    _Pragma("GCC unroll 16") for (int n = 0; n < 16; ++n) row[n] = out[n];
}

// Transpose a square of kLanes x kLanes values.
template <class T>
CAPSROUTE_INLINE void transpose(Pack<T> (&rows)[kLanes<T>]) {
    constexpr int width = kLanes<T> / kRegisters;
    Pack<T> out[kLanes<T>];
    _Pragma("GCC unroll 4") for (int p = 0; p < kRegisters; ++p) {
        _Pragma("GCC unroll 4") for (int q = 0; q < kRegisters; ++q) {
            typename Pack<T>::V block[width];
            _Pragma("GCC unroll 16") for (int n = 0; n < width; ++n) block[n] = rows[p * width + n].v[q];
            if constexpr (width == 16) {
                transpose_floats(block);
            } else {
                transpose_registers<1, width>(block);
            }
            _Pragma("GCC unroll 16") for (int n = 0; n < width; ++n) out[q * width + n].v[p] = block[n];
        }
    }
    _Pragma("GCC unroll 16") for (int n = 0; n < kLanes<T>; ++n) rows[n] = out[n];
}

template <class T>
CAPSROUTE_INLINE T sum_of_lanes(Pack<T> a) {
    constexpr int width = kLanes<T> / kRegisters;
    T sum = 0;
    CAPSROUTE_EACH(r) {
        for (int lane = 0; lane < width; ++lane) sum += a.v[r][lane];
    }
    return sum;
}

}  // namespace
