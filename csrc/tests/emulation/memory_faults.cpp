// Kernels that break a rule of shared memory when `wrong` is set, and keep it otherwise.
#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

struct Flaw {
    bool wrong;
    const float* in;  // [64 * 4], on 16 bytes
    float* out;       // [64]
    int shared_floats;
};

// Whether it is the one thread that does wrong.
bool here(const Flaw& p) {
    return p.wrong && thread_index() == 33;
}

CAPSROUTE_KERNEL(64, 1) read_unwritten(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    if (!here(p)) memory.store(thread_index(), 1.0f);
    block_sync();
    p.out[thread_index()] = memory.load(thread_index());
}

CAPSROUTE_KERNEL(64, 1) pass_the_end(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(here(p) ? p.shared_floats : thread_index(), 1.0f);
}

CAPSROUTE_KERNEL(64, 1) pass_the_start(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats).part(64, 64);
    memory.store(here(p) ? -1 : thread_index(), 1.0f);
}

CAPSROUTE_KERNEL(64, 1) pass_the_part(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats).part(thread_index() * 4, 4);
    memory.store4(0, make_float4(1, 2, 3, 4));
    p.out[thread_index()] = memory.load(here(p) ? 4 : 3);
}

CAPSROUTE_KERNEL(64, 1) part_too_large(CAPSROUTE_PARAMETER Flaw p) {
    shared_memory(p.shared_floats).part(128, here(p) ? p.shared_floats - 127 : p.shared_floats - 128);
}

CAPSROUTE_KERNEL(64, 1) ask_for_more(CAPSROUTE_PARAMETER Flaw p) {
    shared_memory(here(p) ? p.shared_floats + 1 : p.shared_floats);
}

CAPSROUTE_KERNEL(64, 1) misalign4(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store4(thread_index() * 4, make_float4(1, 2, 3, 4));
    block_sync();
    p.out[thread_index()] = memory.load4(here(p) ? 2 : 4).x;
}

CAPSROUTE_KERNEL(64, 1) misalign2(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats).part(p.wrong ? 1 : 2, 128);
    memory.store2(thread_index() * 2, make_float2(1, 2));
}

CAPSROUTE_KERNEL(64, 1) misalign_copy(CAPSROUTE_PARAMETER Flaw p) {
    shared_memory(p.shared_floats).copy4(thread_index() * 4 + (here(p) ? 1 : 0), p.in, thread_index() < 63);
    wait_for_copies();
}

CAPSROUTE_KERNEL(64, 1) misalign_source(CAPSROUTE_PARAMETER Flaw p) {
    shared_memory(p.shared_floats).copy4(thread_index() * 4, p.in + (here(p) ? 1 : 0), true);
    wait_for_copies();
}

CAPSROUTE_KERNEL(64, 1) forget_copies(CAPSROUTE_PARAMETER Flaw p) {
    shared_memory(p.shared_floats).copy4(thread_index() * 4, p.in, true);
    if (!here(p)) wait_for_copies();
}

CAPSROUTE_KERNEL(64, 1) read_copy_early(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store4(thread_index() * 4, make_float4(1, 2, 3, 4));
    memory.copy4(thread_index() * 4, p.in, true);
    if (!here(p)) wait_for_copies();
    p.out[thread_index()] = memory.load(thread_index() * 4);
    wait_for_copies();
}

CAPSROUTE_KERNEL(64, 1) write_under_copy(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.copy4(thread_index() * 4, p.in, true);
    if (!here(p)) wait_for_copies();
    block_sync();
    memory.store((thread_index() + 32) % 64 * 4 + 3, 5.0f);
    wait_for_copies();
}

CAPSROUTE_KERNEL(64, 1) write_under_own_copy(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.copy4(thread_index() * 4, p.in, true);
    if (!here(p)) wait_for_copies();
    memory.store(thread_index() * 4 + 3, 5.0f);
    wait_for_copies();
}

// A copy may arrive while others still read what stood there. What is copied here only the other warp reads.
CAPSROUTE_KERNEL(64, 1) copy_over_readers(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 1.0f);
    block_sync();
    p.out[thread_index()] = memory.load(63 - thread_index());
    if (!p.wrong) block_sync();
    if (thread_index() < 8) memory.copy4(thread_index() * 4, p.in, true);
    wait_for_copies();
}

CAPSROUTE_KERNEL(64, 1) write_after_read(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 1.0f);
    block_sync();
    p.out[thread_index()] = memory.load(5);
    if (!p.wrong) block_sync();
    if (thread_index() == 63) memory.store(5, 2.0f);
}

CAPSROUTE_KERNEL(64, 1) write_twice(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    if (p.wrong ? thread_index() % 32 == 0 : thread_index() == 0) memory.store(0, 1.0f);
}

// Lanes are ordered by what the warp does together, warps are not.
CAPSROUTE_KERNEL(64, 1) forget_warp_sync(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 0.0f);
    block_sync();
    memory.store(thread_index(), 1.0f);
    if (!p.wrong) warp_sync();
    p.out[thread_index()] = memory.load(thread_index() ^ 1);
}

CAPSROUTE_KERNEL(64, 1) sync_only_warp(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 0.0f);
    block_sync();
    memory.store(thread_index(), 1.0f);
    warp_sync();
    p.out[thread_index()] = memory.load(thread_index() ^ (p.wrong ? 32 : 16));
}

// That the reading warp has met since does not help.
CAPSROUTE_KERNEL(64, 1) sync_only_readers(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 0.0f);
    block_sync();
    if (thread_index() >= 32) memory.store(thread_index(), 1.0f);
    if (!p.wrong) block_sync();
    if (thread_index() < 32) {
        warp_sync();
        p.out[thread_index()] = memory.load(thread_index() + 32);
    }
}

struct Case {
    const char* name;
    void (*kernel)(Flaw);
    const char* text;
};

const Case kCases[] = {
    {"read_unwritten", read_unwritten, "thread 33: float 33 of shared memory is read before it was written"},
    {"pass_the_end", pass_the_end, "thread 33: shared memory: index 256, 1 wide, in a part of 256 floats"},
    {"pass_the_start", pass_the_start, "thread 33: shared memory: index -1, 1 wide, in a part of 64 floats"},
    {"pass_the_part", pass_the_part, "thread 33: shared memory: index 4, 1 wide, in a part of 4 floats"},
    {"part_too_large", part_too_large, "thread 33: shared memory: part [128, 257) of 256 floats"},
    {"ask_for_more", ask_for_more, "thread 33: shared_memory(257) in a launch with 256 floats"},
    {"misalign4", misalign4, "thread 33: shared memory: misaligned access of 4 floats at index 2"},
    {"misalign2", misalign2, "shared memory: misaligned access of 2 floats at index "},
    {"misalign_copy", misalign_copy, "thread 33: shared memory: misaligned access of 4 floats at index 133"},
    {"misalign_source", misalign_source, "thread 33: copy4 from an address that is no multiple of 16 bytes"},
    {"forget_copies", forget_copies, "thread 33: ends with 1 copies that it did not wait for"},
    {"read_copy_early", read_copy_early, "thread 33: float 132 of shared memory is read before thread 33 waited"},
    {"write_under_copy", write_under_copy, "thread 1: "},
    {"write_under_own_copy", write_under_own_copy,
     "thread 33: float 135 of shared memory is written before thread 33 waited"},
    {"copy_over_readers", copy_over_readers, "race: float "},
    {"write_after_read", write_after_read, "race: float 5 of shared memory is "},
    {"write_twice", write_twice, "race: float 0 of shared memory is written, and was written by thread "},
    {"forget_warp_sync", forget_warp_sync, "race: float "},
    {"sync_only_warp", sync_only_warp, "race: float "},
    {"sync_only_readers", sync_only_readers, "race: float "},
};

// In clusters of two blocks. The first one reads what the second one wrote.

CAPSROUTE_KERNEL(64, 1) read_before_start(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 1.0f);
    if (!p.wrong) cluster_sync();
    if (block_index() == 0) p.out[thread_index()] = memory.in_block(1).load(thread_index());
    cluster_sync();
}

CAPSROUTE_KERNEL(64, 1) sync_only_blocks(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 0.0f);
    cluster_sync();
    if (block_index() == 1) memory.store(thread_index(), 1.0f);
    if (p.wrong) {
        block_sync();
    } else {
        cluster_sync();
    }
    if (block_index() == 0) p.out[thread_index()] = memory.in_block(1).load(thread_index());
    cluster_sync();
}

CAPSROUTE_KERNEL(64, 1) end_before_readers(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 1.0f);
    cluster_sync();
    if (block_index() == 0) p.out[thread_index()] = memory.in_block(1).load(thread_index());
    if (!p.wrong) cluster_sync();
}

CAPSROUTE_KERNEL(64, 1) rank_too_large(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.in_block(here(p) ? 2 : 1);
}

const Case kClusterCases[] = {
    {"read_before_start", read_before_start, "before the first cluster_sync"},
    {"sync_only_blocks", sync_only_blocks, "race: float "},
    {"end_before_readers", end_before_readers, "block"},
    {"rank_too_large", rank_too_large, "thread 33: in_block(2) in a cluster of 2"},
};

CAPSROUTE_KERNEL(64, 1) sync_cluster_of_one(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), 0.0f);
    block_sync();
    memory.store(thread_index(), 1.0f);
    cluster_sync();
    p.out[thread_index()] = memory.load(63 - thread_index());
}

// Where there are no clusters, cluster_sync is nothing, and where there are, one of a block is a barrier of it.
void check_cluster_of_one(const float* in, float* out, Settings settings, Failures& failures) {
    const auto run = [&] {
        return launch(sync_cluster_of_one, "sync_cluster_of_one", {1, 64, 1024}, Flaw{false, in, out, 256}, {64, 1});
    };
    expect("sync_cluster_of_one on sm_90", run(), Status::ok, "", failures);
    settings.architecture = 89;
    emulation::configure(settings);
    expect("sync_cluster_of_one on sm_89", run(), Status::fault, "race: float ", failures);
}

// A launch that ended in a fault leaves nothing to the next one.
void check_next_launch(const float* in, float* out, Failures& failures) {
    const Shape shape{1, 64, 1024};
    expect("forget_copies", launch(forget_copies, "forget_copies", shape, Flaw{true, in, out, 256}, {64, 1}),
           Status::fault, "copies", failures);
    expect("read_unwritten after a fault",
           launch(read_unwritten, "read_unwritten", shape, Flaw{false, in, out, 256}, {64, 1}), Status::ok, "",
           failures);
}

}  // namespace

void check_memory_faults(Failures& failures) {
    alignas(16) float in[64 * 4] = {};
    float out[64];
    for (const Settings& settings : kOrders) {
        emulation::configure(settings);
        const auto check = [&](const Case& each, const Shape& shape) {
            const std::string what = std::string(each.name) + ", " + name_of(settings.order);
            const auto run = [&](bool wrong) {
                return launch(each.kernel, each.name, shape, Flaw{wrong, in, out, shape.shared_bytes / 4}, {64, 1});
            };
            expect(what, run(true), Status::fault, each.text, failures);
            expect(what + ", without the flaw", run(false), Status::ok, "", failures);
        };
        for (const Case& each : kCases) check(each, {1, 64, 1024});
        check_next_launch(in, out, failures);
        for (const Case& each : kClusterCases) check(each, {2, 64, 1024, false, 2});
        check_cluster_of_one(in, out, settings, failures);
    }
    emulation::configure({});
}

}  // namespace capsroute::tests
