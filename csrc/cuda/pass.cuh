// The heavy part of an iteration: for every input of a chunk the votes, their logits, the softmax, and the weighted sum
// of the votes. In backward the weights are the gradients of the logits, and the sum is that of the query.
//
// A warp has a tile of 16 samples and the outputs of a column block: at most 20 column tiles of 16 x 8, whose sums stay
// in registers, as do the votes of one input for the first 16 of them; the others are made twice. Weights and x come
// through shared memory (stage.cuh); the vectors Q and a are read as fragments, 16 bytes per lane, from the first-level
// cache: 10 KiB for 160 components. docs/kernels.md counts what that costs. The sums are added up over the warps that
// share the tile, and leave the block as fragments, one set per chunk.
#pragma once

#include "coupling.cuh"

namespace capsroute::cuda {

// What the warps of a block exchange in shared memory.
struct Exchange {
    Shared sums;    // [tile_warps, column tiles of a block, 32 * 4]
    Shared online;  // [warps, owned outputs, 4, 32]; softmax over inputs: largest logits and sums of both rows
};

// Softmax over inputs, one input at a time: what a lane has added up is relative to the largest logit so far, and is
// scaled down when that grows. Each lane keeps its owned outputs in shared memory, where only gather_warps looks at
// them.
class Online {
   public:
    CAPSROUTE_DEVICE Online(const Shared& memory, int warp, int owned)
        : memory_(memory), first_(warp * owned * 4 * kWarp + lane_index()) {}

    CAPSROUTE_DEVICE float largest(int k, int r) const { return memory_.load(first_ + (k * 4 + r) * kWarp); }
    CAPSROUTE_DEVICE float sum(int k, int r) const { return memory_.load(first_ + (k * 4 + 2 + r) * kWarp); }
    CAPSROUTE_DEVICE void store(int k, int r, float largest, float sum) const {
        memory_.store(first_ + (k * 4 + r) * kWarp, largest);
        memory_.store(first_ + (k * 4 + 2 + r) * kWarp, sum);
    }

   private:
    Shared memory_;
    int first_;
};

// Multiplies the sums of all outputs with a factor for each row.
template <int kTiles, int kOutputs>
CAPSROUTE_DEVICE void scale(const Owned<kOutputs>& factor, int count, float (&sums)[kOutputs * kTiles][4]) {
    for_outputs<kTiles, kOutputs>(count, [&](int o) {
        const float upper = factor.output(o, 0), lower = factor.output(o, 1);
#pragma unroll
        for (int n = o * kTiles; n < (o + 1) * kTiles; ++n) {
            sums[n][0] *= upper;
            sums[n][1] *= upper;
            sums[n][2] *= lower;
            sums[n][3] *= lower;
        }
    });
}

// exp(logit - largest) in place of the logits, with largest logits and sums brought up to date.
template <int kTiles, int kOutputs>
CAPSROUTE_DEVICE void online_softmax(const Online& online, const uint32_t (&takes_part)[2], int count,
                                     Owned<kOutputs>& logits, float (&sums)[kOutputs * kTiles][4]) {
    Owned<kOutputs> factor;
    bool changes = false;
#pragma unroll
    for (int k = 0; k < Owned<kOutputs>::kCount; ++k) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const bool part = takes_part[r] >> k & 1;
            const float before = online.largest(k, r), now = part ? fmaxf(before, logits.of[k][r]) : before;
            factor.of[k][r] = exp_nonpositive(before - now);
            logits.of[k][r] = part ? exp_nonpositive(logits.of[k][r] - now) : 0.0f;
            online.store(k, r, now, online.sum(k, r) * factor.of[k][r] + logits.of[k][r]);
            changes |= now != before;
        }
    }
    if (any_in_warp(changes)) scale<kTiles, kOutputs>(factor, count, sums);
}

// Adds what the other warps of a tile found to the sums of its first warp, in their order.
template <int kTiles, int kOutputs, bool kOnline>
CAPSROUTE_DEVICE void gather_warps(const Plan& plan, const Exchange& exchange, int count,
                                   float (&sums)[kOutputs * kTiles][4]) {
    constexpr int kOwned = Owned<kOutputs>::kCount;
    const int first = tile_of_warp(plan) * kOutputs * kTiles * kFragment + lane_offset();
    for (int other = 1; other < plan.input_warps; ++other) {
        if (input_warp(plan) == other) {
            for_outputs<kTiles, kOutputs>(count, [&](int o) {
#pragma unroll
                for (int n = o * kTiles; n < (o + 1) * kTiles; ++n) {
                    exchange.sums.store4(first + n * kFragment,
                                         make_float4(sums[n][0], sums[n][1], sums[n][2], sums[n][3]));
                }
            });
        }
        block_sync();
        if (input_warp(plan) == 0) {
            Owned<kOutputs> theirs;
            theirs.fill(1.0f);
            if constexpr (kOnline) {
                const Online mine(exchange.online, warp_index(), kOwned);
                const Online its(exchange.online, warp_index() + other * plan.tile_warps, kOwned);
                Owned<kOutputs> own;
#pragma unroll
                for (int k = 0; k < kOwned; ++k) {
#pragma unroll
                    for (int r = 0; r < 2; ++r) {
                        const float now = fmaxf(mine.largest(k, r), its.largest(k, r));
                        own.of[k][r] = exp_nonpositive(mine.largest(k, r) - now);
                        theirs.of[k][r] = exp_nonpositive(its.largest(k, r) - now);
                        mine.store(k, r, now, mine.sum(k, r) * own.of[k][r] + its.sum(k, r) * theirs.of[k][r]);
                    }
                }
                scale<kTiles, kOutputs>(own, count, sums);
            }
            for_outputs<kTiles, kOutputs>(count, [&](int o) {
                const float upper = theirs.output(o, 0), lower = theirs.output(o, 1);
#pragma unroll
                for (int n = o * kTiles; n < (o + 1) * kTiles; ++n) {
                    const float4 part = exchange.sums.load4(first + n * kFragment);
                    sums[n][0] += part.x * upper;
                    sums[n][1] += part.y * upper;
                    sums[n][2] += part.z * lower;
                    sums[n][3] += part.w * lower;
                }
            });
        }
        block_sync();
    }
}

// Where the sums of a chunk lie: in memory, or in the shared memory of the block that made them.
template <int kTiles, int kOutputs, bool kOnline>
CAPSROUTE_DEVICE void store_sums(const Plan& plan, const Exchange& exchange, const Item& item, const Rows& rows,
                                 const float (&sums)[kOutputs * kTiles][4]) {
    const int tile = tile_of_warp(plan);
    const int64_t chunk_tile = item.chunk * int64_t(plan.tiles) + rows.tile;
    for_outputs<kTiles, kOutputs>(item.outputs, [&](int o) {
        if (o >= item.outputs) return;
#pragma unroll
        for (int n = o * kTiles; n < (o + 1) * kTiles; ++n) {
            if (plan.partial) {
                store_fragment(plan.partial, chunk_tile * plan.width + item.first_output * kTiles + n, sums[n]);
            } else {
                exchange.sums.store4((tile * kOutputs * kTiles + n) * kFragment + lane_offset(),
                                     make_float4(sums[n][0], sums[n][1], sums[n][2], sums[n][3]));
            }
        }
    });
    if constexpr (!kOnline) return;
    const Online online(exchange.online, warp_index(), Owned<kOutputs>::kCount);
    for (int k = 0; owned_output(k) < item.outputs; ++k) {
        const int64_t at =
            (chunk_tile * plan.problem.outputs + item.first_output + owned_output(k)) * kRows + lane_row();
        for (int r = 0; r < 2; ++r) {
            plan.partial_max[at + 8 * r] = online.largest(k, r);
            plan.partial_sum[at + 8 * r] = online.sum(k, r);
        }
    }
}

// The votes of outputs kFirst .. kFirst + kSome - 1 of a warp's, for input number `input` of a stage.
template <int kTiles, int kFirst, int kSome>
CAPSROUTE_DEVICE void make_votes(const Plan& plan, const Shared& stage, int input, int count,
                                 float (&votes)[kSome * kTiles][4]) {
    constexpr int kColumn = kFirst * kTiles * kColumns;
    const int stride = plan.stage_stride, tile = tile_of_warp(plan);
    if (plan.problem.votes) {
        const Shared given = staged_votes(plan, stage, input, tile).part(kColumn, kRows * stride - kColumn);
        votes_from_rows<kTiles, kSome>(given, stride, count - kFirst, votes);
    } else {
        const Shared weight =
            staged_weight(plan, stage, input).part(kColumn * stride, (plan.stage_columns - kColumn) * stride);
        votes_by_product<kTiles, kSome>(plan, weight, staged_x(plan, stage, input, tile), count - kFirst, votes);
    }
}

// sums += weights times votes, for the same outputs.
template <int kTiles, int kFirst, int kSome, int kOutputs>
CAPSROUTE_DEVICE void add_weighted(const float (&votes)[kSome * kTiles][4], const Owned<kOutputs>& weights, int count,
                                   float (&sums)[kOutputs * kTiles][4]) {
    for_outputs<kTiles, kSome>(count - kFirst, [&](int some) {
        const float upper = weights.output(kFirst + some, 0), lower = weights.output(kFirst + some, 1);
#pragma unroll
        for (int n = some * kTiles; n < (some + 1) * kTiles; ++n) {
            sums[kFirst * kTiles + n][0] += upper * votes[n][0];
            sums[kFirst * kTiles + n][1] += upper * votes[n][1];
            sums[kFirst * kTiles + n][2] += lower * votes[n][2];
            sums[kFirst * kTiles + n][3] += lower * votes[n][3];
        }
    });
}

// Routes one input of a stage: its votes, what they are weighted with, and their share of the sums. Everything but the
// sums is found anew for each input, from what the thread has put away.
template <int kTiles, bool kOverInputs, bool kBackward>
CAPSROUTE_DEVICE void route_input(const Plan& plan, const Kept& kept, const Shared& stage, int number,
                                  const Exchange& exchange, float (&sums)[outputs_per_warp(kTiles) * kTiles][4]) {
    constexpr int kOutputs = outputs_per_warp(kTiles), kOwned = Owned<kOutputs>::kCount;
    constexpr int kHeld = outputs_held(kTiles), kOthers = kOutputs - kHeld;
    constexpr bool kOnline = kOverInputs && !kBackward;
    const RoutingProblem& p = plan.problem;
    const bool all_outputs = plan.column_blocks == 1;
    const int input = kept.get(Kept::first) + number;
    const int count = outputs_of_block(plan, kept.get(Kept::first_output));
    const Iteration at =
        iteration_of(plan, kBackward ? Direction::backward : Direction::forward, kept.get(Kept::iteration));
    const Rows rows{kept.get(Kept::tile)};
    const int vectors = at.vectors + rows.tile * plan.width + kept.get(Kept::first_output) * kTiles;

    Owned<kOutputs> weights;                 // logits, then coupling, then what the votes are weighted with
    [[maybe_unused]] Owned<kOutputs> along;  // p
    weights.fill(0.0f);
    if constexpr (kBackward) along.fill(0.0f);
    const auto multiply = [&]<int kFirst, int kSome>(const float (&some)[kSome* kTiles][4]) {
        if (at.t > 1) owned_products<kTiles, kFirst, kSome>(some, plan.query, vectors, count, weights);
        if constexpr (kBackward) owned_products<kTiles, kFirst, kSome>(some, plan.slope, vectors, count, along);
    };
    if constexpr (kHeld < kOutputs) {
        if (count > kHeld) {
            float others[kOthers * kTiles][4];
            make_votes<kTiles, kHeld, kOthers>(plan, stage, number, count, others);
            multiply.template operator()<kHeld, kOthers>(others);
        }
    }
    float votes[kHeld * kTiles][4];
    make_votes<kTiles, 0, kHeld>(plan, stage, number, count, votes);
    multiply.template operator()<0, kHeld>(votes);

    uint32_t takes_part[2];  // bits of the owned outputs, none for an absent input
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const bool there = input_is_there(p, rows.sample(r), input);
        takes_part[r] = there ? owned_outputs_there(p, rows.sample(r), kept.get(Kept::first_output), count) : 0;
    }
    add_initial_logits<kOutputs>(plan, at.t, rows, input, kept.get(Kept::first_output), takes_part, weights);
    if constexpr (kOnline) {
        const Online online(exchange.online, warp_index(), kOwned);
        online_softmax<kTiles, kOutputs>(online, takes_part, count, weights, sums);
    } else if constexpr (kOverInputs) {
        coupling_over_inputs<kOutputs>(plan, at.t, rows, takes_part, kept.get(Kept::first_output), weights);
    } else if (!p.coupling_given) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            if (all_outputs) {
                const float2 found = softmax_over_outputs<kOutputs>(p, r, takes_part[r], weights);
                if (kBackward) store_normaliser(plan, at.slot, rows.sample(r), input, found);
                continue;
            }
            float2 known = make_float2(0.0f, 0.0f);
            if (!kBackward && is_uniform(p, at.t)) {
                known.y = reciprocal_or_zero(outputs_in_softmax(p, rows.sample(r)));
            } else {
                known = load_normaliser(plan, at.slot, rows.sample(r), input);
            }
            coupling_from<kOutputs>(known, r, takes_part[r], weights);
        }
    }
    if constexpr (!kBackward) {
        multiply_by_input_weight<kOutputs>(p, rows, input, takes_part, weights);
    } else {
        multiply_by_input_weight<kOutputs>(p, rows, input, takes_part, along);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float mean = 0.0f;
            if (!kOverInputs && all_outputs) {
#pragma unroll
                for (int k = 0; k < kOwned; ++k) {
                    if (takes_part[r] >> k & 1) mean += weights.of[k][r] * along.of[k][r];
                }
                mean = sum_over_columns(mean);
                store_mean(plan, at.slot, rows.sample(r), input, mean);
            } else if (!kOverInputs) {
                mean = load_mean(plan, at.slot, rows.sample(r), input);
            }
#pragma unroll
            for (int k = 0; k < kOwned; ++k) {
                if (!(takes_part[r] >> k & 1)) continue;  // its coefficient is 0 already
                if constexpr (kOverInputs) {
                    const int output = kept.get(Kept::first_output) + owned_output(k);
                    mean = plan.mean[mean_index(plan, at.t, rows.tile, output, lane_row() + 8 * r)];
                }
                weights.of[k][r] *= along.of[k][r] - mean;
            }
        }
    }
    add_weighted<kTiles, 0, kHeld>(votes, weights, count, sums);
    if constexpr (kHeld < kOutputs) {
        if (count > kHeld) {
            float others[kOthers * kTiles][4];
            make_votes<kTiles, kHeld, kOthers>(plan, stage, number, count, others);
            add_weighted<kTiles, kHeld, kOthers>(others, weights, count, sums);
        }
    }
}

// One item of a pass, by all warps of a block.
template <int kTiles, bool kOverInputs, bool kBackward>
CAPSROUTE_DEVICE void run_pass(const Plan& plan, int index, const Kept& kept, const Shared& stages,
                               const Exchange& exchange, bool load) {
    constexpr int kOutputs = outputs_per_warp(kTiles);
    constexpr bool kOnline = kOverInputs && !kBackward;
    const Item item = item_of(plan, index);
    kept.put(Kept::tile, item.batch_group * plan.tile_warps + tile_of_warp(plan));
    kept.put(Kept::first_output, item.first_output);
    if constexpr (kOnline) {
        const Online online(exchange.online, warp_index(), Owned<kOutputs>::kCount);
        for (int k = 0; k < 2 * Owned<kOutputs>::kCount; ++k) online.store(k / 2, k % 2, kLowest, 0.0f);
    }
    float sums[kOutputs * kTiles][4] = {};
    for_each_stage<kTiles>(plan, stages, kept, item, load, [&](const Shared& stage) {
        const bool busy = kept.get(Kept::tile) < plan.tiles;
        for (int number = input_warp(plan); busy && number < kept.get(Kept::inputs); number += plan.input_warps) {
            route_input<kTiles, kOverInputs, kBackward>(plan, kept, stage, number, exchange, sums);
        }
    });
    const Item done = item_of(plan, kept.get(Kept::item));
    const Rows to{done.batch_group * plan.tile_warps + tile_of_warp(plan)};
    gather_warps<kTiles, kOutputs, kOnline>(plan, exchange, done.outputs, sums);
    if (to.tile < plan.tiles && input_warp(plan) == 0) {
        store_sums<kTiles, kOutputs, kOnline>(plan, exchange, done, to, sums);
    }
}

}  // namespace capsroute::cuda
