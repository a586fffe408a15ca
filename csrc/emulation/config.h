// What can be set on the emulated device, and what it counts. For tests and bindings; kernels see none of it.
#pragma once

#include <stdint.h>

#include "../capsroute.h"

namespace capsroute::emulation {

// Which of the threads that can go on goes on. In forward order it is the first one of the first block, so that the
// first warp runs ahead as far as it can; in reverse order the last one. Shuffled order depends on the seed alone.
enum class Order : int32_t { forward = 0, reverse, shuffled };

struct Settings {
    int architecture = 90;    // 75, 80, 86, 89, 90, 100 or 120
    int multiprocessors = 3;  // 1 to 16
    Order order = Order::forward;
    uint64_t seed = 0;
    bool check_races = true;  // whether accesses to shared memory must be ordered by barriers
};

// Since the start of the process.
struct Counters {
    int64_t launches;  // that ran, to the end or to a fault
    int64_t faults;
    int64_t threads;          // that were started
    int64_t barriers;         // of blocks, clusters and grids
    int64_t warp_operations;  // shuffles and the like, mma included
    int64_t mma;
};

// Changes the emulated device for all launches to come, from any thread. bad_option, with cuda::error_detail(), when a
// value is out of range; nothing is changed then.
Status configure(const Settings& settings);
Settings settings();
Counters counters();

}  // namespace capsroute::emulation
