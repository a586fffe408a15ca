// A stage: the weights and the components of some inputs, brought into shared memory by all threads of a block.
//
// Of each input the weights come first, a row of d floats for each vote component (D padded to whole column tiles),
// then a row of d floats for each sample of the batch group. Rows are padded with zeros to whole steps of 8, and their
// stride is 8 or 24 mod 32, so that the 8 rows x 4 pairs which a warp reads at once lie in different banks.
// Votes that are given take the place of both: a row of vote components for each sample.
#pragma once

#include "fragment.cuh"
#include "storage.cuh"

namespace capsroute::cuda {

// Position of a block's work in a pass.
struct Item {
    int batch_group;
    int first_output;
    int outputs;
    int chunk;
    int first_input;
    int inputs;
};

// How many outputs the column block from first_output on has.
CAPSROUTE_DEVICE int outputs_of_block(const Plan& plan, int first_output) {
    return smaller(plan.block_outputs, int(plan.problem.outputs) - first_output);
}

CAPSROUTE_DEVICE Item item_of(const Plan& plan, int index, int column_block) {
    Item item;
    item.chunk = index % plan.chunks;
    item.batch_group = index / plan.chunks / plan.column_blocks;
    item.first_output = column_block * plan.block_outputs;
    item.outputs = outputs_of_block(plan, item.first_output);
    item.first_input = item.chunk * plan.chunk_inputs;
    item.inputs = smaller(plan.chunk_inputs, int(plan.problem.inputs) - item.first_input);
    return item;
}

CAPSROUTE_DEVICE Item item_of(const Plan& plan, int index) {
    return item_of(plan, index, index / plan.chunks % plan.column_blocks);
}

// Which tile of the batch group a warp works on, and which of the warps with that tile it is.
CAPSROUTE_DEVICE int tile_of_warp(const Plan& plan) {
    return warp_index() & (plan.tile_warps - 1);
}
CAPSROUTE_DEVICE int input_warp(const Plan& plan) {
    return warp_index() >> plan.tile_warps_log2;
}

// Sizes and indices of the fused kernels fit into 32 bits; products of them may not.
CAPSROUTE_DEVICE int64_t input_index(const RoutingProblem& problem, int sample, int input) {
    return int64_t(sample) * int(problem.inputs) + input;
}
CAPSROUTE_DEVICE int64_t output_index(const RoutingProblem& problem, int sample, int output) {
    return int64_t(sample) * int(problem.outputs) + output;
}
// Of the largest logit in the tensor [T, B, 2, J] of normalisers; 1 / sum stands J further.
CAPSROUTE_DEVICE int64_t normaliser_index(const RoutingProblem& problem, int t, int sample, int output) {
    return (t - 1) * problem.batch * 2 * problem.outputs + output_index(problem, 2 * sample, output);
}

CAPSROUTE_DEVICE bool input_is_there(const RoutingProblem& problem, int sample, int input) {
    if (sample >= int(problem.batch)) return false;
    return !problem.input_mask || problem.input_mask[input_index(problem, sample, input)];
}

CAPSROUTE_DEVICE bool output_is_there(const RoutingProblem& problem, int sample, int output) {
    return !problem.output_mask ||
           (sample < int(problem.batch) && problem.output_mask[output_index(problem, sample, output)]);
}

// Copies rows of d elements to shared memory as floats, `threads` threads together. offset_of(row) is where a row
// starts in `from`, or negative for a row of zeros. Rows of float32 that lie on 16 bytes are copied asynchronously.
template <class OffsetOf>
CAPSROUTE_DEVICE void load_rows(const Plan& plan, const Shared& to, const void* from, int rows, int thread, int threads,
                                OffsetOf offset_of) {
    const int size = int(plan.problem.input_size), padded = plan.k_steps * kColumns;
    const DType dtype = plan.problem.dtype;
    const bool wide = dtype == DType::float32 && size % 4 == 0 && uint64_t(from) % 16 == 0;
    const int step = wide ? 4 : 1, pieces = padded / step;
    int row = int(unsigned(thread) / unsigned(pieces)), piece = thread - row * pieces;
    const int row_step = int(unsigned(threads) / unsigned(pieces)), piece_step = threads - row_step * pieces;
    while (row < rows) {
        const int64_t offset = offset_of(row);
        const int element = piece * step, at = row * plan.row_stride + element;
        const bool there = offset >= 0 && element < size;
        if (wide) {
            const float* source = static_cast<const float*>(from);
            to.copy4(at, there ? source + offset + element : source, there);
        } else {
            to.store(at, there ? read_float(dtype, from, offset + element) : 0.0f);
        }
        row += row_step;
        piece += piece_step;
        if (piece >= pieces) {
            piece -= pieces;
            ++row;
        }
    }
}

// Rows of the weight of one input: outputs first .. first + rows / (8 kTiles), zeros past `outputs` of them.
template <int kTiles>
CAPSROUTE_DEVICE void load_weight(const Plan& plan, const Shared& to, int input, int first_output, int outputs,
                                  int rows, int thread, int threads) {
    const RoutingProblem& p = plan.problem;
    const int64_t start = (input % p.weight_inputs) * p.outputs + first_output;
    load_rows(plan, to, p.weight, rows, thread, threads, [&](int row) -> int64_t {
        const int output = row / (kTiles * kColumns), component = row % (kTiles * kColumns);
        if (output >= outputs || component >= p.output_size) return -1;
        return ((start + output) * p.output_size + component) * p.input_size;
    });
}

// Rows of x for samples from first_sample on; those that are absent are zeros whatever stands there.
CAPSROUTE_DEVICE void load_x(const Plan& plan, const Shared& to, int input, int first_sample, int rows, int thread,
                             int threads) {
    const RoutingProblem& p = plan.problem;
    load_rows(plan, to, p.x, rows, thread, threads, [&](int row) -> int64_t {
        const int sample = first_sample + row;
        return input_is_there(p, sample, input) ? input_index(p, sample, input) * p.input_size : -1;
    });
}

// Rows of given votes for samples from first_sample on, each of `columns` components (D padded to whole column tiles)
// from an output on; zeros for absent inputs and past the `outputs` there are.
template <int kTiles>
CAPSROUTE_DEVICE void load_votes(const Plan& plan, const Shared& to, int input, int first_sample, int rows,
                                 int first_output, int outputs, int columns, int stride, int thread, int threads) {
    const RoutingProblem& p = plan.problem;
    for (int at = thread; at < rows * columns; at += threads) {
        const int row = at / columns, column = at % columns;
        const int output = column / (kTiles * kColumns), component = column % (kTiles * kColumns);
        const int sample = first_sample + row;
        const bool there = output < outputs && component < p.output_size && input_is_there(p, sample, input);
        const int64_t offset = sample * p.vote_strides[0] + input * p.vote_strides[1] +
                               (first_output + output) * p.vote_strides[2] + component * p.vote_strides[3];
        to.store(row * stride + column, there ? read_float(p.dtype, p.votes, offset) : 0.0f);
    }
}

// The parts of a stage: rows of the weight, of x, or of the votes that were given.
CAPSROUTE_DEVICE Shared staged_weight(const Plan& plan, const Shared& stage, int input) {
    return stage.part(input * plan.input_floats, plan.stage_columns * plan.stage_stride);
}
CAPSROUTE_DEVICE Shared staged_x(const Plan& plan, const Shared& stage, int input, int tile) {
    return stage.part(input * plan.input_floats + (plan.stage_columns + tile * kRows) * plan.stage_stride,
                      kRows * plan.stage_stride);
}
CAPSROUTE_DEVICE Shared staged_votes(const Plan& plan, const Shared& stage, int input, int tile) {
    return stage.part(input * plan.input_floats + tile * kRows * plan.stage_stride, kRows * plan.stage_stride);
}

template <int kTiles>
CAPSROUTE_DEVICE void load_stage(const Plan& plan, const Shared& stage, int first_tile, int first_output,
                                 int first_input, int inputs) {
    const int rows = plan.tile_warps * kRows, weight_floats = plan.stage_columns * plan.stage_stride;
    const int first_sample = first_tile * kRows, outputs = outputs_of_block(plan, first_output);
    for (int k = 0; k < inputs; ++k) {
        const int input = first_input + k;
        const Shared all = stage.part(k * plan.input_floats, plan.input_floats);
        if (plan.problem.votes) {
            load_votes<kTiles>(plan, all, input, first_sample, rows, first_output, outputs, plan.stage_columns,
                               plan.stage_stride, thread_index(), thread_count());
            continue;
        }
        load_weight<kTiles>(plan, all.part(0, weight_floats), input, first_output, outputs, plan.stage_columns,
                            thread_index(), thread_count());
        load_x(plan, all.part(weight_floats, rows * plan.stage_stride), input, first_sample, rows, thread_index(),
               thread_count());
    }
}

// Numbers that a thread does not need while votes and sums fill its registers, put away in shared memory.
class Kept {
   public:
    enum Number { phase, iteration, item, tile, first_output, first, inputs, end, slot };

    CAPSROUTE_DEVICE explicit Kept(const Shared& memory) : memory_(memory) {}

    CAPSROUTE_DEVICE void put(Number number, int value) const {
        memory_.store(number * kThreads + forgotten(thread_index()), float_of(uint32_t(value)));
    }
    CAPSROUTE_DEVICE int get(Number number) const {
        return int(bits_of(memory_.load(number * kThreads + forgotten(thread_index()))));
    }

   private:
    Shared memory_;
};

// Calls work(stage) for each stage of the item's chunk, whose tile and first output are kept, with the first input and
// their number kept, loading one stage ahead. With a resident stage only the first call for an item loads.
template <int kTiles, class Work>
CAPSROUTE_DEVICE void for_each_stage(const Plan& plan, const Shared& memory, const Kept& kept, const Item& item,
                                     bool load, Work work) {
    const auto stage_at = [&](int slot) { return memory.part(slot * plan.stage_floats, plan.stage_floats); };
    const auto first_tile = [&] { return kept.get(Kept::tile) - tile_of_warp(plan); };
    int first = item.first_input, end = first + item.inputs, slot = 0;
    if (load) {
        block_sync();  // the slots are free
        load_stage<kTiles>(plan, stage_at(0), first_tile(), kept.get(Kept::first_output), first,
                           smaller(plan.stage_inputs, end - first));
    }
    kept.put(Kept::end, end);
    bool loads = load;
    while (first < end) {
        const int next = first + plan.stage_inputs;
        if (loads) {
            wait_for_copies();
            block_sync();
            if (next < end) {
                load_stage<kTiles>(plan, stage_at(slot ^ 1), first_tile(), kept.get(Kept::first_output), next,
                                   smaller(plan.stage_inputs, end - next));
            }
        }
        kept.put(Kept::first, first);
        kept.put(Kept::inputs, smaller(plan.stage_inputs, end - first));
        kept.put(Kept::slot, slot ^ 1);
        work(stage_at(slot));
        first = kept.get(Kept::first) + plan.stage_inputs;
        end = kept.get(Kept::end);
        slot = kept.get(Kept::slot);
        loads = true;  // a resident stage has no second
    }
}

}  // namespace capsroute::cuda
