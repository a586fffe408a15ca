#include "plan.h"

#include <algorithm>
#include <bit>

#include "last_memory.h"

namespace capsroute::cuda {
namespace {

// What the model of time counts in: cycles of a multiprocessor. The figures are of the order of an H100's and decide
// between divisions only, never whether a result is right.
constexpr double kCyclesPerTile = 8;   // of a warp's 16 x 8 votes of one input, all eight warps together
constexpr double kCyclesPerStep = 3;   // more for each further 8 components of an input
constexpr double kBytesPerCycle = 32;  // of a multiprocessor from the second-level cache
constexpr double kGridMeetingCycles = 2500;
constexpr double kClusterMeetingCycles = 500;
constexpr double kLaunchCycles = 6000;

constexpr int64_t kPartBytes = 16 << 20;  // of the parts of the weight gradient
constexpr int kLastWarpBytes = 20 << 10;  // shared memory of a warp of the last pass, where outputs can be divided
constexpr int kLastWarpsPerMultiprocessor = 16;

int divide_up(int a, int b) {
    return int(capsroute::divide_up(int64_t{a}, int64_t{b}));
}

void set_sizes(Plan& plan) {
    const RoutingProblem& p = plan.problem;
    const int size = p.votes ? 0 : int(p.input_size);
    plan.tiles = int(capsroute::divide_up(p.batch, kRows));
    plan.output_tiles = p.output_size <= 8 ? 1 : p.output_size <= 16 ? 2 : p.output_size <= 32 ? 4 : 8;
    plan.width = int(p.outputs) * plan.output_tiles;
    plan.k_steps = divide_up(size, kColumns);
    plan.split = p.dtype == DType::float32 && !p.allow_tf32;
    plan.row_stride = padded_stride(plan.k_steps * kColumns);
    plan.column_blocks = divide_up(int(p.outputs), outputs_per_warp(plan.output_tiles));
    plan.block_outputs = divide_up(int(p.outputs), plan.column_blocks);
    plan.column_blocks = divide_up(int(p.outputs), plan.block_outputs);
    const int group = outputs_per_group(plan.output_tiles);
    const int staged = std::min(divide_up(plan.block_outputs, group) * group, outputs_per_warp(plan.output_tiles));
    plan.stage_columns = staged * plan.output_tiles * kColumns;
}

// Whether passes are preceded by sweeps, which use the shared memory of the stages.
bool sweeps(const Plan& plan, Direction direction) {
    const int t = int(plan.problem.iterations);  // if any, then the last
    return direction == Direction::forward ? forward_phase_exists(plan, t, kSweep)
                                           : backward_phase_exists(plan, t, kSweep);
}

// Shared memory of the passes. False where not even one input for each warp fits.
bool lay_out_stages(Plan& plan, const Device& device, Direction direction) {
    const RoutingProblem& p = plan.problem;
    const int warps = plan.tile_warps * plan.input_warps, rows = plan.tile_warps * kRows;
    const int block_tiles = outputs_per_warp(plan.output_tiles) * plan.output_tiles;
    const bool over_inputs = p.softmax_over_inputs && direction == Direction::forward;
    const bool sums_stay = plan.fusion == CudaFusion::cluster;
    const int gather_warps = plan.input_warps > 1 || sums_stay ? plan.tile_warps * block_tiles * kFragment : 0;
    const int gather_totals = plan.chunks > kChunksAlone ? (warps - 1) * (plan.output_tiles + 1) * kFragment : 0;
    plan.exchange_floats = std::max(gather_warps, gather_totals);
    plan.online_floats = over_inputs ? warps * divide_up(outputs_per_warp(plan.output_tiles), 4) * 4 * kWarp : 0;
    plan.stage_stride = p.votes ? padded_stride(plan.stage_columns) : plan.row_stride;
    const int64_t input_floats = int64_t{p.votes ? rows : plan.stage_columns + rows} * plan.stage_stride;
    const int64_t available = device.shared_bytes / 4 - plan.exchange_floats - plan.online_floats - kKeptFloats;
    if (input_floats * std::min(plan.input_warps, plan.chunk_inputs) > available) return false;
    plan.input_floats = int(input_floats);
    const bool one_stage = input_floats * plan.chunk_inputs <= available;
    if (one_stage) {
        plan.slots = 1;
        plan.stage_inputs = plan.chunk_inputs;
    } else {
        const int rounds = int(std::min<int64_t>(available / 2 / (input_floats * plan.input_warps), 4));
        if (rounds < 1) return false;
        plan.slots = 2;
        plan.stage_inputs = rounds * plan.input_warps;
    }
    plan.stage_floats = plan.stage_inputs * plan.input_floats;
    const bool keeps_blocks =
        plan.fusion == CudaFusion::cluster || (plan.fusion == CudaFusion::grid && plan.items <= device.multiprocessors);
    plan.resident = one_stage && keeps_blocks && !sweeps(plan, direction);
    plan.shared_bytes = 4 * (plan.slots * plan.stage_floats + plan.exchange_floats + plan.online_floats + kKeptFloats);
    return true;
}

// Cycles of all passes and meetings of forward.
double cost(const Plan& plan, const Device& device) {
    const RoutingProblem& p = plan.problem;
    const double iterations = double(p.iterations), processors = device.multiprocessors;
    const double waves = divide_up(plan.items, device.multiprocessors);
    const int warps = plan.tile_warps * plan.input_warps;
    const double per_tile = kCyclesPerTile + kCyclesPerStep * std::max(plan.k_steps - 1, 0);
    const double compute = waves * divide_up(plan.chunk_inputs, plan.input_warps) * warps *
                           (plan.block_outputs * plan.output_tiles) * per_tile;
    const double row_bytes = 4.0 * plan.k_steps * kColumns;
    const double weight_bytes = double(plan.batch_groups) * double(p.inputs) * plan.width * kColumns * row_bytes;
    const double x_bytes = double(plan.column_blocks) * plan.tiles * kRows * double(p.inputs) * row_bytes;
    const double loads = (weight_bytes + x_bytes) * (plan.resident ? 1 / iterations : 1);
    const double sums =
        plan.fusion == CudaFusion::cluster ? 0 : 2.0 * plan.chunks * plan.tiles * plan.width * kFragment * 4;
    const double meeting = plan.fusion == CudaFusion::grid      ? kGridMeetingCycles
                           : plan.fusion == CudaFusion::cluster ? kClusterMeetingCycles
                                                                : kLaunchCycles;
    return iterations * (compute + (loads + sums) / (kBytesPerCycle * processors) + 2 * meeting);
}

// Divides the passes over so many tiles per block. False where that cannot be.
bool divide_passes(Plan& plan, const Device& device, Direction direction, CudaFusion fusion, int tile_warps) {
    const int inputs = int(plan.problem.inputs);
    plan.fusion = fusion;
    plan.tile_warps = tile_warps;
    plan.tile_warps_log2 = int(std::bit_width(unsigned(tile_warps))) - 1;
    plan.batch_groups = std::max(divide_up(plan.tiles, tile_warps), 1);
    plan.cluster = 1;
    const int cells = plan.batch_groups * plan.column_blocks;
    if (fusion == CudaFusion::cluster && plan.column_blocks > device.largest_cluster) return false;
    const int affordable = fusion == CudaFusion::cluster ? device.largest_cluster / plan.column_blocks
                                                         : std::max(device.multiprocessors / cells, 1);
    for (int input_warps = kWarps / tile_warps; input_warps >= 1; input_warps /= 2) {
        plan.input_warps = input_warps;
        plan.chunk_inputs = divide_up(inputs, std::min(affordable, divide_up(inputs, input_warps)));
        plan.chunks = divide_up(inputs, plan.chunk_inputs);
        plan.items = cells * plan.chunks;
        if (fusion == CudaFusion::cluster) plan.cluster = plan.column_blocks * plan.chunks;
        if (lay_out_stages(plan, device, direction)) {
            plan.blocks = fusion == CudaFusion::grid ? std::min(plan.items, device.multiprocessors) : plan.items;
            return true;
        }
    }
    return false;
}

// The cheapest division that the device can run. False where there is none.
bool choose_division(Plan& plan, const Device& device, Direction direction) {
    const CudaFusion asked = plan.problem.cuda_fusion;
    const int asked_tiles = cuda_division().tiles;
    Plan best = plan;
    double lowest = 0;
    bool found = false;
    for (CudaFusion fusion : {CudaFusion::cluster, CudaFusion::grid, CudaFusion::launches}) {
        if (asked != CudaFusion::automatic && asked != fusion) continue;
        if (fusion == CudaFusion::grid && !device.cooperative) continue;
        for (int tile_warps = 1; tile_warps <= kWarps; tile_warps *= 2) {
            Plan candidate = plan;
            if (asked_tiles > 0 && tile_warps != asked_tiles) continue;
            if (tile_warps > 1 && tile_warps / 2 >= plan.tiles) break;
            if (!divide_passes(candidate, device, direction, fusion, tile_warps)) continue;
            const double cycles = cost(candidate, device);
            if (found && cycles >= lowest) continue;
            found = true;
            lowest = cycles;
            best = candidate;
        }
    }
    plan = best;
    return found;
}

// Divides the last pass of backward. False where not one output of a weight fits into shared memory.
bool divide_last(Plan& plan, const Device& device, Wanted wanted) {
    const RoutingProblem& p = plan.problem;
    plan.weights = int(p.votes ? p.inputs : p.weight_inputs);
    const auto bytes = [&](int outputs) { return LastMemory<int64_t>(plan, outputs, wanted).total * 4; };
    const CudaDivision asked = cuda_division();
    plan.last_outputs = asked.last_outputs > 0 ? std::min(asked.last_outputs, int(p.outputs)) : int(p.outputs);
    while (asked.last_outputs == 0 && plan.last_outputs > 1 && bytes(plan.last_outputs) > kLastWarpBytes) {
        plan.last_outputs = divide_up(plan.last_outputs, 2);
    }
    plan.last_warps = kLastThreads / kWarp;
    while (plan.last_warps > 1 && plan.last_warps * bytes(plan.last_outputs) > device.shared_bytes) --plan.last_warps;
    const int64_t shared_bytes = plan.last_warps * bytes(plan.last_outputs);
    if (shared_bytes > device.shared_bytes) return false;
    plan.last_shared_bytes = int(shared_bytes);

    const int repeats = int(p.inputs) / plan.weights, tiles = std::max(plan.tiles, 1);
    const int64_t weight_bytes =
        std::max(int64_t{plan.weights} * plan.width * kColumns * plan.k_steps * 32, int64_t{1});
    const int64_t affordable = wanted.weight ? std::max<int64_t>(kPartBytes / weight_bytes, 1) : tiles;
    const int64_t warps = asked.last_warps > 0 ? asked.last_warps : kLastWarpsPerMultiprocessor;
    const int parts = int(std::clamp<int64_t>(warps * device.multiprocessors / plan.weights, 1, affordable));
    plan.part_tiles = divide_up(tiles, std::min(parts, tiles));
    plan.tile_parts = divide_up(tiles, plan.part_tiles);
    plan.part_repeats = divide_up(repeats, std::min(std::max(parts / plan.tile_parts, 1), repeats));
    plan.repeat_parts = divide_up(repeats, plan.part_repeats);
    const int64_t items = int64_t{plan.weights} * plan.repeat_parts * plan.tile_parts;
    if (items >= int64_t{1} << 30) return false;
    plan.last_blocks = int(capsroute::divide_up(items, plan.last_warps));
    return true;
}

}  // namespace

bool fused_takes(const RoutingProblem& p) {
    constexpr int64_t kMost = 1 << 30;  // of what the kernels count in 32 bits
    const int64_t size = p.votes ? 1 : p.input_size, columns = capsroute::divide_up(p.output_size, kColumns);
    if (capsroute::divide_up(p.batch, kRows) * p.outputs * columns > kMost / p.iterations) return false;
    return p.dtype != DType::float64 && p.output_size <= kLargestSize && p.batch < kMost && p.inputs < kMost &&
           p.outputs < kMost / 64 && size < (1 << 20) && p.iterations < (1 << 20);
}

int64_t plan_fused(const RoutingProblem& problem, const Device& device, Direction direction, Wanted wanted,
                   void* workspace, Plan& plan) {
    plan = {};
    plan.problem = problem;
    if (!fused_takes(problem)) return -int64_t(Status::no_kernel);
    for (int t = 1; t <= kFactors; ++t) {
        plan.factors[t - 1] = {float(logit_factor(problem, t)), float(query_keep(problem, t)),
                               float(query_add(problem, t))};
    }
    set_sizes(plan);
    if (!choose_division(plan, device, direction)) return -int64_t(Status::no_kernel);
    const bool backward = direction == Direction::backward, over_inputs = problem.softmax_over_inputs;
    if (backward && !divide_last(plan, device, wanted)) return -int64_t(Status::no_kernel);

    const int64_t tiles = plan.tiles, width = plan.width, T = problem.iterations, outputs = problem.outputs;
    Arena arena(workspace);
    plan.query = arena.take<float>(T > 1, {backward ? T : 1, tiles, width, kFragment});
    plan.partial = arena.take<float>(plan.fusion != CudaFusion::cluster, {plan.chunks, tiles, width, kFragment});
    plan.partial_max = arena.take<float>(over_inputs && !backward, {plan.chunks, tiles, outputs, kRows});
    plan.partial_sum = arena.take<float>(over_inputs && !backward, {plan.chunks, tiles, outputs, kRows});
    const bool shares = has_shares(problem) && (backward || sweeps(plan, direction));
    plan.share = arena.take<float>(
        shares, {backward && problem.gradient != Gradient::last ? T : 1, problem.batch, problem.inputs, 4});
    plan.slope = arena.take<float>(backward, {T, tiles, width, kFragment});
    plan.carried = arena.take<float>(backward, {tiles, width, kFragment});
    plan.mean = arena.take<float>(backward && over_inputs, {T, tiles, outputs, kRows});
    const int64_t parts = int64_t{plan.repeat_parts} * plan.tile_parts;
    plan.part_weight = arena.take<float>(
        wanted.weight && parts > 1, {parts, problem.weight_inputs, outputs, problem.output_size, problem.input_size});
    plan.part_logits =
        arena.take<float>(wanted.logits && !problem.logits_per_sample, {plan.tile_parts, problem.inputs, outputs});
    const bool in_parts = problem.dtype != DType::float32 && plan.last_outputs < outputs;
    plan.part_input_weight = arena.take<float>(in_parts && wanted.input_weight, {problem.batch, problem.inputs});
    plan.part_x = arena.take<float>(in_parts && wanted.x, {problem.batch, problem.inputs, problem.input_size});
    return arena.bytes();
}

}  // namespace capsroute::cuda
