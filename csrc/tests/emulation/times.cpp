// What it costs when the threads of a kernel meet.
#include <stdio.h>

#include <chrono>

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

constexpr int kThreads = 256, kRounds = 4000;

const struct {
    const char* what;
    int shared_bytes;
    Body body;
} kMeetings[] = {
    {"block_sync", 0,
     [](const Program&, const Shared&) {
         for (int n = 0; n < kRounds; ++n) block_sync();
     }},
    {"shuffle_xor", 0,
     [](const Program& p, const Shared&) {
         float value = float(thread_index());
         for (int n = 0; n < kRounds; ++n) value = shuffle_xor(value, n);
         p.out[thread_index()] = value;
     }},
    {"mma", 0,
     [](const Program& p, const Shared&) {
         float c[4] = {};
         const float t = float(thread_index()), a[4] = {t, 1, 2 * t, 3}, b[2] = {t, 0.5f};
         for (int n = 0; n < kRounds; ++n) mma_m16n8k8_tf32(c, a, b);
         p.out[thread_index()] = c[0];
     }},
    {"shared load", kThreads * 4,
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 1.0f);
         block_sync();
         float sum = 0;
         for (int n = 0; n < kRounds; ++n) sum += memory.load((thread_index() + n) % kThreads);
         p.out[thread_index()] = sum;
     }},
};

}  // namespace

void print_times() {
    float out[kThreads];
    for (const Settings& settings : kOrders) {
        emulation::configure(settings);
        printf("%s order, seed %llu\n", name_of(settings.order), (unsigned long long)settings.seed);
        for (const auto& each : kMeetings) {
            double least = 1e300;
            for (int n = 0; n < 5; ++n) {
                const auto start = std::chrono::steady_clock::now();
                run(each.what, {1, kThreads, each.shared_bytes}, each.body, nullptr, out);
                const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
                if (time.count() < least) least = time.count();
            }
            printf("  %-12s %5.1f ns per thread\n", each.what, least / kThreads / kRounds);
        }
    }
}

}  // namespace capsroute::tests
