// Packs of tensors of any storage type. Internal linkage, see simd.h.
#pragma once

#include "convert.h"
#include "simd.h"

namespace {

// A register's worth of halves becomes a register of floats; the formulae are those of convert.h. AVX-512 has
// instructions for float16, the only ones here that are written out.
#if CAPSROUTE_VECTOR_BYTES == 64 && defined(__AVX512F__)
#define CAPSROUTE_CONVERTS_HALVES
#endif

struct Halves {
    typedef uint16_t type __attribute__((vector_size(CAPSROUTE_VECTOR_BYTES / 2)));
    typedef uint32_t bits __attribute__((vector_size(CAPSROUTE_VECTOR_BYTES)));
};

CAPSROUTE_INLINE Pack<float> widen(capsroute::DType dtype, const uint16_t* from) {
    Pack<float> out;
    CAPSROUTE_EACH(r) {
        Halves::type halves;
        __builtin_memcpy(&halves, from + r * (kLanes<float> / kRegisters), sizeof halves);
        const Halves::bits half = __builtin_convertvector(halves, Halves::bits);
        if (dtype == capsroute::DType::bfloat16) {
            out.v[r] = (Vector<float>::type)(half << 16);
            continue;
        }
#if defined(CAPSROUTE_CONVERTS_HALVES)
        asm("vcvtph2ps %1, %0" : "=v"(out.v[r]) : "v"(halves));
        continue;
#endif
        const Halves::bits magnitude = (half & 0x7fff) << 13;
        const Halves::bits finite = (Halves::bits)((Vector<float>::type)magnitude * 0x1p112f);
        const Halves::bits bits = magnitude >= 0x0f800000 ? magnitude | 0x7f800000 : finite;
        out.v[r] = (Vector<float>::type)(bits | (half & 0x8000) << 16);
    }
    return out;
}

// kLanes elements from `index` on.
template <class T>
CAPSROUTE_INLINE Pack<T> load_as(capsroute::DType dtype, const void* from, int64_t index) {
    if constexpr (sizeof(T) == 4) {
        if (dtype != capsroute::DType::float32) return widen(dtype, static_cast<const uint16_t*>(from) + index);
    }
    (void)dtype;  // float64 accumulates in double
    return load(static_cast<const T*>(from) + index);
}

CAPSROUTE_INLINE void narrow(capsroute::DType dtype, Pack<float> a, uint16_t* to) {
    CAPSROUTE_EACH(r) {
#if defined(CAPSROUTE_CONVERTS_HALVES)
        if (dtype == capsroute::DType::float16) {
            Halves::type nearest;
            asm("vcvtps2ph $0, %1, %0" : "=v"(nearest) : "v"(a.v[r]));
            __builtin_memcpy(to, &nearest, sizeof nearest);
            continue;
        }
#endif
        using Bits = Halves::bits;
        const Bits bits = (Bits)a.v[r], magnitude = bits & 0x7fffffff, sign = (bits >> 16) & 0x8000;
        Bits half;
        if (dtype == capsroute::DType::bfloat16) {
            half = magnitude > 0x7f800000 ? (bits >> 16) | 0x40 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        } else {
            const Bits tiny = (Bits)((Vector<float>::type)magnitude + 0.5f) - 0x3f000000;
            const Bits normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000) >> 13;
            const Bits large = magnitude > 0x7f800000 ? Bits{} + 0x7e00 : Bits{} + 0x7c00;
            const Bits finite = magnitude < 0x38800000 ? tiny : normal;
            half = sign | (magnitude >= 0x477ff000 ? large : finite);
        }
        const Halves::type halves = __builtin_convertvector(half, Halves::type);
        __builtin_memcpy(to + r * (kLanes<float> / kRegisters), &halves, sizeof halves);
    }
}

template <class T>
CAPSROUTE_INLINE void store_as(capsroute::DType dtype, void* to, int64_t index, Pack<T> a) {
    if constexpr (sizeof(T) == 4) {
        if (dtype != capsroute::DType::float32) return narrow(dtype, a, static_cast<uint16_t*>(to) + index);
    }
    (void)dtype;
    store(static_cast<T*>(to) + index, a);
}

// The first `count` lanes of a pack.
template <class T>
CAPSROUTE_INLINE void store_some_as(capsroute::DType dtype, void* to, int64_t index, int64_t count, Pack<T> a) {
    alignas(64) char elements[kPackBytes];
    store_as(dtype, elements, 0, a);
    char* first = static_cast<char*>(to) + index * element_bytes(dtype);
    switch (const int64_t bytes = count * element_bytes(dtype); bytes) {
        case 16: __builtin_memcpy(first, elements, 16); return;  // the usual ones, without a call
        case 32: __builtin_memcpy(first, elements, 32); return;
        default: __builtin_memcpy(first, elements, size_t(bytes));
    }
}

// `count` elements from `index` on as T: the tensor itself where the types agree, else converted into buffer.
template <class T>
inline const T* row(capsroute::DType dtype, const void* from, int64_t index, int64_t count, T* buffer) {
    if (dtype != capsroute::DType::bfloat16 && dtype != capsroute::DType::float16) {
        return static_cast<const T*>(from) + index;  // float32 accumulates in float, float64 in double
    }
    const int64_t whole = count / kLanes<T> * kLanes<T>;
    for (int64_t k = 0; k < whole; k += kLanes<T>) store(buffer + k, load_as<T>(dtype, from, index + k));
    for (int64_t k = whole; k < count; ++k) buffer[k] = read<T>(dtype, from, index + k);
    return buffer;
}

// Pairs of bfloat16 numbers, each pair in the place of a float. Processors that multiply pairs add both products of a
// lane in one instruction, without widening either.
#if defined(CAPSROUTE_PAIRS)
constexpr bool kMultipliesPairs = true;

// c + the products of the pair at w with the pair in each lane of x.
CAPSROUTE_INLINE Pack<float> multiply_pairs(const float* w, Pack<float> x, Pack<float> c) {
    static_assert(kRegisters == 1);
    asm("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(c.v[0]) : "v"(x.v[0]), "m"(*w));
    return c;
}
#else
constexpr bool kMultipliesPairs = false;
#endif

// c + w x for a weight at w: a number, or with kPairs a pair of them.
template <bool kPairs, class T>
CAPSROUTE_INLINE Pack<T> multiply_weight(const T* w, Pack<T> x, Pack<T> c) {
#if defined(CAPSROUTE_PAIRS)
    if constexpr (kPairs) return multiply_pairs(w, x, c);
#endif
    return fma(*w, x, c);
}

// to[2 n], to[2 n + 1] = the two numbers of each lane of the n-th pack of pairs.
inline void separate_pairs(const float* pairs, int64_t packs, float* to) {
    constexpr int kStep = kLanes<float>;
    for (int64_t n = 0; n < packs; ++n) {
        const Pack<float> both = load(pairs + n * kStep);
        Pack<float> first, second;
        CAPSROUTE_EACH(r) {
            first.v[r] = (Vector<float>::type)((Halves::bits)both.v[r] << 16);
            second.v[r] = (Vector<float>::type)((Halves::bits)both.v[r] & 0xffff0000);
        }
        store(to + 2 * n * kStep, first);
        store(to + (2 * n + 1) * kStep, second);
    }
}

}  // namespace
