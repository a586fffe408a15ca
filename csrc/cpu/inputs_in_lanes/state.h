// Votes kept in a cache for all passes, inputs in the lanes: what the driver (routing.cpp) and the kernels of each
// instruction set share. Plain data, no code.
//
// A few samples, a wave, go through all iterations together. Their votes are made once from weights that are read once
// per wave, and stay in the second or third level of cache until the next wave overwrites them.
#pragma once

#include "../../capsroute.h"

namespace capsroute::cpu {

// N is the number of lanes, as in State. A block is N inputs; lanes past the last input hold zeros and count as absent.
// "Samples" here are those of one wave, counted from 0.
template <class T>
struct KeptState {
    RoutingProblem problem;
    int64_t votes_per_input;  // J * D
    int64_t wave;             // samples at once
    int64_t blocks;           // of inputs
    int64_t chunks;           // of blocks; follows from the sizes alone, as the wave does
    int64_t chunk_blocks;

    T* x;            // [blocks, wave, d, N]
    T* votes;        // [blocks, wave, J*D, N]
    T* partial;      // [chunks, wave, J*D]; sums over the inputs of a chunk
    T* partial_max;  // [chunks, wave, J]; softmax over inputs: largest logit and sum of exponentials of a chunk
    T* partial_sum;
    T* query;    // Q: [wave, J*D] in forward, [T, wave, J*D] in backward
    T* uniform;  // [wave, J]; coupling of the first iteration without initial logits

    // Backward only.
    T* slope;         // a: [T, wave, J*D]; gradient with respect to the vectors before the squash
    T* carried;       // A: [wave, J*D]; gradient with respect to v of the iteration before
    T* mean;          // [T, wave, J]; softmax over inputs: sum over i of c p
    T* coefficients;  // [blocks, wave, slots, 2, J, N]; c and the gradient of the logits, of the iterations that have
                      // them
    int64_t first_slot;  // the iteration of slot 0
    int64_t slots;
    T* sum_weight;        // [I, J, D, d]; of all waves so far, where the gradient is stored in another type
    T* sum_logits;        // [blocks, J, N]; of all waves so far, only for logits [I, J]
    T* sum_bias;          // [J*D]; of all waves so far
    T* sum_input_weight;  // [blocks, wave, N]; of the iterations so far

    T* scratch;  // [threads, scratch_size]
    int64_t scratch_size;
};

// The samples that are taken through all iterations together.
struct Wave {
    int64_t first;    // in the batch
    int64_t samples;  // at most KeptState::wave
    bool last;        // of the batch
};

// The kernels of one instruction set for one accumulation type. Each call is serial work on one item.
template <class T>
struct KeptKernels {
    void (*make)(const KeptState<T>&, const Wave&, int64_t chunk, bool add_up, T* scratch);
    void (*forward_pass)(const KeptState<T>&, const Wave&, int64_t iteration, int64_t chunk, int64_t sample,
                         T* scratch);
    void (*forward_step)(const KeptState<T>&, const RoutingForward&, const Wave&, int64_t iteration, int64_t sample);

    void (*backward_start)(const KeptState<T>&, const RoutingBackward&, const Wave&, int64_t sample);
    void (*backward_pass)(const KeptState<T>&, const RoutingBackward&, const Wave&, int64_t iteration, int64_t chunk,
                          int64_t sample, T* scratch);
    void (*backward_step)(const KeptState<T>&, const RoutingBackward&, const Wave&, int64_t iteration, int64_t sample);
    void (*last_pass)(const KeptState<T>&, const RoutingBackward&, const Wave&, int64_t block, T* scratch);
    void (*finish_bias)(const KeptState<T>&, const RoutingBackward&, const Wave&);
};

// What one call may use of a thread's scratch.
template <class T>
struct KeptScratch {
    T* terms;  // [2, chunk_blocks, J, N]; logits, then coefficients, of one sample
    T* sums;   // [J*D, N]; sums over the blocks of a chunk, lane by lane
    T* panel;  // [kPanel, N]; weights of some votes, inputs in the lanes
    T* pose;   // [wave, d, N]; gradient of x of a block
    int64_t size;
};

constexpr int64_t kPanel = 256;  // weights that are turned into the lanes at once, unless one vote has more

// Votes whose weights make up a panel: a whole number of rows of registers where that is possible.
static inline int64_t panel_votes(int64_t size, int64_t lanes) {
    int64_t unit = lanes;  // the least number of votes whose weights fill registers
    for (int64_t common = 2; common <= lanes && size % common == 0; common *= 2) unit = lanes / common;
    const int64_t units = kPanel / (unit * size);
    return unit * (units > 1 ? units : 1);
}

template <class T>
static inline KeptScratch<T> divide_scratch(const KeptState<T>& state, T* from) {
    const RoutingProblem& problem = state.problem;
    const int64_t lanes = 64 / int64_t(sizeof(T));
    int64_t used = 0;
    const auto take = [&](int64_t count) {
        T* piece = from ? from + used : nullptr;  // none where only the size is asked for
        used += count;
        return piece;
    };
    KeptScratch<T> out;
    out.terms = take(2 * state.chunk_blocks * problem.outputs * lanes);
    out.sums = take(state.votes_per_input * lanes);
    out.panel = take((panel_votes(problem.input_size, lanes) * problem.input_size + lanes) * lanes);
    out.pose = take(state.wave * problem.input_size * lanes);
    out.size = used;
    return out;
}

}  // namespace capsroute::cpu
