#include "limits.h"

#include <stdio.h>

#include <algorithm>

namespace capsroute::emulation {
namespace {

constexpr int kThreadsOfBlock = 1024, kRegisters = 65536, kRegistersOfThread = 255, kRegisterUnit = 8;

constexpr Limits kLimits[] = {
    {75, 64 << 10, 64 << 10, 0, 1024, 16, 1},         {80, 163 << 10, 164 << 10, 1 << 10, 2048, 32, 1},
    {86, 99 << 10, 100 << 10, 1 << 10, 1536, 16, 1},  {89, 99 << 10, 100 << 10, 1 << 10, 1536, 24, 1},
    {90, 227 << 10, 228 << 10, 1 << 10, 2048, 32, 8}, {100, 227 << 10, 228 << 10, 1 << 10, 2048, 32, 8},
    {120, 99 << 10, 100 << 10, 1 << 10, 1536, 24, 8},
};

// The compiler keeps a kernel within these, so that as many blocks fit as its launch bounds say.
int registers_of_thread(const cuda::Kernel& kernel) {
    const int share = kRegisters / (kernel.threads * std::max(kernel.blocks_per_multiprocessor, 1));
    return std::min(share / kRegisterUnit * kRegisterUnit, (kRegistersOfThread + 1) / kRegisterUnit * kRegisterUnit);
}

thread_local char text[256];

template <class... Values>
const char* sentence(const char* format, Values... values) {
    snprintf(text, sizeof text, format, values...);
    return text;
}

}  // namespace

const Limits* limits_of(int architecture) {
    for (const Limits& each : kLimits)
        if (each.architecture == architecture) return &each;
    return nullptr;
}

int resident_blocks(const Limits& limits, const cuda::Kernel& kernel, const cuda::Shape& shape) {
    if (shape.threads < 1 || shape.threads > std::min(kernel.threads, kThreadsOfBlock)) return 0;
    if (shape.shared_bytes < 0 || shape.shared_bytes > limits.shared_bytes) return 0;
    if (shape.cluster > limits.largest_cluster) return 0;
    const int shared = shape.shared_bytes + limits.reserved_bytes;
    const int by_registers = kRegisters / (std::max(registers_of_thread(kernel), 1) * shape.threads);
    const int by_shared = shared ? limits.shared_bytes_multiprocessor / shared : limits.blocks_multiprocessor;
    const int by_threads = limits.threads_multiprocessor / shape.threads;
    return std::min({by_registers, by_shared, by_threads, limits.blocks_multiprocessor});
}

const char* refusal(const Settings& settings, const cuda::Kernel& kernel, const cuda::Shape& shape) {
    const Limits& limits = *limits_of(settings.architecture);
    const char* name = kernel.name;
    if (shape.blocks < 1) return sentence("kernel %s: a grid of %d blocks", name, shape.blocks);
    if (shape.threads < 1 || shape.threads > kThreadsOfBlock)
        return sentence("kernel %s: %d threads in a block, possible are 1 to %d", name, shape.threads, kThreadsOfBlock);
    if (shape.threads > kernel.threads)
        return sentence("kernel %s: %d threads in a block, it was compiled for at most %d", name, shape.threads,
                        kernel.threads);
    if (shape.threads % 32 != 0) return sentence("kernel %s: %d threads are no whole warps", name, shape.threads);
    if (shape.shared_bytes < 0 || shape.shared_bytes > limits.shared_bytes)
        return sentence("kernel %s: %d bytes of shared memory in a block, sm_%d has at most %d", name,
                        shape.shared_bytes, limits.architecture, limits.shared_bytes);
    if (shape.cluster < 1 || shape.cluster > limits.largest_cluster)
        return sentence("kernel %s: clusters of %d blocks, sm_%d has at most %d", name, shape.cluster,
                        limits.architecture, limits.largest_cluster);
    if (shape.blocks % shape.cluster != 0)
        return sentence("kernel %s: %d blocks are no whole clusters of %d", name, shape.blocks, shape.cluster);
    const int resident = resident_blocks(limits, kernel, shape);
    if (resident == 0) return sentence("kernel %s: a block of %d threads has too few registers", name, shape.threads);
    if (!shape.cooperative) return nullptr;
    if (shape.cluster > 1) return sentence("kernel %s: a cooperative launch of clusters", name);
    if (shape.blocks > resident * settings.multiprocessors)
        return sentence("kernel %s: a cooperative grid of %d blocks, but %d multiprocessors hold %d each", name,
                        shape.blocks, settings.multiprocessors, resident);
    return nullptr;
}

}  // namespace capsroute::emulation
