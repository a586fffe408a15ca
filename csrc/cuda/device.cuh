// The part of CUDA that the kernels use, by name. With CAPSROUTE_EMULATION the same names come from csrc/emulation,
// which runs them on the CPU; so nothing else in csrc/cuda may use a CUDA keyword, intrinsic or PTX.
#pragma once

#include <stdint.h>

#if defined(CAPSROUTE_EMULATION)
#include "../emulation/device.h"
#else

#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define CAPSROUTE_DEVICE __device__ __forceinline__
#define CAPSROUTE_KERNEL(threads, blocks_per_multiprocessor) \
    __global__ void __launch_bounds__(threads, blocks_per_multiprocessor)
// Before the parameter of a kernel: it is read where it lies, and not copied when its address is taken.
#define CAPSROUTE_PARAMETER const __grid_constant__

namespace capsroute::cuda {

// The same number, but the compiler does not know that: what is computed from it later is computed again, instead of
// being kept in registers meanwhile.
CAPSROUTE_DEVICE int forgotten(int value) {
    int same;
    asm volatile("mov.b32 %0, %1;" : "=r"(same) : "r"(value));
    return same;
}

CAPSROUTE_DEVICE float forgotten(float value) {
    float same;
    asm volatile("mov.b32 %0, %1;" : "=f"(same) : "f"(value));
    return same;
}

// Position of the calling thread. Blocks and grids have one dimension.
CAPSROUTE_DEVICE int thread_index() {
    return int(threadIdx.x);
}
CAPSROUTE_DEVICE int thread_count() {
    return int(blockDim.x);
}
CAPSROUTE_DEVICE int block_index() {
    return int(blockIdx.x);
}
CAPSROUTE_DEVICE int block_count() {
    return int(gridDim.x);
}

// Barriers; each orders all memory accesses of the threads that meet in it.
CAPSROUTE_DEVICE void block_sync() {
    __syncthreads();
}
CAPSROUTE_DEVICE void warp_sync() {
    __syncwarp();
}
CAPSROUTE_DEVICE void grid_sync() {  // only in a cooperative launch
    cooperative_groups::this_grid().sync();
}
CAPSROUTE_DEVICE void cluster_sync() {
#if __CUDA_ARCH__ >= 900
    cooperative_groups::this_cluster().sync();
#endif
}

// Among the 32 threads of a warp, all of which must call it.
template <class T>
CAPSROUTE_DEVICE T shuffle(T value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
template <class T>
CAPSROUTE_DEVICE T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
// From lane 0 .. 3 of the four lanes of a warp that the caller belongs to: 0 .. 3, 4 .. 7, ...
CAPSROUTE_DEVICE float shuffle_of_four(float value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane, 4);
}
CAPSROUTE_DEVICE bool any_in_warp(bool condition) {
    return __any_sync(0xffffffffu, condition);
}

// 2^x; at most 2 units in the last place wrong, and subnormal results are 0.
CAPSROUTE_DEVICE float exp2_approximate(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}

CAPSROUTE_DEVICE float float16_to_float(uint16_t bits) {
    return __half2float(__ushort_as_half(bits));
}
CAPSROUTE_DEVICE uint16_t float_to_float16(float value) {
    return __half_as_ushort(__float2half_rn(value));
}
CAPSROUTE_DEVICE uint32_t bits_of(float value) {
    return __float_as_uint(value);
}
CAPSROUTE_DEVICE float float_of(uint32_t bits) {
    return __uint_as_float(bits);
}

// Whether the matrix instruction below exists here (sm_80 and later).
CAPSROUTE_DEVICE bool has_mma_tf32() {
#if __CUDA_ARCH__ >= 800
    return true;
#else
    return false;
#endif
}

// To the nearest number that TF32 holds (10 bits after the point), ties away from zero.
CAPSROUTE_DEVICE float round_to_tf32(float value) {
#if __CUDA_ARCH__ >= 800
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return __uint_as_float(bits);
#else
    return value;
#endif
}

// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32: c += a b with the fragments of the PTX manual. Of a and b the
// instruction sees 10 bits after the point and drops the rest. Volatile, so that no compiler moves it to where only
// some lanes of a warp come by; the code for sm_90 is the same without.
CAPSROUTE_DEVICE void mma_m16n8k8_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
}

// `count` floats of shared memory. Every access goes through here, so that the emulation can check it; load2 and
// store2 want an even index, load4 and store4 a multiple of 4.
class Shared {
   public:
    CAPSROUTE_DEVICE Shared(float* address, int) : address_(address) {}
    CAPSROUTE_DEVICE float load(int at) const { return address_[at]; }
    CAPSROUTE_DEVICE void store(int at, float value) const { address_[at] = value; }
    CAPSROUTE_DEVICE float2 load2(int at) const { return *reinterpret_cast<const float2*>(address_ + at); }
    CAPSROUTE_DEVICE void store2(int at, float2 value) const { *reinterpret_cast<float2*>(address_ + at) = value; }
    CAPSROUTE_DEVICE float4 load4(int at) const { return *reinterpret_cast<const float4*>(address_ + at); }
    CAPSROUTE_DEVICE void store4(int at, float4 value) const { *reinterpret_cast<float4*>(address_ + at) = value; }

    // The part [from, from + count).
    CAPSROUTE_DEVICE Shared part(int from, int count) const { return Shared(address_ + from, count); }

    // Starts a copy of 4 floats from global memory, or zeros where not `there`; both addresses are multiples of 16
    // bytes. What was copied can be read after wait_for_copies() and then a barrier.
    CAPSROUTE_DEVICE void copy4(int at, const float* from, bool there) const {
#if __CUDA_ARCH__ >= 800
        const uint32_t to = uint32_t(__cvta_generic_to_shared(address_ + at));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0)
                     : "memory");
#else
        store4(at, there ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0));
#endif
    }

    // The same part in the block of that rank of the cluster. Only between cluster barriers.
    CAPSROUTE_DEVICE Shared in_block(int rank) const {
#if __CUDA_ARCH__ >= 900
        // As 32 bits until it is used: the 64 bits of the block's own address are not kept in registers for this.
        const uint32_t own = uint32_t(__cvta_generic_to_shared(address_));
        float* there;
        asm volatile(
            "{\n\t.reg .u32 mapped;\n\t.reg .u64 wide;\n\tmapa.shared::cluster.u32 mapped, %1, %2;\n\t"
            "cvt.u64.u32 wide, mapped;\n\tcvta.shared::cluster.u64 %0, wide;\n\t}"
            : "=l"(there)
            : "r"(own), "r"(rank));
        return Shared(there, 0);
#else
        return *this;
#endif
    }

   private:
    float* address_;
};

// Waits for all copies that the calling thread has started.
CAPSROUTE_DEVICE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// The dynamic shared memory of the block: `count` floats, as many as the launch asked for.
CAPSROUTE_DEVICE Shared shared_memory(int count) {
    extern __shared__ float4 memory[];
    return Shared(reinterpret_cast<float*>(memory), count);
}

}  // namespace capsroute::cuda

#endif
