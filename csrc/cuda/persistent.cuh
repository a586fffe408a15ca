// What the persistent kernels share: their shared memory, the barrier between phases, and who sweeps.
#pragma once

#include "kernels.h"
#include "step.cuh"
#include "sweep.cuh"

namespace capsroute::cuda {

struct BlockMemory {
    Kept kept;
    Shared stages;
    Exchange exchange;

    CAPSROUTE_DEVICE explicit BlockMemory(const Plan& plan) : BlockMemory(plan, shared_memory(plan.shared_bytes / 4)) {}

   private:
    CAPSROUTE_DEVICE BlockMemory(const Plan& plan, const Shared& all)
        : kept(all.part(0, kKeptFloats)),
          stages(all.part(kKeptFloats, plan.slots * plan.stage_floats)),
          exchange{all.part(kKeptFloats + plan.slots * plan.stage_floats, plan.exchange_floats),
                   all.part(kKeptFloats + plan.slots * plan.stage_floats + plan.exchange_floats, plan.online_floats)} {}
};

// Between phases: everything that was written before is seen by all who share it.
CAPSROUTE_DEVICE void meet(const Plan& plan) {
    if (plan.fusion == CudaFusion::grid) {
        grid_sync();
    } else if (plan.cluster > 1) {
        cluster_sync();
    } else {
        block_sync();
    }
}

// Sweeps see all column blocks of a batch group and chunk.
template <class Work>
CAPSROUTE_DEVICE void for_each_sweep(const Plan& plan, Work work) {
    if (plan.fusion == CudaFusion::cluster) {
        if (block_index() % plan.cluster < plan.chunks) work(block_index());
        return;
    }
    for (int index = block_index(); index < plan.batch_groups * plan.chunks; index += block_count()) {
        work(index / plan.chunks * plan.column_blocks * plan.chunks + index % plan.chunks);
    }
}

// The sweep or the pass of iteration t, by all blocks.
template <int kTiles, bool kOverInputs, bool kBackward>
CAPSROUTE_DEVICE void run_phase(const Plan& plan, int t, int phase, const BlockMemory& memory) {
    if (phase == kSweep) {
        if constexpr (!kOverInputs) {
            const Iteration at = iteration_of(plan, kBackward ? Direction::backward : Direction::forward, t);
            for_each_sweep(plan, [&](int index) { run_sweep<kTiles, kBackward>(plan, at, index, memory.stages); });
        }
        return;
    }
    memory.kept.put(Kept::iteration, t);
    for (int index = block_index(); index < plan.items; index += block_count()) {
        memory.kept.put(Kept::item, index);
        const bool load =
            !plan.resident || memory.kept.get(Kept::iteration) == (kBackward ? int(plan.problem.iterations) : 1);
        run_pass<kTiles, kOverInputs, kBackward>(plan, index, memory.kept, memory.stages, memory.exchange, load);
        index = memory.kept.get(Kept::item);
    }
}

}  // namespace capsroute::cuda
