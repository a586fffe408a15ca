// Kernels that break a rule of threads, of barriers or of shared memory when `wrong` is set, and keep it otherwise.
#include <string.h>

#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

// Whether it is the one thread that does wrong.
bool here(const Program& p) {
    return p.wrong && thread_index() == 33;
}

constexpr Shape kPlain{2, 64, 0}, kGrid{3, 64, 0, true}, kCluster{4, 64, 0, false, 2};
constexpr Shape kMemory{1, 64, 1024}, kMemoryOfCluster{2, 64, 1024, false, 2};

struct Case {
    const char* name;
    Shape shape;
    const char* text;  // of the fault
    Body body;
};

const Case kBarriers[] = {
    {"a block skips block_sync", kPlain, "divergent: 61 threads wait in block_sync, 3 threads have ended",
     [](const Program& p, const Shared&) {
         if (p.wrong && thread_index() >= 61) return;
         block_sync();
     }},
    {"a warp stays behind", kPlain,
     "divergent: 31 threads wait in warp_sync, 32 threads wait in block_sync, 1 thread has ended",
     [](const Program& p, const Shared&) {
         if (p.wrong && thread_index() >= 32) {
             if (thread_index() != 40) warp_sync();
             return;
         }
         block_sync();
     }},
    {"lanes diverge", kPlain, "divergent: comes to ",
     [](const Program& p, const Shared&) {
         if (p.wrong && thread_index() % 2 == 1) {
             warp_sync();
         } else {
             p.out[thread_index()] = shuffle(1.0f, 0);
         }
     }},
    {"a shuffle in half a warp", kPlain, "divergent: 32 threads wait in shuffle_xor, 32 threads have ended",
     [](const Program& p, const Shared&) {
         if (p.wrong && thread_index() % 32 >= 16) return;
         p.out[thread_index()] = shuffle_xor(1.0f, 8);
     }},
    {"a block meets alone", kGrid,
     "block 0: divergent: 64 threads wait in grid_sync; in all 3 live blocks: 128 threads wait in grid_sync, "
     "64 threads have ended",
     [](const Program& p, const Shared&) {
         if (p.wrong && block_index() == 1) {
             block_sync();
         } else {
             grid_sync();
         }
     }},
    {"a block skips grid_sync", kGrid,
     "block 0: divergent: 64 threads wait in grid_sync; in all 3 live blocks: 128 threads wait in grid_sync, "
     "64 threads have ended",
     [](const Program& p, const Shared&) {
         if (p.wrong && block_index() == 1) return;
         grid_sync();
     }},
    {"a block skips cluster_sync", kCluster,
     "in all 2 live blocks: 64 threads wait in cluster_sync, 64 threads have ended",
     [](const Program& p, const Shared&) {
         if (p.wrong && block_index() == 1) return;
         cluster_sync();
     }},
};

const Case kPlaces[] = {
    {"reads what nobody wrote", kMemory, "thread 33: float 33 of shared memory is read before it was written",
     [](const Program& p, const Shared& memory) {
         if (!here(p)) memory.store(thread_index(), 1.0f);
         block_sync();
         p.out[thread_index()] = memory.load(thread_index());
     }},
    {"passes the end", kMemory, "thread 33: shared memory: index 256, 1 wide, in a part of 256 floats",
     [](const Program& p, const Shared& memory) { memory.store(here(p) ? p.shared_floats : thread_index(), 1.0f); }},
    {"passes the start", kMemory, "thread 33: shared memory: index -1, 1 wide, in a part of 64 floats",
     [](const Program& p, const Shared& memory) { memory.part(64, 64).store(here(p) ? -1 : thread_index(), 1.0f); }},
    {"passes its part", kMemory, "thread 33: shared memory: index 4, 1 wide, in a part of 4 floats",
     [](const Program& p, const Shared& memory) {
         const Shared part = memory.part(thread_index() * 4, 4);
         part.store4(0, make_float4(1, 2, 3, 4));
         p.out[thread_index()] = part.load(here(p) ? 4 : 3);
     }},
    {"takes too large a part", kMemory, "thread 33: shared memory: part [128, 257) of 256 floats",
     [](const Program& p, const Shared& memory) { memory.part(128, p.shared_floats - (here(p) ? 127 : 128)); }},
    {"asks for more", kMemory, "thread 33: shared_memory(257) in a launch with 256 floats",
     [](const Program& p, const Shared&) { shared_memory(here(p) ? p.shared_floats + 1 : p.shared_floats); }},
    {"misaligned by 4", kMemory, "thread 33: shared memory: misaligned access of 4 floats at index 2",
     [](const Program& p, const Shared& memory) {
         memory.store4(thread_index() * 4, make_float4(1, 2, 3, 4));
         block_sync();
         p.out[thread_index()] = memory.load4(here(p) ? 2 : 4).x;
     }},
    {"misaligned by 2", kMemory, "shared memory: misaligned access of 2 floats at index ",
     [](const Program& p, const Shared& memory) {
         memory.part(p.wrong ? 1 : 2, 128).store2(thread_index() * 2, make_float2(1, 2));
     }},
    {"a misaligned copy", kMemory, "thread 33: shared memory: misaligned access of 4 floats at index 133",
     [](const Program& p, const Shared& memory) {
         memory.copy4(thread_index() * 4 + (here(p) ? 1 : 0), p.in, thread_index() < 63);
         wait_for_copies();
     }},
    {"a misaligned source", kMemory, "thread 33: copy4 from an address that is no multiple of 16 bytes",
     [](const Program& p, const Shared& memory) {
         memory.copy4(thread_index() * 4, p.in + (here(p) ? 1 : 0), true);
         wait_for_copies();
     }},
    {"in_block of a rank too large", kMemoryOfCluster, "thread 33: in_block(2) in a cluster of 2",
     [](const Program& p, const Shared& memory) { memory.in_block(here(p) ? 2 : 1); }},
};

const Case kCopies[] = {
    {"forgets copies", kMemory, "thread 33: ends with 1 copies that it did not wait for",
     [](const Program& p, const Shared& memory) {
         memory.copy4(thread_index() * 4, p.in, true);
         if (!here(p)) wait_for_copies();
     }},
    {"reads a copy early", kMemory, "thread 33: float 132 of shared memory is read before thread 33 waited",
     [](const Program& p, const Shared& memory) {
         memory.store4(thread_index() * 4, make_float4(1, 2, 3, 4));
         memory.copy4(thread_index() * 4, p.in, true);
         if (!here(p)) wait_for_copies();
         p.out[thread_index()] = memory.load(thread_index() * 4);
         wait_for_copies();
     }},
    {"writes under a copy", kMemory, "thread 1: ",
     [](const Program& p, const Shared& memory) {
         memory.copy4(thread_index() * 4, p.in, true);
         if (!here(p)) wait_for_copies();
         block_sync();
         memory.store((thread_index() + 32) % 64 * 4 + 3, 5.0f);
         wait_for_copies();
     }},
    {"writes under its own copy", kMemory, "thread 33: float 135 of shared memory is written before thread 33 waited",
     [](const Program& p, const Shared& memory) {
         memory.copy4(thread_index() * 4, p.in, true);
         if (!here(p)) wait_for_copies();
         memory.store(thread_index() * 4 + 3, 5.0f);
         wait_for_copies();
     }},
    // A copy may arrive while others still read what stood there. What is copied here only the other warp reads.
    {"copies over readers", kMemory, "race: float ",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 1.0f);
         block_sync();
         p.out[thread_index()] = memory.load(63 - thread_index());
         if (!p.wrong) block_sync();
         if (thread_index() < 8) memory.copy4(thread_index() * 4, p.in, true);
         wait_for_copies();
     }},
};

const Case kRaces[] = {
    // The first thread of a warp writes what the others read.
    {"forgets a barrier", kMemory, "race: float 0 of shared memory",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), -1.0f);
         block_sync();
         if (thread_index() == 32) memory.store(0, 7.0f);
         if (!p.wrong) block_sync();
         if (thread_index() < 32) p.out[thread_index()] = memory.load(0);
     }},
    {"writes after a read", kMemory, "race: float 5 of shared memory is ",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 1.0f);
         block_sync();
         p.out[thread_index()] = memory.load(5);
         if (!p.wrong) block_sync();
         if (thread_index() == 63) memory.store(5, 2.0f);
     }},
    {"writes twice", kMemory, "race: float 0 of shared memory is written, and was written by thread ",
     [](const Program& p, const Shared& memory) {
         if (p.wrong ? thread_index() % 32 == 0 : thread_index() == 0) memory.store(0, 1.0f);
     }},
    // Lanes are ordered by what the warp does together, warps are not.
    {"forgets warp_sync", kMemory, "race: float ",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 0.0f);
         block_sync();
         memory.store(thread_index(), 1.0f);
         if (!p.wrong) warp_sync();
         p.out[thread_index()] = memory.load(thread_index() ^ 1);
     }},
    {"orders only a warp", kMemory, "race: float ",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 0.0f);
         block_sync();
         memory.store(thread_index(), 1.0f);
         warp_sync();
         p.out[thread_index()] = memory.load(thread_index() ^ (p.wrong ? 32 : 16));
     }},
    // That the reading warp has met since does not help.
    {"orders only the readers", kMemory, "race: float ",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 0.0f);
         block_sync();
         if (thread_index() >= 32) memory.store(thread_index(), 1.0f);
         if (!p.wrong) block_sync();
         if (thread_index() >= 32) return;
         warp_sync();
         p.out[thread_index()] = memory.load(thread_index() + 32);
     }},
    // In clusters the first block reads what the second one wrote.
    {"reads before the start", kMemoryOfCluster, "before the first cluster_sync",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 1.0f);
         if (!p.wrong) cluster_sync();
         if (block_index() == 0) p.out[thread_index()] = memory.in_block(1).load(thread_index());
         cluster_sync();
     }},
    {"orders only blocks", kMemoryOfCluster, "race: float ",
     [](const Program& p, const Shared& memory) {
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
     }},
    {"ends before its readers", kMemoryOfCluster, "block",
     [](const Program& p, const Shared& memory) {
         memory.store(thread_index(), 1.0f);
         cluster_sync();
         if (block_index() == 0) p.out[thread_index()] = memory.in_block(1).load(thread_index());
         if (!p.wrong) cluster_sync();
     }},
};

// Rules that depend on the launch or on the device, so that the same kernel keeps them elsewhere.
void sync_grid(const Program&, const Shared&) {
    grid_sync();
}

void use_mma(const Program& p, const Shared&) {
    float c[4] = {};
    const float a[4] = {}, b[2] = {};
    if (p.wrong || has_mma_tf32()) mma_m16n8k8_tf32(c, a, b);
}

void sync_cluster_of_one(const Program& p, const Shared& memory) {
    memory.store(thread_index(), 0.0f);
    block_sync();
    memory.store(thread_index(), 1.0f);
    cluster_sync();
    p.out[thread_index()] = memory.load(63 - thread_index());
}

class Rules {
   public:
    explicit Rules(Failures& failures) : failures_(failures) {}

    void check(const Settings& settings) {
        emulation::configure(settings);
        check_cases(kBarriers, settings.order);
        check_cases(kPlaces, settings.order);
        check_cases(kCopies, settings.order);
        check_cases(kRaces, settings.order);
        expect_fault(
            {"grid_sync in a plain launch", kPlain, "grid_sync in a launch that is not cooperative", sync_grid});
        expect_right({"grid_sync in a cooperative launch", kGrid, "", sync_grid});
        // Where there are no clusters, cluster_sync is nothing, and where there are, one of a block is a barrier of it.
        const Case alone{"cluster_sync of one block", kMemory, "race: float ", sync_cluster_of_one};
        expect_right(alone);
        Settings before = settings;
        before.architecture = 89;
        emulation::configure(before);
        expect_fault(alone);
    }

    void check_mma() {
        emulation::configure({.architecture = 75});
        const Case mma{"mma on sm_75", kPlain, "mma_m16n8k8_tf32 on a device that has none", use_mma};
        expect_fault(mma);
        expect_right(mma);
    }

    // Without the check of races a missing barrier shows in the results, which depend on the order.
    void check_orders_differ() {
        for (bool wrong : {true, false}) {
            float first[64] = {};
            for (Order order : {Order::forward, Order::reverse}) {
                emulation::configure({.order = order, .check_races = false});
                expect("no check of races", run(kRaces[0], wrong), Status::ok, "", failures_);
                if (order == Order::forward) memcpy(first, out_, sizeof first);
            }
            if ((memcmp(first, out_, sizeof first) != 0) != wrong)
                failures_.add("results depend on the order otherwise than by a missing barrier");
        }
    }

   private:
    template <size_t kCount>
    void check_cases(const Case (&cases)[kCount], Order order) {
        for (Case each : cases) {
            const std::string name = std::string(each.name) + ", " + name_of(order);
            each.name = name.c_str();
            expect_fault(each);
            expect_right(each);  // and the fault has left nothing behind
        }
    }
    void expect_fault(const Case& each) {
        const Outcome outcome = run(each, true);
        expect(each.name, outcome, Status::fault, each.text, failures_);
        expect(each.name, outcome, Status::fault, "kernel " + std::string(each.name) + ", block ", failures_);
    }
    void expect_right(const Case& each) {
        expect(std::string(each.name) + ", without the flaw", run(each, false), Status::ok, "", failures_);
    }
    Outcome run(const Case& each, bool wrong) { return tests::run(each.name, each.shape, each.body, in_, out_, wrong); }

    Failures& failures_;
    alignas(16) float in_[64 * 4] = {};
    float out_[64] = {};
};

}  // namespace

void check_rules(Failures& failures) {
    Rules rules(failures);
    for (const Settings& settings : kOrders) rules.check(settings);
    rules.check_mma();
    rules.check_orders_differ();
    emulation::configure({});
}

}  // namespace capsroute::tests
