// How a problem is divided over blocks and warps on a device, and laid out in its workspace. Plain data, read by the
// launchers and the kernels alike.
#pragma once

#include "../shared/options.h"
#include "../shared/problem.h"
#include "host.h"

namespace capsroute::cuda {

#if defined(__CUDACC__)
#define CAPSROUTE_BOTH __host__ __device__
#else
#define CAPSROUTE_BOTH
#endif

constexpr int kWarp = 32;
constexpr int kRows = 16;    // samples of a tile: the rows of a matrix instruction
constexpr int kColumns = 8;  // vote components of a column tile: the columns of a matrix instruction
constexpr int kFragment = kRows * kColumns;
constexpr int kThreads = 256;  // of a block of the passes
constexpr int kWarps = kThreads / kWarp;
constexpr int kKeptFloats = 9 * kThreads;  // shared memory for what threads put away, see stage.cuh
constexpr int kLastThreads = 128;          // of a block of the last pass, at most
constexpr int kLargestSize = 64;           // D of the fused kernels
constexpr int kChunksAlone = 8;            // so many chunks one warp adds up by itself

// The fused kernels are compiled for outputs of 1, 2, 4 and 8 column tiles (D up to 8, 16, 32, 64). A warp holds the
// votes of one input and the running sums of so many outputs in registers.
CAPSROUTE_BOTH constexpr int outputs_per_warp(int output_tiles) {
    return output_tiles == 1 ? 16 : output_tiles == 2 ? 10 : output_tiles == 4 ? 4 : 2;
}
// The votes of so many of them are held from the logits to the sum; those of the others are made twice, because there
// are no registers left for them. A multiple of 4, or all.
CAPSROUTE_BOTH constexpr int outputs_held(int output_tiles) {
    return output_tiles == 2 ? 8 : outputs_per_warp(output_tiles);
}
// They are computed in groups, and a group without outputs is skipped.
CAPSROUTE_BOTH constexpr int outputs_per_group(int output_tiles) {
    return output_tiles == 1 ? 8 : output_tiles == 2 ? 4 : output_tiles == 4 ? 2 : 1;
}

template <class T>
CAPSROUTE_BOTH constexpr T smaller(T a, T b) {
    return a < b ? a : b;
}

// The stride of rows of that many floats (a multiple of 8) in shared memory: 8 or 24 mod 32.
CAPSROUTE_BOTH constexpr int padded_stride(int floats) {
    return floats % 16 == 8 ? floats : floats + 8;
}

enum class Direction { forward, backward };

// What the options come to in an iteration, see csrc/shared/options.h: the factor of the initial logits, and how the
// next query follows from the present one and v.
struct Factors {
    float logit;
    float keep;
    float add;
};
constexpr int kFactors = kTemperatures + 1;  // later iterations have those of the last

// "Fragments" are [.., column tiles, 32, 4] floats: the 4 elements of a 16 x 8 tile that each lane of a warp holds, so
// that a warp moves a tile by one access of 16 bytes per lane. Rows past the batch and columns past D are zeros.
struct Plan {
    RoutingProblem problem;
    Factors factors[kFactors];  // of iterations 1, 2, ...
    CudaFusion fusion;
    int cluster;       // blocks of a cluster; 1 = a block is alone, and meets nobody
    int blocks;        // of the grid of the passes
    int shared_bytes;  // of a block of the passes

    int tiles;         // of 16 samples
    int output_tiles;  // column tiles of an output
    int width;         // column tiles of all outputs
    int k_steps;       // of 8 components of an input
    bool split;        // operands go to the tensor cores in two parts: products faithful to float32
    int row_stride;    // floats between rows of x and of the weight in shared memory

    // A pass is divided into items (batch group, column block, chunk), numbered in this order, the chunks fastest.
    int tile_warps;  // warps of a block that take tiles of their own: a batch group is so many tiles; 1, 2, 4 or 8
    int tile_warps_log2;
    int input_warps;  // warps of a block that share a tile and take every input_warps-th input
    int batch_groups;
    int column_blocks;  // of block_outputs outputs
    int block_outputs;
    int chunks;  // of chunk_inputs inputs
    int chunk_inputs;
    int items;

    // Shared memory of a block, in floats: slots for stages of stage_inputs inputs, then what the warps exchange.
    int stage_columns;  // vote components of a column block: whole groups of outputs, D padded to whole tiles
    int stage_stride;   // floats between rows of a stage
    int input_floats;   // of one input in a stage
    int stage_inputs;
    int stage_floats;
    int slots;
    bool resident;  // one stage holds the chunk for all iterations
    int exchange_floats;
    int online_floats;  // softmax over inputs: largest logits and sums of each thread

    float* query;    // Q^t for t = 1 .. T, but nothing at t = 1; forward: the present one; fragments [.., tiles, width]
    float* partial;  // fragments [chunks, tiles, width]; null where it stays in shared memory
    float* partial_max;  // [chunks, tiles, J, 16]; softmax over inputs: largest logit and sum of a chunk
    float* partial_sum;
    float* share;  // [.., B, I, 4]; softmax over outputs: largest logit, 1 / sum, and sum of c p (backward)

    const float* normaliser;  // [T, B, 2, J] as saved by forward; backward with softmax over inputs

    float* slope;    // a^t for t = 1 .. T: fragments [T, tiles, width]
    float* carried;  // gradient of the query: fragments [tiles, width]
    float* mean;     // [T, tiles, J, 16]; softmax over inputs: sum over i of c p

    // The last pass: every warp takes a weight and a share of the (input, tile) pairs that use it.
    int weights;       // I_w, or I when votes are given
    int repeat_parts;  // of the inputs that share a weight
    int part_repeats;
    int tile_parts;
    int part_tiles;
    int last_outputs;  // outputs whose weights a warp holds in shared memory at once
    int last_warps;    // of a block
    int last_blocks;
    int last_shared_bytes;
    bool last_alone;           // no pass came before that left shares behind
    float* part_weight;        // [repeat_parts * tile_parts, I_w, J, D, d]; null with one part
    float* part_logits;        // [tile_parts, I, J]; only for logits [I, J]
    float* part_x;             // [B, I, d]; sums over blocks of outputs; null where grad_x serves
    float* part_input_weight;  // [B, I]; likewise
};

// Which gradients a backward call wants; for forward all are false.
struct Wanted {
    bool x = false;
    bool weight = false;
    bool logits = false;
    bool input_weight = false;
};

CAPSROUTE_BOTH inline Wanted wanted_of(const RoutingBackward& buffers) {
    return {buffers.grad_x != nullptr, buffers.grad_weight != nullptr, buffers.grad_logits != nullptr,
            buffers.grad_input_weight != nullptr};
}

// Whether the fused kernels take this problem, on any device.
bool fused_takes(const RoutingProblem& problem);

// Divides the problem; with a null workspace the pointers mean nothing. Returns bytes of workspace or a negative
// Status: no_kernel where the fused kernels cannot run it on this device. Depends on the sizes, on the device and on
// cuda_division() alone.
int64_t plan_fused(const RoutingProblem& problem, const Device& device, Direction direction, Wanted wanted,
                   void* workspace, Plan& plan);

CAPSROUTE_BOTH inline const Factors& factors_of(const Plan& plan, int t) {
    return plan.factors[smaller(t, kFactors) - 1];
}

// Where iteration t finds its vectors: the first fragment of Q^t among the queries and of a^t among the slopes, and
// its place among the shares.
struct Iteration {
    int t;
    int vectors;
    int slot;
};

CAPSROUTE_BOTH inline Iteration iteration_of(const Plan& plan, Direction direction, int t) {
    const int fragments = plan.tiles * plan.width;
    if (direction == Direction::forward) return {t, 0, 0};
    return {t, (t - 1) * fragments, plan.problem.gradient == Gradient::last ? 0 : t - 1};
}

// Phases of the persistent kernels, three to an iteration.
enum Phase : int { kSweep = 0, kPass = 1, kStep = 2 };

// Is there a softmax over the outputs of each input?
CAPSROUTE_BOTH inline bool has_shares(const RoutingProblem& problem) {
    return !problem.softmax_over_inputs && !problem.coupling_given;
}

// A sweep finds largest logits and sums over the outputs where no warp sees all outputs of an input.
CAPSROUTE_BOTH inline bool forward_phase_exists(const Plan& plan, int t, int phase) {
    if (phase != kSweep) return true;
    return has_shares(plan.problem) && plan.column_blocks > 1 && !is_uniform(plan.problem, t);
}

// In backward the passes run for t = T .. 2; a sweep finds what the last pass needs of iterations without a pass.
CAPSROUTE_BOTH inline bool backward_phase_exists(const Plan& plan, int t, int phase) {
    const RoutingProblem& p = plan.problem;
    const bool has_pass = p.gradient != Gradient::last && t >= 2;
    if (phase != kSweep) return has_pass;
    if (!has_shares(p) || is_uniform(p, t)) return false;
    return has_pass ? plan.column_blocks > 1 || plan.last_alone
                    : p.gradient != Gradient::last || t == int(p.iterations);
}

}  // namespace capsroute::cuda
