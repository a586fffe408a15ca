// What the persistent kernels share: their shared memory, the barrier between phases, and who sweeps.
#pragma once

#include "kernels.h"
#include "step.cuh"
#include "sweep.cuh"

namespace capsroute::cuda {

struct BlockMemory {
    Shared stages;
    Exchange exchange;

    CAPSROUTE_DEVICE explicit BlockMemory(const Plan& plan) : BlockMemory(plan, shared_memory(plan.shared_bytes / 4)) {}

   private:
    CAPSROUTE_DEVICE BlockMemory(const Plan& plan, const Shared& all)
        : stages(all.part(0, plan.slots * plan.stage_floats)),
          exchange{all.part(plan.slots * plan.stage_floats, plan.exchange_floats),
                   all.part(plan.slots * plan.stage_floats + plan.exchange_floats, plan.online_floats)} {}
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

template <Operand kOperand, int kTiles, bool kBackward>
CAPSROUTE_DEVICE void run_phase(const Plan& plan, const PassVectors& vectors, int t, int phase,
                                const BlockMemory& memory, bool load) {
    if (phase == kSweep) {
        for_each_sweep(plan, [&](int index) {
            run_sweep<kOperand, kTiles, kBackward>(plan, vectors, index, memory.stages);
        });
        return;
    }
    for (int index = block_index(); index < plan.items; index += block_count()) {
        run_pass<kOperand, kTiles, kBackward>(plan, vectors, t, item_of(plan, index), memory.stages, memory.exchange,
                                              load);
    }
}

}  // namespace capsroute::cuda
