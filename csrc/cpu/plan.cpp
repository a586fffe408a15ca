#include "plan.h"

#include <algorithm>

#include "choice.h"
#include "dispatch.h"

namespace capsroute::cpu {
namespace {

constexpr int64_t kTargetItems = 64;              // enough to keep many threads busy to the end of a pass
constexpr int64_t kChunkWeightBytes = 256 << 10;  // the weights of a chunk stay in a second-level cache
constexpr int64_t kHeldBytes = 512 << 10;         // of the converted weights of a chunk
constexpr int64_t kPartialBytes = 4 << 20;        // of all chunks; smaller chunks would cost more memory than they save
constexpr int64_t kChunkInputs = 1024;         // at most: float32 sums of more, one by one, lose too much to rounding
constexpr int64_t kPartWeightBytes = 8 << 20;  // of all parts of the weight gradient

// Chunks of inputs for the passes whose items are (chunk, tile).
template <class T>
void divide_inputs(State<T>& state) {
    const RoutingProblem& p = state.problem;
    if (state.keeps_votes) {
        state.chunk_inputs = p.inputs;
        state.chunks = 1;
        return;
    }
    const int64_t lanes = kTileBytes / int64_t(sizeof(T)), tiles = std::max<int64_t>(state.tiles, 1);
    const int64_t size = p.votes ? 1 : p.input_size;
    const int64_t for_threads = divide_up(kTargetItems, tiles);
    const int64_t weight_bytes = state.votes_per_input * size * int64_t(sizeof(T));
    const int64_t for_cache = divide_up(p.inputs, std::max<int64_t>(kChunkWeightBytes / weight_bytes, 1));
    const int64_t one_chunk = tiles * state.votes_per_input * lanes * int64_t(sizeof(T));
    const int64_t affordable = std::max<int64_t>(kPartialBytes / one_chunk, 1);
    // Threads get their items even where the partial sums are large, but no chunk is made of fewer than 8 inputs.
    const int64_t wanted = std::max(
        {std::min(for_cache, affordable), std::min(for_threads, 2 * affordable), divide_up(p.inputs, kChunkInputs)});
    const int64_t chunks = std::clamp<int64_t>(wanted, 1, divide_up(p.inputs, 8));
    state.chunk_inputs = divide_up(p.inputs, chunks);
    state.chunks = divide_up(p.inputs, state.chunk_inputs);
}

// Groups of weights and parts of the pairs that share a weight, for the last backward pass.
template <class T>
void divide_weights(State<T>& state) {
    const RoutingProblem& p = state.problem;
    state.weight_inputs = p.votes ? p.inputs : p.weight_inputs;
    state.groups = std::min(state.weight_inputs, kTargetItems);
    state.group_inputs = divide_up(state.weight_inputs, state.groups);
    state.groups = divide_up(state.weight_inputs, state.group_inputs);
    const int64_t pairs = p.inputs / state.weight_inputs * state.tiles;
    const int64_t size = p.votes ? 0 : p.input_size;
    const int64_t one_part = state.weight_inputs * state.votes_per_input * size * int64_t(sizeof(T)) +
                             p.inputs * p.outputs * int64_t(sizeof(T));
    const int64_t affordable = std::max<int64_t>(kPartWeightBytes / one_part, 1);
    const int64_t wanted = std::min(divide_up(kTargetItems, state.groups), affordable);
    state.part_pairs = std::max<int64_t>(divide_up(pairs, std::max<int64_t>(wanted, 1)), 1);
    state.parts = std::max<int64_t>(divide_up(pairs, state.part_pairs), 1);
}

}  // namespace

template <class T>
int64_t plan(const RoutingProblem& problem, Direction direction, Wanted wanted, void* workspace, State<T>& state,
             bool pass_alone) {
    const RoutingProblem p = without_idle_iterations(problem);
    const bool backward = direction == Direction::backward;
    const int64_t lanes = kTileBytes / int64_t(sizeof(T));
    state = {};
    state.problem = p;
    state.votes_per_input = p.outputs * p.output_size;
    state.tiles = divide_up(p.batch, lanes);
    state.pairs = p.dtype == DType::bfloat16 && !p.votes && p.input_size % 2 == 0 && multiplies_pairs();
    state.keeps_votes = !pass_alone && votes_for(p) == CpuVotes::tile;
    divide_inputs(state);
    divide_weights(state);
    state.holds_weights = is_half(p.dtype) && !p.votes && !state.pairs && p.weight_inputs == p.inputs &&
                          state.chunk_inputs * state.votes_per_input * p.input_size * int64_t(sizeof(T)) <= kHeldBytes;

    const int64_t tiles = state.tiles, votes = state.votes_per_input, T_ = p.iterations;
    Arena arena(workspace);
    state.present = arena.take<T>(p.output_mask != nullptr, {tiles, p.outputs, lanes});
    state.uniform = arena.take<T>(true, {tiles, p.outputs, lanes});
    state.query = arena.take<T>(true, {backward ? T_ : 1, tiles, votes, lanes});
    state.partial = arena.take<T>(true, {state.chunks, tiles, votes, lanes});
    const bool online = p.softmax_over_inputs && !backward;
    state.partial_max = arena.take<T>(online, {state.chunks, tiles, p.outputs, lanes});
    state.partial_sum = arena.take<T>(online, {state.chunks, tiles, p.outputs, lanes});
    state.slope = arena.take<T>(backward, {T_, tiles, votes, lanes});
    state.carried = arena.take<T>(backward, {tiles, votes, lanes});
    const bool saved_sums = p.softmax_over_inputs && backward;
    state.normaliser = arena.take<T>(saved_sums, {T_, tiles, 2, p.outputs, lanes});
    state.mean = arena.take<T>(saved_sums, {T_, tiles, p.outputs, lanes});
    state.part_weight =
        arena.take<T>(wanted.weight && state.parts > 1, {state.parts, p.weight_inputs, votes, p.input_size});
    state.part_logits = arena.take<T>(wanted.logits && !p.logits_per_sample, {state.parts, p.inputs, p.outputs});
    state.scratch_size = divide_scratch<T>(state, nullptr).size;
    state.scratch = arena.take<T>(true, {int64_t{p.threads}, state.scratch_size});
    return arena.bytes();
}

template int64_t plan(const RoutingProblem&, Direction, Wanted, void*, State<float>&, bool);
template int64_t plan(const RoutingProblem&, Direction, Wanted, void*, State<double>&, bool);

}  // namespace capsroute::cpu
