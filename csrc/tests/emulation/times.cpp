// What it costs when the threads of a kernel meet.
#include <stdio.h>

#include <chrono>

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

constexpr int kThreads = 256, kRounds = 4000;

struct Sink {
    float* out;  // [256]
};

CAPSROUTE_KERNEL(256, 1) meet_in_block(CAPSROUTE_PARAMETER Sink) {
    for (int n = 0; n < kRounds; ++n) block_sync();
}

CAPSROUTE_KERNEL(256, 1) meet_in_shuffle(CAPSROUTE_PARAMETER Sink p) {
    float value = float(thread_index());
    for (int n = 0; n < kRounds; ++n) value = shuffle_xor(value, n);
    p.out[thread_index()] = value;
}

CAPSROUTE_KERNEL(256, 1) meet_in_mma(CAPSROUTE_PARAMETER Sink p) {
    float c[4] = {};
    const float t = float(thread_index()), a[4] = {t, 1, 2 * t, 3}, b[2] = {t, 0.5f};
    for (int n = 0; n < kRounds; ++n) mma_m16n8k8_tf32(c, a, b);
    p.out[thread_index()] = c[0];
}

CAPSROUTE_KERNEL(256, 1) load_shared(CAPSROUTE_PARAMETER Sink p) {
    const Shared memory = shared_memory(kThreads);
    memory.store(thread_index(), 1.0f);
    block_sync();
    float sum = 0;
    for (int n = 0; n < kRounds; ++n) sum += memory.load((thread_index() + n) % kThreads);
    p.out[thread_index()] = sum;
}

void print_time(const char* what, void (*kernel)(Sink), int shared_bytes) {
    float out[kThreads];
    double least = 1e300;
    for (int n = 0; n < 5; ++n) {
        const auto start = std::chrono::steady_clock::now();
        launch(kernel, what, {1, kThreads, shared_bytes}, Sink{out});
        const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
        if (time.count() < least) least = time.count();
    }
    printf("  %-12s %5.1f ns per thread\n", what, least / kThreads / kRounds);
}

}  // namespace

void print_times() {
    for (const Settings& settings : kOrders) {
        emulation::configure(settings);
        printf("%s order, seed %llu\n", name_of(settings.order), (unsigned long long)settings.seed);
        print_time("block_sync", meet_in_block, 0);
        print_time("shuffle_xor", meet_in_shuffle, 0);
        print_time("mma", meet_in_mma, 0);
        print_time("shared load", load_shared, kThreads * 4);
    }
}

}  // namespace capsroute::tests
