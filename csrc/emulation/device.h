// The twins of what csrc/cuda/device.cuh takes from CUDA; only that file includes this one.
#pragma once

#include <math.h>
#include <string.h>

#include "fault.h"
#include "machine.h"
#include "warp.h"

#define CAPSROUTE_DEVICE inline
#define CAPSROUTE_KERNEL(threads, blocks_per_multiprocessor) void
#define CAPSROUTE_PARAMETER const

namespace capsroute::cuda {

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) {
    return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}

inline int forgotten(int value) {
    return value;
}
inline float forgotten(float value) {
    return value;
}

inline int thread_index() {
    return emulation::current->index;
}
inline int thread_count() {
    return emulation::machine.launch.threads;
}
inline int block_index() {
    return emulation::current->block->index;
}
inline int block_count() {
    return emulation::machine.launch.blocks;
}

inline void block_sync() {
    emulation::meet(emulation::block_scope, emulation::Activity::block_sync);
}
inline void warp_sync() {
    emulation::meet_in_warp(emulation::Activity::warp_sync, nullptr, nullptr);
}
inline void grid_sync() {
    if (!emulation::machine.launch.cooperative) emulation::fault("grid_sync in a launch that is not cooperative");
    emulation::meet(emulation::grid_scope, emulation::Activity::grid_sync);
}
inline void cluster_sync() {
    if (emulation::machine.settings.architecture < 90) return;  // as in device.cuh, not even a barrier of the block
    emulation::meet(emulation::cluster_scope, emulation::Activity::cluster_sync);
}

template <class T>
T shuffle(T value, int lane) {
    return emulation::shuffle(emulation::Activity::shuffle, value, lane);
}
template <class T>
T shuffle_xor(T value, int mask) {
    return emulation::shuffle(emulation::Activity::shuffle_xor, value, emulation::lane_of(*emulation::current) ^ mask);
}
inline float shuffle_of_four(float value, int lane) {
    return shuffle(value, emulation::lane_of(*emulation::current) / 4 * 4 + lane % 4);
}
inline bool any_in_warp(bool condition) {
    return emulation::any_in_warp(condition);
}

inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float exp2_approximate(float x) {
    const float result = exp2f(x);
    return result < 0x1p-126f ? 0.0f : result;
}

// The product with 2^112 moves the exponent from one bias to the other and makes subnormal numbers normal.
inline float float16_to_float(uint16_t bits) {
    const uint32_t magnitude = uint32_t(bits & 0x7fff) << 13;
    const uint32_t finite = bits_of(float_of(magnitude) * 0x1p112f);
    return float_of((magnitude >= 0x0f800000 ? (magnitude | 0x7f800000) : finite) | uint32_t(bits & 0x8000) << 16);
}

// To nearest, ties to even; too large becomes infinity; a NaN stays one.
inline uint16_t float_to_float16(float value) {
    const uint16_t sign = uint16_t((bits_of(value) >> 16) & 0x8000);
    const uint32_t magnitude = bits_of(value) & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff;
    if (magnitude >= 0x477ff000) return sign | 0x7c00;  // 65520 and above
    if (magnitude < 0x38800000)                         // below 2^-14: adding 0.5 rounds to steps of 2^-24
        return uint16_t(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000));
    return uint16_t(sign | ((magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000) >> 13));
}

inline bool has_mma_tf32() {
    return emulation::machine.settings.architecture >= 80;
}

// Half a unit of the last kept bit is added to the magnitude, and the rest cut off; infinities and NaN stay.
inline float round_to_tf32(float value) {
    if (!has_mma_tf32()) return value;
    const uint32_t bits = bits_of(value);
    if ((bits & 0x7f800000) == 0x7f800000) return value;
    return float_of((bits + 0x1000) & ~uint32_t(0x1fff));
}

inline void mma_m16n8k8_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    emulation::mma_m16n8k8_tf32(c, a, b);
}

// A part of the shared memory of a block.
class Shared {
   public:
    Shared(emulation::Memory* memory, int from, int count) : memory_(memory), from_(from), count_(count) {}

    float load(int at) const {
        check(at, 1);
        return memory_->load(from_ + at);
    }
    void store(int at, float value) const {
        check(at, 1);
        memory_->store(from_ + at, value);
    }
    float2 load2(int at) const {
        check(at, 2);
        return {memory_->load(from_ + at), memory_->load(from_ + at + 1)};
    }
    void store2(int at, float2 value) const {
        check(at, 2);
        memory_->store(from_ + at, value.x);
        memory_->store(from_ + at + 1, value.y);
    }
    float4 load4(int at) const {
        check(at, 4);
        const int n = from_ + at;
        return {memory_->load(n), memory_->load(n + 1), memory_->load(n + 2), memory_->load(n + 3)};
    }
    void store4(int at, float4 value) const {
        check(at, 4);
        memory_->store(from_ + at, value.x);
        memory_->store(from_ + at + 1, value.y);
        memory_->store(from_ + at + 2, value.z);
        memory_->store(from_ + at + 3, value.w);
    }
    void copy4(int at, const float* from, bool there) const {
        check(at, 4);
        memory_->start_copy(from_ + at, from, there);
    }

    Shared part(int from, int count) const {
        if (from < 0 || count < 0 || from > count_ - count)
            emulation::fault("shared memory: part [%d, %d) of %d floats", from, from + count, count_);
        return Shared(memory_, from_ + from, count);
    }

    Shared in_block(int rank) const { return Shared(&emulation::memory_of(rank), from_, count_); }

   private:
    void check(int at, int floats) const {
        if (at < 0 || at > count_ - floats)
            emulation::fault("shared memory: index %d, %d wide, in a part of %d floats", at, floats, count_);
        if ((from_ + at) % floats != 0)
            emulation::fault(
                "shared memory: misaligned access of %d floats at index %d, which is float %d of the block", floats, at,
                from_ + at);
    }

    emulation::Memory* memory_;
    int from_, count_;
};

inline void wait_for_copies() {
    emulation::wait_for_copies();
}

inline Shared shared_memory(int count) {
    emulation::Memory& memory = emulation::current->block->memory;
    if (count < 0 || count > memory.size())
        emulation::fault("shared_memory(%d) in a launch with %d floats", count, memory.size());
    return Shared(&memory, 0, count);
}

}  // namespace capsroute::cuda
