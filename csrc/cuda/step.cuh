// The light part of an iteration, over (tile, output): adds the chunks up, and goes through the squash.
//
// A warp takes an output of a tile as fragments. Where a pass has many chunks, all warps of a block share them, so that
// enough loads are under way, and the first warp adds their sums up in the order of the chunks.
#pragma once

#include "numbers.cuh"
#include "pass.cuh"

namespace capsroute::cuda {

// The sum of an output's chunks, and the softmax over inputs that goes with it.
template <int kTiles>
struct Total {
    float s[kTiles][4];
    float largest[2];
    float sum[2];

    CAPSROUTE_DEVICE void start() {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            largest[r] = kLowest;
            sum[r] = 0.0f;
        }
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
#pragma unroll
            for (int r = 0; r < 4; ++r) s[n][r] = 0.0f;
        }
    }

    // What to multiply the sums here, and those that come, with.
    CAPSROUTE_DEVICE void meet(const float (&their_largest)[2], const float (&their_sum)[2], float (&theirs)[2]) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float now = fmaxf(largest[r], their_largest[r]);
            const float own = exp_nonpositive(largest[r] - now);
            theirs[r] = exp_nonpositive(their_largest[r] - now);
            sum[r] = sum[r] * own + their_sum[r] * theirs[r];
            largest[r] = now;
#pragma unroll
            for (int n = 0; n < kTiles; ++n) {
                s[n][2 * r] *= own;
                s[n][2 * r + 1] *= own;
            }
        }
    }

    CAPSROUTE_DEVICE void add(int n, float4 part, const float (&factor)[2]) {
        s[n][0] += part.x * factor[0];
        s[n][1] += part.y * factor[0];
        s[n][2] += part.z * factor[1];
        s[n][3] += part.w * factor[1];
    }
};

// Where the sums of a chunk lie in shared memory: the block of that chunk has them, in a cluster or alone.
template <int kTiles>
CAPSROUTE_DEVICE void add_shared_chunk(const Plan& plan, const Exchange& exchange, int tile, int output, int chunk,
                                       const float (&factor)[2], Total<kTiles>& total) {
    constexpr int kBlockTiles = outputs_per_warp(kTiles) * kTiles;
    const int block = output / plan.block_outputs, within = output % plan.block_outputs * kTiles;
    const int at = ((tile & (plan.tile_warps - 1)) * kBlockTiles + within) * kFragment + lane_offset();
    if (plan.cluster == 1) {
#pragma unroll
        for (int n = 0; n < kTiles; ++n) total.add(n, exchange.sums.load4(at + n * kFragment), factor);
        return;
    }
    const Shared remote = exchange.sums.in_block(block * plan.chunks + chunk);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) total.add(n, remote.load4(at + n * kFragment), factor);
}

template <int kTiles, bool kOnline>
CAPSROUTE_DEVICE void add_chunks(const Plan& plan, const Exchange& exchange, int tile, int output, int first, int end,
                                 Total<kTiles>& total) {
    const int chunk_fragments = plan.tiles * plan.width;
    const int64_t chunk_rows = int64_t(plan.tiles) * int(plan.problem.outputs) * kRows;
    float factor[2] = {1.0f, 1.0f};
    [[maybe_unused]] int64_t row =
        first * chunk_rows + (int64_t(tile) * int(plan.problem.outputs) + output) * kRows + lane_row();
    int64_t at = int64_t(first) * chunk_fragments + tile * plan.width + output * kTiles;
#pragma unroll(kOnline || kTiles > 2 ? 1 : 4)
    for (int chunk = first; chunk < end; ++chunk, at += chunk_fragments) {
        if constexpr (kOnline) {
            const float largest[2] = {plan.partial_max[row], plan.partial_max[row + 8]};
            const float sum[2] = {plan.partial_sum[row], plan.partial_sum[row + 8]};
            total.meet(largest, sum, factor);
            row += chunk_rows;
        }
        if (!plan.partial) {
            add_shared_chunk<kTiles>(plan, exchange, tile, output, chunk, factor, total);
            continue;
        }
#pragma unroll
        for (int n = 0; n < kTiles; ++n) total.add(n, load_fragment(plan.partial, at + n), factor);
    }
}

// Adds the totals of the other warps to that of the first, through shared memory. All threads of the block call it.
template <int kTiles, bool kOnline>
CAPSROUTE_DEVICE void gather_totals(const Exchange& exchange, Total<kTiles>& total) {
    constexpr int kFloats = (kTiles + 1) * kFragment;
    const int at = lane_offset();
    block_sync();
    if (warp_index() > 0) {
        const int first = (warp_index() - 1) * kFloats + at;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
            exchange.sums.store4(first + n * kFragment,
                                 make_float4(total.s[n][0], total.s[n][1], total.s[n][2], total.s[n][3]));
        }
        exchange.sums.store4(first + kTiles * kFragment,
                             make_float4(total.largest[0], total.largest[1], total.sum[0], total.sum[1]));
    }
    block_sync();
    if (warp_index() != 0) return;
    for (int other = 1; other < thread_count() / kWarp; ++other) {
        const int first = (other - 1) * kFloats + at;
        float factor[2] = {1.0f, 1.0f};
        if constexpr (kOnline) {
            const float4 theirs = exchange.sums.load4(first + kTiles * kFragment);
            total.meet({theirs.x, theirs.y}, {theirs.z, theirs.w}, factor);
        }
#pragma unroll
        for (int n = 0; n < kTiles; ++n) total.add(n, exchange.sums.load4(first + n * kFragment), factor);
    }
}

// Calls work(tile, output, total) by one warp for each output of the block's share of the tiles.
template <int kTiles, bool kOnline, class Work>
CAPSROUTE_DEVICE void for_each_total(const Plan& plan, const Exchange& exchange, Work work) {
    // A cluster has the tiles of its batch group to itself; otherwise the grid has them all.
    const bool cluster = plan.fusion == CudaFusion::cluster;
    const int first_tile = cluster ? block_index() / plan.cluster * plan.tile_warps : 0;
    const int tiles = cluster ? smaller(plan.tile_warps, plan.tiles - first_tile) : plan.tiles;
    const int block = cluster ? block_index() % plan.cluster : block_index();
    const int blocks = cluster ? plan.cluster : block_count();
    const int outputs = int(plan.problem.outputs), items = tiles * outputs;
    const int warps = int(unsigned(thread_count()) / kWarp);
    const bool together = plan.chunks > kChunksAlone;
    const int worker = together ? block : block * warps + warp_index();
    const int workers = together ? blocks : blocks * warps;
    const int range = together ? (plan.chunks + warps - 1) / warps : plan.chunks;
    const int first = together ? smaller(warp_index() * range, plan.chunks) : 0;
    for (int item = worker; item < items; item += workers) {
        const int tile = first_tile + item / outputs, output = item % outputs;
        Total<kTiles> total;
        total.start();
        add_chunks<kTiles, kOnline>(plan, exchange, tile, output, first, smaller(first + range, plan.chunks), total);
        if (together) gather_totals<kTiles, kOnline>(exchange, total);
        if (!together || warp_index() == 0) work(Rows{tile}, output, total);
    }
}

// Which component of its output number r of a lane's four of column tile n is. Steps are rare: what follows from it is
// not to be kept in registers during the passes.
CAPSROUTE_DEVICE int component_of(int n, int r) {
    return forgotten(n * kColumns + lane_column() + r % 2);
}

// Calls work(n, r, there, at) for the elements of an output of a tile in a tensor [B, J, D]: whether number r of column
// tile n is there, and where. All addresses are two and a constant, so that they do not fill the registers.
template <int kTiles, class Work>
CAPSROUTE_DEVICE void for_elements(const RoutingProblem& problem, const Rows& rows, int output, Work work) {
    const int size = int(problem.output_size), column = forgotten(lane_column());
    const int64_t first[2] = {output_index(problem, rows.sample(0), output) * size + column,
                              output_index(problem, rows.sample(1), output) * size + column};
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int component = n * kColumns + r % 2;
            const bool there = component < size - column && rows.sample(r / 2) < int(problem.batch);
            work(n, r, there, first[r / 2] + component);
        }
    }
}

// Reads an output of a tile from a tensor [B, J, D], zeros where there is none.
template <int kTiles>
CAPSROUTE_DEVICE void read_output(const RoutingProblem& problem, DType dtype, const void* from, const Rows& rows,
                                  int output, float (&v)[kTiles][4]) {
    for_elements<kTiles>(problem, rows, output, [&](int n, int r, bool there, int64_t at) {
        v[n][r] = there ? read_float(dtype, from, at) : 0.0f;
    });
}

template <int kTiles>
CAPSROUTE_DEVICE void write_output(const RoutingProblem& problem, DType dtype, void* to, const Rows& rows, int output,
                                   const float (&v)[kTiles][4]) {
    for_elements<kTiles>(problem, rows, output, [&](int n, int r, bool there, int64_t at) {
        if (there) write_float(dtype, to, at, v[n][r]);
    });
}

// s + bias in place of s, and |s + bias|^2 of both rows.
template <int kTiles>
CAPSROUTE_DEVICE void add_bias(const RoutingProblem& problem, const Rows& rows, int output, float (&s)[kTiles][4],
                               float (&squared)[2]) {
    squared[0] = squared[1] = 0.0f;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int component = component_of(n, r);
            if (problem.bias && component < int(problem.output_size) && rows.sample(r / 2) < int(problem.batch)) {
                s[n][r] += read_float(problem.dtype, problem.bias, output * int(problem.output_size) + component);
            }
            squared[r / 2] += s[n][r] * s[n][r];
        }
    }
    squared[0] = sum_over_columns(squared[0]);
    squared[1] = sum_over_columns(squared[1]);
}

// The squash of both rows in iteration t. All lanes of a warp call it: in each row one finds the factors of the upper
// row and the others those of the lower, so that the code stands here once.
CAPSROUTE_DEVICE SquashFactors<float> squash_of_rows(const RoutingProblem& problem, int t, const float (&squared)[2]) {
    if (!squashes(problem, t)) return {1.0f, 0.0f, 0.0f};
    return squash_factors<SquashNumbers<float>>(problem, lane_column() == 0 ? squared[0] : squared[1]);
}
CAPSROUTE_DEVICE float of_row(float number, int r) {
    return shuffle_of_four(number, r);
}

// The query of iteration t + 1, from that of t in the fragments from `before` on and v = factor s, to the fragments
// from `next` on; backward repeats it bit for bit.
template <int kTiles>
CAPSROUTE_DEVICE void next_query(const Plan& plan, int t, int before, int next, const float (&s)[kTiles][4],
                                 const float (&factor)[2], const bool (&there)[2]) {
    const Factors& by = factors_of(plan, t);
    const bool keeps = t > 1 && by.keep != 0;
    const float upper = by.add * factor[0], lower = by.add * factor[1];
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
        const float4 old = keeps ? load_fragment(plan.query, before + n) : make_float4(0, 0, 0, 0);
        const float next_of[4] = {there[0] ? fmaf(upper, s[n][0], by.keep * old.x) : 0.0f,
                                  there[0] ? fmaf(upper, s[n][1], by.keep * old.y) : 0.0f,
                                  there[1] ? fmaf(lower, s[n][2], by.keep * old.z) : 0.0f,
                                  there[1] ? fmaf(lower, s[n][3], by.keep * old.w) : 0.0f};
        store_fragment(plan.query, next + n, next_of);
    }
}

template <int kTiles, bool kOverInputs>
CAPSROUTE_DEVICE void run_forward_step(const Plan& plan, const RoutingForward& buffers, int t,
                                       const Exchange& exchange) {
    const RoutingProblem& p = plan.problem;
    for_each_total<kTiles, kOverInputs>(plan, exchange, [&](const Rows& rows, int output, Total<kTiles>& total) {
        const bool there[2] = {output_is_there(p, rows.sample(0), output), output_is_there(p, rows.sample(1), output)};
        const int64_t saved = (t - 1) * p.batch;  // rows of the saved tensors before this iteration
        if constexpr (kOverInputs) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float inverse = reciprocal_or_zero(total.sum[r]);
#pragma unroll
                for (int n = 0; n < kTiles; ++n) {
                    total.s[n][2 * r] *= inverse;
                    total.s[n][2 * r + 1] *= inverse;
                }
                if (buffers.normaliser && rows.sample(r) < p.batch && lane_column() == 0) {
                    float* normaliser = static_cast<float*>(buffers.normaliser);
                    const int64_t at = normaliser_index(p, t, rows.sample(r), output);
                    normaliser[at] = total.largest[r];
                    normaliser[at + p.outputs] = inverse;
                }
            }
        }
        // Coupling 0 times a vote that is not finite is not 0; an absent output takes nothing.
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
#pragma unroll
            for (int r = 0; r < 4; ++r) total.s[n][r] = there[r / 2] ? total.s[n][r] : 0.0f;
        }
        if (buffers.pre_squash) {
            float* pre_squash = static_cast<float*>(buffers.pre_squash) + saved * p.outputs * p.output_size;
            write_output<kTiles>(p, DType::float32, pre_squash, rows, output, total.s);
        }
        float squared[2];
        add_bias<kTiles>(p, rows, output, total.s, squared);
        const float own = squash_of_rows(p, t, squared).factor, factor[2] = {of_row(own, 0), of_row(own, 1)};
        if (t < p.iterations) {
            const int at = rows.tile * plan.width + output * kTiles;
            next_query<kTiles>(plan, t, at, at, total.s, factor, there);
            return;
        }
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
#pragma unroll
            for (int r = 0; r < 4; ++r) total.s[n][r] = there[r / 2] ? factor[r / 2] * total.s[n][r] : 0.0f;
        }
        write_output<kTiles>(p, p.dtype, buffers.output, rows, output, total.s);
    });
}

// a = squash'(s)^T gradient for one output of iteration t, kept as fragments; s is the saved one. Also the mean of c p
// under a softmax over inputs, which is (s without the bias) . a. It is added up as p is: where one input has all the
// coupling, its c (p - mean) is then exactly 0, and not the rounding of p, which may be much larger than all other
// gradients.
template <int kTiles, bool kOverInputs>
CAPSROUTE_DEVICE void squash_backward(const Plan& plan, const RoutingBackward& buffers, int t, const Rows& rows,
                                      int output, const float (&gradient)[kTiles][4]) {
    const RoutingProblem& p = plan.problem;
    const float* saved = static_cast<const float*>(buffers.pre_squash) + (t - 1) * p.batch * p.outputs * p.output_size;
    float without_bias[kTiles][4], s[kTiles][4], squared[2], along[2] = {0.0f, 0.0f};
    read_output<kTiles>(p, DType::float32, saved, rows, output, without_bias);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
        for (int r = 0; r < 4; ++r) s[n][r] = without_bias[n][r];
    }
    add_bias<kTiles>(p, rows, output, s, squared);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
        for (int r = 0; r < 4; ++r) along[r / 2] += s[n][r] * gradient[n][r];
    }
    const SquashFactors<float> squash = squash_of_rows(p, t, squared);
    float factor[2], unit[2], s_factor[2], mean[2] = {0.0f, 0.0f};
    bool there[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        factor[r] = of_row(squash.factor, r);
        unit[r] = of_row(squash.unit, r);
        s_factor[r] = of_row(squash.slope, r) * (unit[r] * sum_over_columns(along[r]));
        there[r] = output_is_there(p, rows.sample(r), output);
    }
    const int slope = iteration_of(plan, Direction::backward, t).vectors + rows.tile * plan.width + output * kTiles;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
        float a[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            a[r] = there[r / 2] ? fmaf(factor[r / 2], gradient[n][r], s_factor[r / 2] * (unit[r / 2] * s[n][r])) : 0.0f;
            mean[r / 2] += without_bias[n][r] * a[r];
        }
        store_fragment(plan.slope, slope + n, a);
    }
    if constexpr (kOverInputs) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float sum = sum_of_products(mean[r]);
            if (lane_column() == 0) plan.mean[mean_index(plan, t, rows.tile, output, lane_row() + 8 * r)] = sum;
        }
    }
}

// The queries of all iterations from the saved s, and a of the last iteration, by all warps of the grid.
template <int kTiles, bool kOverInputs>
CAPSROUTE_DEVICE void run_backward_start(const Plan& plan, const RoutingBackward& buffers) {
    const RoutingProblem& p = plan.problem;
    const bool cluster = plan.fusion == CudaFusion::cluster;
    const int first_tile = cluster ? block_index() / plan.cluster * plan.tile_warps : 0;
    const int tiles = cluster ? smaller(plan.tile_warps, plan.tiles - first_tile) : plan.tiles;
    const int block = cluster ? block_index() % plan.cluster : block_index();
    const int blocks = cluster ? plan.cluster : block_count();
    const int outputs = int(p.outputs), items = tiles * outputs, warps = thread_count() / kWarp;
    for (int item = block * warps + warp_index(); item < items; item += blocks * warps) {
        const Rows rows{first_tile + item / outputs};
        const int output = item % outputs;
        const int at = rows.tile * plan.width + output * kTiles;
        const bool there[2] = {output_is_there(p, rows.sample(0), output), output_is_there(p, rows.sample(1), output)};
        float v[kTiles][4], squared[2];
        for (int64_t t = 1; t < p.iterations; ++t) {
            const float* saved =
                static_cast<const float*>(buffers.pre_squash) + (t - 1) * p.batch * p.outputs * p.output_size;
            read_output<kTiles>(p, DType::float32, saved, rows, output, v);
            add_bias<kTiles>(p, rows, output, v, squared);
            const float own = squash_of_rows(p, int(t), squared).factor, factor[2] = {of_row(own, 0), of_row(own, 1)};
            const int before = iteration_of(plan, Direction::backward, int(t)).vectors;
            const int next = iteration_of(plan, Direction::backward, int(t) + 1).vectors;
            next_query<kTiles>(plan, int(t), before + at, next + at, v, factor, there);
        }
        read_output<kTiles>(p, p.dtype, buffers.grad_output, rows, output, v);
        squash_backward<kTiles, kOverInputs>(plan, buffers, int(p.iterations), rows, output, v);
    }
}

// Adds to the gradient of the query of iteration t what later iterations ask of it, and goes on to v^{t-1} and through
// its squash.
template <int kTiles, bool kOverInputs>
CAPSROUTE_DEVICE void run_backward_step(const Plan& plan, const RoutingBackward& buffers, int t,
                                        const Exchange& exchange) {
    for_each_total<kTiles, false>(plan, exchange, [&](const Rows& rows, int output, Total<kTiles>& total) {
        const int at = rows.tile * plan.width + output * kTiles;
        const float keep = factors_of(plan, t).keep, add = factors_of(plan, t - 1).add;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
            if (t < plan.problem.iterations && keep != 0)
                total.add(n, load_fragment(plan.carried, at + n), {keep, keep});
            store_fragment(plan.carried, at + n, total.s[n]);
#pragma unroll
            for (int r = 0; r < 4; ++r) total.s[n][r] *= add;
        }
        squash_backward<kTiles, kOverInputs>(plan, buffers, t - 1, rows, output, total.s);
    });
}

}  // namespace capsroute::cuda
