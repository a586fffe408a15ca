// Kernels that break a rule of threads and barriers when `wrong` is set, and keep it otherwise.
#include <string.h>

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

struct Flaw {
    bool wrong;
    float* out;  // [64]
    int shared_floats;
};

CAPSROUTE_KERNEL(64, 1) skip_block_sync(CAPSROUTE_PARAMETER Flaw p) {
    if (p.wrong && thread_index() >= 61) return;
    block_sync();
}

CAPSROUTE_KERNEL(64, 1) warp_stays_behind(CAPSROUTE_PARAMETER Flaw p) {
    if (p.wrong && thread_index() >= 32) {
        if (thread_index() != 40) warp_sync();
        return;
    }
    block_sync();
}

CAPSROUTE_KERNEL(64, 1) diverge_in_warp(CAPSROUTE_PARAMETER Flaw p) {
    if (p.wrong && thread_index() % 2 == 1) {
        warp_sync();
    } else {
        p.out[thread_index()] = shuffle(1.0f, 0);
    }
}

CAPSROUTE_KERNEL(64, 1) shuffle_in_half_a_warp(CAPSROUTE_PARAMETER Flaw p) {
    if (p.wrong && thread_index() % 32 >= 16) return;
    p.out[thread_index()] = shuffle_xor(1.0f, 8);
}

CAPSROUTE_KERNEL(64, 1) mix_barriers(CAPSROUTE_PARAMETER Flaw p) {
    if (p.wrong && block_index() == 1) {
        block_sync();
    } else {
        grid_sync();
    }
}

CAPSROUTE_KERNEL(64, 1) block_skips_grid_sync(CAPSROUTE_PARAMETER Flaw p) {
    if (p.wrong && block_index() == 1) return;
    grid_sync();
}

CAPSROUTE_KERNEL(64, 1) block_skips_cluster_sync(CAPSROUTE_PARAMETER Flaw p) {
    if (p.wrong && block_index() == 1) return;
    cluster_sync();
}

CAPSROUTE_KERNEL(64, 1) sync_grid(CAPSROUTE_PARAMETER Flaw) {
    grid_sync();
}

CAPSROUTE_KERNEL(64, 1) use_mma(CAPSROUTE_PARAMETER Flaw p) {
    float c[4] = {};
    const float a[4] = {}, b[2] = {};
    if (p.wrong || has_mma_tf32()) mma_m16n8k8_tf32(c, a, b);
}

// The first thread writes what the others read.
CAPSROUTE_KERNEL(64, 1) forget_barrier(CAPSROUTE_PARAMETER Flaw p) {
    const Shared memory = shared_memory(p.shared_floats);
    memory.store(thread_index(), -1.0f);
    block_sync();
    if (thread_index() == 32) memory.store(0, 7.0f);
    if (!p.wrong) block_sync();
    if (thread_index() < 32) p.out[thread_index()] = memory.load(0);
}

struct Case {
    const char* name;
    void (*kernel)(Flaw);
    Shape shape;
    const char* text;
};

constexpr Shape kPlain{2, 64, 0}, kGrid{3, 64, 0, true}, kCluster{4, 64, 0, false, 2};

const Case kCases[] = {
    {"skip_block_sync", skip_block_sync, kPlain, "divergent: 61 threads wait in block_sync, 3 threads have ended"},
    {"warp_stays_behind", warp_stays_behind, kPlain,
     "divergent: 31 threads wait in warp_sync, 32 threads wait in block_sync, 1 thread has ended"},
    {"diverge_in_warp", diverge_in_warp, kPlain, "divergent: comes to "},
    {"shuffle_in_half_a_warp", shuffle_in_half_a_warp, kPlain,
     "divergent: 32 threads wait in shuffle_xor, 32 threads have ended"},
    {"mix_barriers", mix_barriers, kGrid,
     "block 0: divergent: 64 threads wait in grid_sync; in all 3 live blocks: 128 threads wait in grid_sync, "
     "64 threads have ended"},
    {"block_skips_grid_sync", block_skips_grid_sync, kGrid,
     "block 0: divergent: 64 threads wait in grid_sync; in all 3 live blocks: 128 threads wait in grid_sync, "
     "64 threads have ended"},
    {"block_skips_cluster_sync", block_skips_cluster_sync, kCluster,
     "in all 2 live blocks: 64 threads wait in cluster_sync, 64 threads have ended"},
    {"forget_barrier", forget_barrier, {1, 64, 256}, "race: float 0 of shared memory"},
};

// Without the check of races a missing barrier shows in the results, which depend on the order.
void check_orders_differ(Failures& failures) {
    float first[64] = {}, second[64] = {};
    const auto run = [&](bool wrong, Order order, float* out) {
        emulation::configure({.order = order, .check_races = false});
        expect("forget_barrier without the check of races",
               launch(forget_barrier, "forget_barrier", {1, 64, 256}, Flaw{wrong, out, 64}, {64, 1}), Status::ok, "",
               failures);
    };
    run(true, Order::forward, first);
    run(true, Order::reverse, second);
    if (!memcmp(first, second, sizeof first)) failures.add("a missing barrier does not show in the results");
    run(false, Order::forward, first);
    run(false, Order::reverse, second);
    if (memcmp(first, second, sizeof first)) failures.add("results depend on the order though no barrier is missing");
}

}  // namespace

void check_faults(Failures& failures) {
    float out[64];
    for (const Settings& settings : kOrders) {
        emulation::configure(settings);
        const auto run = [&](const Case& each, bool wrong) {
            return launch(each.kernel, each.name, each.shape, Flaw{wrong, out, each.shape.shared_bytes / 4}, {64, 1});
        };
        for (const Case& each : kCases) {
            const std::string what = std::string(each.name) + ", " + name_of(settings.order);
            expect(what, run(each, true), Status::fault, each.text, failures);
            expect(what, run(each, true), Status::fault, "kernel " + std::string(each.name) + ", block ", failures);
            expect(what + ", without the flaw", run(each, false), Status::ok, "", failures);
        }
        expect("grid_sync in a plain launch", launch(sync_grid, "sync_grid", kPlain, Flaw{}, {64, 1}), Status::fault,
               "grid_sync in a launch that is not cooperative", failures);
        expect("grid_sync in a cooperative launch", launch(sync_grid, "sync_grid", kGrid, Flaw{}, {64, 1}), Status::ok,
               "", failures);
    }
    emulation::configure({.architecture = 75});
    expect("mma on sm_75", launch(use_mma, "use_mma", kPlain, Flaw{true, out, 0}, {64, 1}), Status::fault,
           "mma_m16n8k8_tf32 on a device that has none", failures);
    expect("no mma on sm_75", launch(use_mma, "use_mma", kPlain, Flaw{false, out, 0}, {64, 1}), Status::ok, "",
           failures);
    check_orders_differ(failures);
    emulation::configure({});
}

}  // namespace capsroute::tests
