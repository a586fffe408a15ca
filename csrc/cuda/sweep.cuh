// A sweep over all outputs of each input, where no single warp has them all: the largest logit, 1 / sum of
// exp(logit - largest) and, in backward, the sum of c p. It makes the votes once more, one output at a time, and keeps
// three numbers per sample and input.
#pragma once

#include "pass.cuh"

namespace capsroute::cuda {

// The softmax of one row as outputs come by; all sums are relative to the largest logit so far.
struct RunningSoftmax {
    float largest;
    float sum;
    float weighted;  // sum of exp(logit - largest) p

    CAPSROUTE_DEVICE void start(bool leaky) {
        largest = leaky ? 0.0f : kLowest;
        sum = leaky ? 1.0f : 0.0f;
        weighted = 0.0f;
    }
    CAPSROUTE_DEVICE void add(float logit, float p) {
        const float now = fmaxf(largest, logit);
        const float factor = exp_nonpositive(largest - now), share = exp_nonpositive(logit - now);
        sum = sum * factor + share;
        weighted = weighted * factor + share * p;
        largest = now;
    }
};

// Column blocks come one after another, so a warp takes one input of a stage and goes on with it in the next block.
template <int kTiles, bool kBackward>
CAPSROUTE_DEVICE void run_sweep(const Plan& plan, const Iteration& at, int index, const Shared& stages) {
    const RoutingProblem& p = plan.problem;
    const int tile = tile_of_warp(plan), own = input_warp(plan);
    const Item all = item_of(plan, index, 0);
    const Rows rows{all.batch_group * plan.tile_warps + tile};
    for (int first = 0; first < all.inputs; first += plan.input_warps) {
        const int inputs = smaller(plan.input_warps, all.inputs - first);
        const int first_input = all.first_input + first, input = first_input + own;
        const bool busy = rows.tile < plan.tiles && own < inputs;
        const bool there[2] = {busy && input_is_there(p, rows.sample(0), input),
                               busy && input_is_there(p, rows.sample(1), input)};
        const float weight_of_input[2] = {input_weight_of(p, rows.sample(0), input, there[0]),
                                          input_weight_of(p, rows.sample(1), input, there[1])};
        const float factor = factors_of(plan, at.t).logit;
        RunningSoftmax softmax[2];
        softmax[0].start(p.leaky);
        softmax[1].start(p.leaky);
        for (int block = 0; block < plan.column_blocks; ++block) {
            const Item item = item_of(plan, index, block);
            block_sync();
            load_stage<kTiles>(plan, stages, all.batch_group * plan.tile_warps, item.first_output, first_input, inputs);
            wait_for_copies();
            block_sync();
#pragma unroll 1  // one output at a time is what fits into the registers
            for (int o = 0; busy && o < item.outputs; ++o) {
                const int output = item.first_output + o, columns = kTiles * kColumns;
                float votes[kTiles][4], logit[2] = {}, along[2] = {};
                if (p.votes) {
                    const Shared given = staged_votes(plan, stages, own, tile);
                    votes_from_rows<kTiles, 1>(given.part(o * columns, kRows * plan.stage_stride - o * columns),
                                               plan.stage_stride, 1, votes);
                } else {
                    const Shared weight = staged_weight(plan, stages, own);
                    votes_by_product<kTiles, 1>(
                        plan, weight.part(o * columns * plan.stage_stride, columns * plan.stage_stride),
                        staged_x(plan, stages, own, tile), 1, votes);
                }
                const int first_tile = rows.tile * plan.width + output * kTiles;
                if (at.t > 1) products<kTiles>(votes, plan.query, at.vectors + first_tile, logit);
                if constexpr (kBackward) products<kTiles>(votes, plan.slope, at.vectors + first_tile, along);
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    if (!there[r] || !output_is_there(p, rows.sample(r), output)) continue;
                    softmax[r].add(logit[r] + initial_logit(p, factor, rows.sample(r), input, output),
                                   along[r] * weight_of_input[r]);
                }
            }
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float inverse = reciprocal_or_zero(softmax[r].sum);
            if (!busy) continue;
            store_normaliser(plan, at.slot, rows.sample(r), input, make_float2(softmax[r].largest, inverse));
            if (kBackward) store_mean(plan, at.slot, rows.sample(r), input, softmax[r].weighted * inverse);
        }
    }
}

}  // namespace capsroute::cuda
