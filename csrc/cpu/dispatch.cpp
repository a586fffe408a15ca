// Which instruction sets were built, which of them this CPU runs, and the one in use. No x86 header: the compiler's
// own CPU test suffices.
#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace capsroute {
namespace cpu {

extern const KernelTable kernels_baseline;
extern const PeakLoops peak_loops_baseline;
#if defined(CAPSROUTE_X86_64)
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
extern const PeakLoops peak_loops_avx2;
extern const PeakLoops peak_loops_avx512;
#endif

namespace {

struct InstructionSet {
    const char* name;
    const KernelTable* kernels;
    const PeakLoops* peak_loops;
    bool (*usable)();
};

#if defined(CAPSROUTE_X86_64)
bool has_pairs() {
    return __builtin_cpu_supports("avx512bf16");
}
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const InstructionSet kSets[] = {
    {"baseline", &kernels_baseline, &peak_loops_baseline, [] { return true; }},
#if defined(CAPSROUTE_X86_64)
    {"avx2", &kernels_avx2, &peak_loops_avx2, has_avx2},
    {"avx512", &kernels_avx512, &peak_loops_avx512, has_avx512},
#endif
};
constexpr int kSetCount = int(sizeof kSets / sizeof kSets[0]);

int find(const char* name) {
    for (int isa = 0; name && isa < kSetCount; ++isa) {
        if (std::strcmp(name, kSets[isa].name) == 0) return isa;
    }
    return -1;
}

int widest_usable() {
    int isa = kSetCount - 1;
    while (!kSets[isa].usable()) --isa;
    return isa;
}

// The environment is asked once. A name that is unknown or not usable here is left to the caller to report: the
// bindings compare cpu_isa() with the variable when the module is imported.
int first_choice() {
    const char* name = std::getenv("CAPSROUTE_CPU_ISA");
    const int isa = name ? find(name) : -1;
    return isa >= 0 && kSets[isa].usable() ? isa : widest_usable();
}

std::atomic<int>& chosen() {
    static std::atomic<int> isa{first_choice()};
    return isa;
}

}  // namespace

const KernelTable& kernels() {
    return *kSets[chosen().load(std::memory_order_relaxed)].kernels;
}

const PeakLoops& peak_loops() {
    return *kSets[chosen().load(std::memory_order_relaxed)].peak_loops;
}

bool multiplies_pairs() {
#if defined(CAPSROUTE_X86_64)
    return kernels().multiplies_pairs && has_pairs();
#else
    return false;
#endif
}

}  // namespace cpu

int cpu_isa_count() {
    return cpu::kSetCount;
}

const char* cpu_isa_name(int isa) {
    return isa >= 0 && isa < cpu::kSetCount ? cpu::kSets[isa].name : nullptr;
}

bool cpu_isa_usable(int isa) {
    return isa >= 0 && isa < cpu::kSetCount && cpu::kSets[isa].usable();
}

const char* cpu_isa() {
    return cpu::kSets[cpu::chosen().load(std::memory_order_relaxed)].name;
}

bool cpu_isa_choose(const char* name) {
    const int isa = cpu::find(name);
    if (isa < 0 || !cpu::kSets[isa].usable()) return false;
    cpu::chosen().store(isa, std::memory_order_relaxed);
    return true;
}

}  // namespace capsroute
