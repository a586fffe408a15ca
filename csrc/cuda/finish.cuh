// Sums over parts, tiles and iterations that no warp of the last pass has alone, each in a fixed order.
#pragma once

#include "last.cuh"

namespace capsroute::cuda {

// to[k] = sum over parts of from[part, k].
CAPSROUTE_DEVICE void add_parts(DType dtype, void* to, const float* from, int64_t count, int64_t parts) {
    const int64_t threads = int64_t(block_count()) * thread_count();
    for (int64_t k = int64_t(block_index()) * thread_count() + thread_index(); k < count; k += threads) {
        float sum = 0.0f;
#pragma unroll 4
        for (int64_t part = 0; part < parts; ++part) sum += from[part * count + k];
        write_float(dtype, to, k, sum);
    }
}

// dbias: a^t added up over iterations and samples, a warp per column tile.
CAPSROUTE_DEVICE void add_slopes(const Plan& plan, void* grad_bias) {
    const RoutingProblem& p = plan.problem;
    const int warps = thread_count() / kWarp;
    for (int column = block_index() * warps + warp_index(); column < plan.width; column += block_count() * warps) {
        float left = 0.0f, right = 0.0f;
        const int64_t first_t = p.gradient == Gradient::last ? p.iterations : 1;
        for (int64_t row = (first_t - 1) * plan.tiles; row < p.iterations * plan.tiles; ++row) {
            const float4 a = load_fragment(plan.slope, row * plan.width + column);
            left += a.x + a.z;
            right += a.y + a.w;
        }
        left = sum_over_rows(left);
        right = sum_over_rows(right);
        const int output = column / plan.output_tiles;
        const int component = column % plan.output_tiles * kColumns + lane_column();
        if (lane_row() != 0) continue;
        const int64_t at = output * p.output_size + component;
        if (component < p.output_size) write_float(p.dtype, grad_bias, at, left);
        if (component + 1 < p.output_size) write_float(p.dtype, grad_bias, at + 1, right);
    }
}

CAPSROUTE_DEVICE void run_finish(const Plan& plan, const RoutingBackward& buffers) {
    const RoutingProblem& p = plan.problem;
    if (plan.part_weight) {
        const int64_t count = p.weight_inputs * p.outputs * p.output_size * p.input_size;
        add_parts(p.dtype, buffers.grad_weight, plan.part_weight, count, int64_t(plan.repeat_parts) * plan.tile_parts);
    }
    if (plan.part_logits) {
        add_parts(p.dtype, buffers.grad_logits, plan.part_logits, p.inputs * p.outputs, plan.tile_parts);
    }
    if (buffers.grad_bias) add_slopes(plan, buffers.grad_bias);
}

}  // namespace capsroute::cuda
