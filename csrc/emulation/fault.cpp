#include "fault.h"

#include <stdarg.h>
#include <stdio.h>

#include <string>

#include "machine.h"

namespace capsroute::emulation {
namespace {

char text[512];

// The fibres are left where they are; the next launch uses their stacks again.
[[noreturn]] void end_launch() {
    machine.failed = true;
    switch_fibre(current->fibre, machine.host, true);
    __builtin_unreachable();
}

// "17 threads wait in block_sync, 224 have ended", of one block or of all that live.
std::string activities(const Block* block) {
    int counts[kActivities] = {};
    const size_t threads = machine.blocks.size() * machine.launch.threads;
    for (size_t n = 0; n < threads; ++n)
        if (!block || machine.threads[n].block == block) ++counts[int(machine.threads[n].activity)];
    std::string result;
    for (int n = 0; n < kActivities; ++n) {
        if (!counts[n]) continue;
        const bool ended = n == int(Activity::ended);
        if (!result.empty()) result += ", ";
        result += std::to_string(counts[n]) + (counts[n] == 1 ? " thread " : " threads ");
        result += ended ? (counts[n] == 1 ? "has ended" : "have ended")
                        : (counts[n] == 1 ? "waits in " : "wait in ") + std::string(name_of(Activity(n)));
    }
    return result;
}

// A function of its own, since end_launch destroys nothing.
void describe_deadlock() {
    const Block* block = nullptr;
    for (int n = 0; !block; ++n)
        if (machine.threads[n].activity != Activity::ended) block = machine.threads[n].block;
    std::string everywhere;
    const size_t blocks = machine.blocks.size();
    if (blocks > 1) everywhere = "; in all " + std::to_string(blocks) + " live blocks: " + activities(nullptr);
    snprintf(text, sizeof text, "kernel %s, block %d: divergent: %s%s", machine.launch.name, block->index,
             activities(block).c_str(), everywhere.c_str());
}

}  // namespace

const char* name_of(Activity activity) {
    constexpr const char* kNames[kActivities] = {"running", "shuffle",    "shuffle_xor",  "any_in_warp", "warp_sync",
                                                 "mma",     "block_sync", "cluster_sync", "grid_sync",   "ended"};
    return kNames[int(activity)];
}

const char* fault_text() {
    return text;
}

void fault(const char* format, ...) {
    int length = snprintf(text, sizeof text, "kernel %s, block %d, thread %d: ", machine.launch.name,
                          current->block->index, current->index);
    va_list arguments;
    va_start(arguments, format);
    if (size_t(length) < sizeof text) vsnprintf(text + length, sizeof text - length, format, arguments);
    va_end(arguments);
    end_launch();
}

void fault_deadlock() {
    describe_deadlock();
    end_launch();
}

}  // namespace capsroute::emulation
