#include "machine.h"

#include <new>
#include <utility>

#include "fault.h"

namespace capsroute::emulation {

Immortal immortal;
Thread* current = nullptr;

namespace {

uint64_t next_random() {
    machine.random ^= machine.random << 13;
    machine.random ^= machine.random >> 7;
    machine.random ^= machine.random << 17;
    return machine.random;
}

int random_below(int count) {
    return int((next_random() >> 32) * uint64_t(count) >> 32);
}

void make_ready(int first_warp, int count) {
    for (int w = first_warp; w < first_warp + count; ++w) {
        machine.warps[w].ready = ~0u;
        machine.ready_warps[w / 64] |= uint64_t(1) << w % 64;
    }
}

int first_ready_warp() {
    for (size_t n = 0; n < machine.ready_warps.size(); ++n)
        if (machine.ready_warps[n]) return int(n) * 64 + __builtin_ctzll(machine.ready_warps[n]);
    return -1;
}

int last_ready_warp() {
    for (size_t n = machine.ready_warps.size(); n-- > 0;)
        if (machine.ready_warps[n]) return int(n) * 64 + 63 - __builtin_clzll(machine.ready_warps[n]);
    return -1;
}

// Mostly the warp that has just run, so that some warps get far ahead of others.
int random_ready_warp() {
    const int same = int(current->warp - machine.warps.data());
    if (machine.warps[same].ready && next_random() >> 61) return same;
    const int count = int(machine.warps.size()), start = random_below(count);
    for (int n = 0; n < count; ++n) {
        const int w = (start + n) % count;
        if (machine.warps[w].ready) return w;
    }
    return -1;
}

int random_lane(uint32_t lanes) {
    const int start = random_below(kWarp);
    const uint32_t rotated = lanes >> start | lanes << (-start & 31);
    return (start + __builtin_ctz(rotated)) % kWarp;
}

// The thread that goes on next; a fault when none can.
Thread& next_thread() {
    int w, lane;
    switch (machine.settings.order) {
        case Order::forward:
            w = first_ready_warp();
            if (w < 0) fault_deadlock();
            lane = __builtin_ctz(machine.warps[w].ready);
            break;
        case Order::reverse:
            w = last_ready_warp();
            if (w < 0) fault_deadlock();
            lane = 31 - __builtin_clz(machine.warps[w].ready);
            break;
        default:
            w = random_ready_warp();
            if (w < 0) fault_deadlock();
            lane = random_lane(machine.warps[w].ready);
    }
    uint32_t& ready = machine.warps[w].ready;
    ready &= ~(1u << lane);
    if (!ready) machine.ready_warps[w / 64] &= ~(uint64_t(1) << w % 64);
    return machine.threads[w * kWarp + lane];
}

// Lets others run until this thread is ready again and its turn has come.
void suspend(Activity activity) {
    Thread& self = *current;
    self.activity = activity;
    Thread& next = next_thread();
    if (&next != &self) {
        current = &next;
        switch_fibre(self.fibre, next.fibre);
    }
    self.activity = Activity::running;
}

void end_thread() {
    Thread& self = *current;
    if (!self.copies.empty()) fault("ends with %zu copies that it did not wait for", self.copies.size());
    self.activity = Activity::ended;
    if (--self.block->live_threads == 0) self.block->memory.end();
    if (--machine.live_threads == 0) {
        switch_fibre(self.fibre, machine.host, true);
    } else {
        Thread& next = next_thread();
        current = &next;
        switch_fibre(self.fibre, next.fibre, true);
    }
    __builtin_unreachable();
}

void run_thread() {
    fibre_entered();
    current->activity = Activity::running;
    bool memory_left = true;
    try {
        machine.launch.call(machine.launch.function, machine.launch.parameters);
    } catch (const std::bad_alloc&) {
        memory_left = false;  // and no more than that: a fault never leaves this block
    }
    if (!memory_left) fault("there is not enough memory for what the emulation notes of it");
    end_thread();
}

// Makes the blocks [first, first + count) of the grid live, with all their threads ready.
void prepare(int first, int count) {
    const Launch& launch = machine.launch;
    const int warps = launch.threads / kWarp;
    for (int b = 0; b < count; ++b) {
        Block& block = machine.blocks[b];
        block.index = first + b;
        block.rank = launch.cluster > 1 ? b : 0;
        block.live_threads = launch.threads;
        block.memory.reset(block, launch.shared_bytes);
        for (int scope = block_scope; scope < kScopes; ++scope) {
            const bool alone = scope == block_scope || (scope == cluster_scope && launch.cluster == 1);
            block.first[scope] = alone ? b : 0;
            block.blocks[scope] = alone ? 1 : count;
            block.barriers[scope] = {block.blocks[scope] * launch.threads, 0};
        }
        for (int w = 0; w < warps; ++w) {
            Warp& warp = machine.warps[b * warps + w];
            warp.arrived = 0;
            for (uint32_t& time : warp.met) time = machine.clock;
        }
        for (int t = 0; t < launch.threads; ++t) {
            Thread& thread = machine.threads[b * launch.threads + t];
            thread.block = &block;
            thread.warp = &machine.warps[b * warps + t / kWarp];
            thread.index = t;
            thread.mark = Mark(block.rank * 1024 + t);
            thread.copies.clear();
            prepare_fibre(thread.fibre, run_thread);
        }
    }
    make_ready(0, count * warps);
    machine.live_threads = int64_t(count) * launch.threads;
    machine.counters.threads += machine.live_threads;
}

// Runs `count` blocks that live at once.
void run_blocks(int first, int count) {
    prepare(first, count);
    current = machine.threads.data();  // whose warp the shuffled order begins with
    Thread& next = next_thread();
    current = &next;
    switch_fibre(machine.host, next.fibre);
    current = nullptr;
}

}  // namespace

bool run(const Launch& launch) {
    machine.launch = launch;
    machine.failed = false;
    machine.clock = 1;
    machine.random = machine.settings.seed * 2 + 0x9e3779b97f4a7c15;
    ++machine.counters.launches;

    const int at_once = launch.cooperative ? launch.blocks : launch.cluster;
    const int groups = launch.blocks / at_once;
    machine.blocks.resize(at_once);
    machine.warps.resize(at_once * (launch.threads / kWarp));
    const size_t threads = size_t(at_once) * launch.threads;
    if (machine.threads.size() < threads) machine.threads.resize(threads);
    machine.ready_warps.assign((machine.warps.size() + 63) / 64, 0);

    std::vector<int> order(groups);
    for (int n = 0; n < groups; ++n) order[n] = machine.settings.order == Order::reverse ? groups - 1 - n : n;
    if (machine.settings.order == Order::shuffled)
        for (int n = groups - 1; n > 0; --n) std::swap(order[n], order[random_below(n + 1)]);

    for (int group : order) {
        run_blocks(group * at_once, at_once);
        if (machine.failed) break;
    }
    machine.counters.faults += machine.failed;
    return !machine.failed;
}

void meet(Scope scope, Activity activity) {
    Block& self = *current->block;
    const int first = self.first[scope], count = self.blocks[scope];
    Barrier& barrier = machine.blocks[first].barriers[scope];
    if (++barrier.arrived == barrier.expected) {
        barrier.arrived = 0;
        ++machine.counters.barriers;
        ++machine.clock;
        const int warps = machine.launch.threads / kWarp;
        const int widest = scope < cluster_scope ? scope : cluster_scope;
        for (int w = first * warps; w < (first + count) * warps; ++w)
            for (int within = warp_scope; within <= widest; ++within) machine.warps[w].met[within] = machine.clock;
        make_ready(first * warps, count * warps);
    }
    suspend(activity);
}

void meet_in_warp(Activity activity, void* operands, void (*perform)(void* const* operands)) {
    Warp& warp = *current->warp;
    const int lane = lane_of(*current);
    if (!warp.arrived) warp.operation = activity;
    if (warp.operation != activity)
        fault("divergent: comes to %s while other lanes of its warp wait in %s", name_of(activity),
              name_of(warp.operation));
    warp.operands[lane] = operands;
    warp.arrived |= 1u << lane;
    if (warp.arrived == ~0u) {
        if (perform) perform(warp.operands);
        warp.arrived = 0;
        ++machine.counters.warp_operations;
        warp.met[warp_scope] = ++machine.clock;
        make_ready(int(&warp - machine.warps.data()), 1);
    }
    suspend(activity);
}

void wait_for_copies() {
    for (const Copy& copy : current->copies) copy.memory->finish_copy(copy);
    current->copies.clear();
}

Memory& memory_of(int rank) {
    const Block& self = *current->block;
    if (rank < 0 || rank >= self.blocks[cluster_scope])
        fault("in_block(%d) in a cluster of %d", rank, self.blocks[cluster_scope]);
    return machine.blocks[self.first[cluster_scope] + rank].memory;
}

}  // namespace capsroute::emulation
