// What the driver (routing.cpp) and the kernels of each instruction set share: plain data, no code.
#pragma once

#include "../capsroute.h"
#include "inputs_in_lanes/state.h"

namespace capsroute::cpu {

constexpr int kTileBytes = 64;  // a tile is as many samples as fill 64 bytes: 16 floats or 8 doubles

// A problem, its division into work items, and its workspace. T is the accumulation type, N the samples of a tile.
// "Tile layout" is [tiles, ..., N]: the samples of a tile stand side by side. Lanes past the batch hold zeros.
template <class T>
struct State {
    RoutingProblem problem;
    int64_t votes_per_input;  // J * D
    int64_t tiles;            // of N samples
    int64_t chunks;           // of inputs; follows from the sizes alone, as does everything that orders a sum
    int64_t chunk_inputs;
    bool pairs;          // x and weights are multiplied as pairs of bfloat16 numbers
    bool holds_weights;  // of a chunk, converted, for the tiles that a thread takes one after the other
    bool keeps_votes;    // a thread takes a tile through all passes and keeps its votes; then there is one chunk

    T* present;  // [tiles, J, N]; 1 or 0; null without an output mask
    T* uniform;  // [tiles, J, N]; coupling of the first iteration without initial logits

    T* query;        // Q: [tiles, J*D, N] in forward, [T, tiles, J*D, N] in backward
    T* partial;      // [chunks, tiles, J*D, N]; sums over a chunk of inputs
    T* partial_max;  // [chunks, tiles, J, N]; softmax over inputs: largest logit and sum of exponentials of a chunk
    T* partial_sum;

    // Backward only.
    T* slope;       // a: [T, tiles, J*D, N]; gradient with respect to the vectors before the squash
    T* carried;     // A: [tiles, J*D, N]; gradient with respect to v of the iteration before
    T* normaliser;  // [T, tiles, 2 J, N]; softmax over inputs: largest logits, and 1 / sums of exp(logit - largest)
    T* mean;        // [T, tiles, J, N]; softmax over inputs: sum over i of c p

    int64_t weight_inputs;  // of the last pass: I_w, or I when votes are given
    int64_t groups;         // of weight inputs: the items of the last pass are groups x parts
    int64_t group_inputs;
    int64_t parts;  // of the (input repeat, tile) pairs that share a weight
    int64_t part_pairs;
    T* part_weight;  // [parts, I_w, J, D, d]; null with one part
    T* part_logits;  // [parts, I, J]; only for logits [I, J]

    T* scratch;  // [threads, scratch_size]
    int64_t scratch_size;
};

// The kernels of one instruction set for one accumulation type. Each call is serial work on one item.
template <class T>
struct Kernels {
    void (*prepare)(const State<T>&, int64_t tile);

    void (*forward_pass)(const State<T>&, int64_t iteration, int64_t chunk, int64_t tile, T* scratch);
    void (*forward_step)(const State<T>&, const RoutingForward&, int64_t iteration, int64_t tile);

    void (*backward_start)(const State<T>&, const RoutingBackward&, int64_t tile);
    void (*backward_pass)(const State<T>&, int64_t iteration, int64_t chunk, int64_t tile, T* scratch);
    void (*backward_step)(const State<T>&, const RoutingBackward&, int64_t iteration, int64_t tile);
    void (*last_pass)(const State<T>&, const RoutingBackward&, int64_t group, int64_t part, T* scratch);
    void (*finish_weight)(const State<T>&, const RoutingBackward&, int64_t weight_input);
    void (*finish_logits)(const State<T>&, const RoutingBackward&, int64_t input);
    void (*finish_bias)(const State<T>&, const RoutingBackward&, int64_t output);

    void (*start_forward_pass)(const State<T>&, const RoutingForwardPass&, int64_t tile);
    void (*finish_forward_pass)(const State<T>&, const RoutingForwardPass&, int64_t tile);
    void (*start_backward_pass)(const State<T>&, const RoutingBackwardPass&, int64_t tile);
    void (*finish_backward_pass)(const State<T>&, const RoutingBackwardPass&, int64_t tile);
    void (*start_last_pass)(const State<T>&, const RoutingLastPass&, int64_t tile);

    void (*agreement_start)(const State<T>&, const RoutingAgreement&, int64_t tile);
    void (*agreement_pass)(const State<T>&, const RoutingAgreement&, int64_t chunk, int64_t tile, T* scratch);
};

struct KernelTable {
    Kernels<float> of_float;
    Kernels<double> of_double;
    KeptKernels<float> kept_of_float;
    KeptKernels<double> kept_of_double;
    bool multiplies_pairs;  // of bfloat16, on processors that can
};

constexpr int64_t kLastInputs = 2;  // the last pass takes so many inputs at once

// What one call may use of a thread's scratch, which begins with zeros when the op begins. The last pass has room for
// kLastInputs inputs, one after the other, in all but `kept`.
template <class T>
struct Scratch {
    int64_t* held;  // 1 + the chunk whose weights are in chunk_row, or 0
    T* chunk_row;   // [chunk_inputs, J, D, d]; the weights of a chunk in the accumulation type; null where not held
    T* x;           // [max(chunk_inputs, kLastInputs), d, N]; the inputs of a chunk for a tile
    T* votes;       // [J*D rounded up to N, N]; the votes of one input for a tile, then their gradient
    T* terms;   // [2 T + 1, J, N]; per iteration coupling coefficients and logit gradients, and the sum of the latter
    T* row;     // [J, D, d]; one input's weight in the accumulation type, where it is stored in another
    T* update;  // [J*D rounded up to N, d]; gradient of one input's weight, in blocks of [d, N]
    T* pose;    // [d, N]; gradient of one input for a tile
    T* apart;   // [d, N]; x of one input, where x consists of pairs
    T* kept;    // [I, J*D, N]; the votes of a tile, where they are kept
    int64_t size;
};

template <class T>
static inline Scratch<T> divide_scratch(const State<T>& state, T* from) {
    const RoutingProblem& problem = state.problem;
    const int64_t lanes = kTileBytes / int64_t(sizeof(T));
    const int64_t votes = (state.votes_per_input + lanes - 1) / lanes * lanes;
    const int64_t size = problem.votes ? 1 : problem.input_size;
    const bool converted = problem.dtype == DType::bfloat16 || problem.dtype == DType::float16;
    const int64_t inputs = state.chunk_inputs > kLastInputs ? state.chunk_inputs : kLastInputs;
    int64_t used = 0;
    const auto take = [&](int64_t count) {
        T* piece = from ? from + used : nullptr;  // none where only the size is asked for
        used += (count + lanes - 1) / lanes * lanes;
        return piece;
    };
    Scratch<T> out;
    out.held = reinterpret_cast<int64_t*>(take(lanes));
    out.chunk_row = state.holds_weights ? take(state.chunk_inputs * state.votes_per_input * size) : nullptr;
    out.x = take(problem.votes ? 0 : inputs * size * lanes);
    out.votes = take(kLastInputs * votes * lanes);
    out.terms = take(kLastInputs * (2 * problem.iterations + 1) * problem.outputs * lanes);
    out.row = take(converted ? kLastInputs * state.votes_per_input * size : 0);
    out.update = take(kLastInputs * votes * size);
    out.pose = take(kLastInputs * size * lanes);
    out.apart = take(state.pairs ? kLastInputs * size * lanes : 0);
    out.kept = take(state.keeps_votes ? problem.inputs * state.votes_per_input * lanes : 0);
    out.size = used;
    return out;
}

// The scratch of the n-th input of those that the last pass takes at once.
template <class T>
static inline Scratch<T> scratch_of_last(const State<T>& state, Scratch<T> scratch, int64_t n) {
    const RoutingProblem& problem = state.problem;
    const int64_t lanes = kTileBytes / int64_t(sizeof(T));
    const int64_t votes = (state.votes_per_input + lanes - 1) / lanes * lanes;
    const int64_t size = problem.votes ? 1 : problem.input_size;
    scratch.x += n * (state.pairs ? size / 2 : size) * lanes;
    scratch.votes += n * votes * lanes;
    scratch.terms += n * (2 * problem.iterations + 1) * problem.outputs * lanes;
    scratch.row += n * state.votes_per_input * size;
    scratch.update += n * votes * size;
    scratch.pose += n * size * lanes;
    scratch.apart += n * size * lanes;
    return scratch;
}

}  // namespace capsroute::cpu
