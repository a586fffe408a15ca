// The peak loops of one instruction set. Like kernels.cpp this file is compiled once per set, with CAPSROUTE_ISA its
// name, and includes only headers whose code has internal linkage.
#include "peak.h"
#include "simd.h"

#define CAPSROUTE_JOIN(a, b) a##b
#define CAPSROUTE_TABLE(isa) CAPSROUTE_JOIN(peak_loops_, isa)

namespace capsroute::cpu {

// Every chain is one register, and waits for its own last result only. Two units of latency 4 need 8 chains, four units
// need 16. All chains and the two constants must stay in registers, of which AVX-512 and 64-bit Arm have 32, others 16.
#if defined(__AVX512F__) || defined(__aarch64__)
static constexpr int kChains = 24;
#else
static constexpr int kChains = 14;
#endif

template <class T>
static int64_t peak_loop(int64_t rounds, double* number) {
    using V = typename Vector<T>::type;
    constexpr int lanes = CAPSROUTE_VECTOR_BYTES / int(sizeof(T));
    // Every chain tends to 2 from a start of its own: no overflow, no denormal number, and no two chains alike.
    const T start = T(*number);
    const V half = T(0.5) - V{}, one = T(1) - V{};
    V chain[kChains];
    _Pragma("GCC unroll 24") for (int k = 0; k < kChains; ++k) chain[k] = start + T(k) - V{};
    for (int64_t round = 0; round < rounds; ++round) {
        _Pragma("GCC unroll 24") for (int k = 0; k < kChains; ++k) chain[k] = chain[k] * half + one;
    }
    V total{};
    _Pragma("GCC unroll 24") for (int k = 0; k < kChains; ++k) total += chain[k];
    *number = 0;
    for (int lane = 0; lane < lanes; ++lane) *number += double(total[lane]);
    return 2 * rounds * kChains * lanes;
}

extern const PeakLoops CAPSROUTE_TABLE(CAPSROUTE_ISA);
constinit const PeakLoops CAPSROUTE_TABLE(CAPSROUTE_ISA) = {peak_loop<float>, peak_loop<double>};

}  // namespace capsroute::cpu
