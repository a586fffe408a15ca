// The threads of a launch and how they meet. Everything runs in the thread of the host that launches, one fibre per
// thread of the kernel; host.cpp lets one launch in at a time.
#pragma once

#include <stdint.h>

#include <vector>

#include "config.h"
#include "fibre.h"
#include "memory.h"

namespace capsroute::emulation {

constexpr int kWarp = 32;  // threads

// What a thread does; also what the threads that meet must agree on.
enum class Activity : uint8_t {
    running,
    shuffle,
    shuffle_xor,
    any_in_warp,
    warp_sync,
    mma,
    block_sync,
    cluster_sync,
    grid_sync,
    ended,
};
constexpr int kActivities = int(Activity::ended) + 1;
const char* name_of(Activity activity);

// The groups of threads that can meet, from the smallest on.
enum Scope { warp_scope, block_scope, cluster_scope, grid_scope, kScopes };

struct Block;

struct Warp {
    uint32_t ready = 0;    // lanes that can go on
    uint32_t arrived = 0;  // lanes that wait in a warp operation, which is `operation`
    Activity operation = Activity::running;
    void* operands[kWarp];
    // When all threads of this warp, of its block and of its cluster met last, by the machine's clock.
    uint32_t met[cluster_scope + 1] = {};
};

struct Thread {
    Fibre fibre;
    Block* block = nullptr;
    Warp* warp = nullptr;
    int index = 0;
    Mark mark = 0;  // of its accesses to shared memory
    Activity activity = Activity::ended;
    std::vector<Copy> copies;  // started and not waited for
};

struct Barrier {
    int expected = 0;
    int arrived = 0;
};

struct Block {
    int index = 0;
    int rank = 0;          // in its cluster
    int live_threads = 0;  // not ended
    Memory memory;
    // Which of the live blocks meet with this one, as [first, first + blocks), and in the first one where they do it.
    int first[kScopes] = {};
    int blocks[kScopes] = {};
    Barrier barriers[kScopes];
};

// One launch that was found to be within the limits.
struct Launch {
    const char* name;
    void (*call)(const void* function, const void* parameters);
    const void* function;
    const void* parameters;
    int blocks;
    int threads;
    int shared_bytes;
    bool cooperative;
    int cluster;
};

struct Machine {
    Settings settings;
    Counters counters{};
    Launch launch{};
    uint32_t clock = 0;         // how often threads have met in this launch; it orders accesses to shared memory
    std::vector<Block> blocks;  // those that live now
    std::vector<Warp> warps;
    std::vector<Thread> threads;        // those of the live blocks, and behind them those that keep a stack for later
    std::vector<uint64_t> ready_warps;  // a bit for each warp with ready lanes
    int64_t live_threads = 0;
    uint64_t random = 0;
    Fibre host;
    bool failed = false;
};

// Never destroyed: a launch may run in another thread while the process ends.
union Immortal {
    Immortal() : machine() {}
    ~Immortal() {}
    Machine machine;
};
extern Immortal immortal;
inline Machine& machine = immortal.machine;

extern Thread* current;  // the thread that runs; null outside of launches

// Runs a launch to its end; false when it broke a rule, and fault_text() says which.
bool run(const Launch& launch);

// Waits for all threads of the scope. `activity` is the name of the barrier.
void meet(Scope scope, Activity activity);

// Waits for the 32 lanes of the warp. The last one to come calls `perform` with the operands of all, by lane.
void meet_in_warp(Activity activity, void* operands, void (*perform)(void* const* operands));

// Does the copies that the running thread has started.
void wait_for_copies();

// The shared memory of the block with that rank in the cluster of the running thread.
Memory& memory_of(int rank);

inline int lane_of(const Thread& thread) {
    return thread.index % kWarp;
}

}  // namespace capsroute::emulation
