#include "plan.h"

#include <algorithm>

#include "../../shared/options.h"

namespace capsroute::cpu {
namespace {

constexpr int64_t kKeptBytes = 8 << 20;  // votes of a wave; shared by the threads, so of the last level of cache
constexpr int64_t kFewBytes = 4 << 20;   // of a wave of a batch of at most kFew samples
constexpr int64_t kFew = 16;
constexpr int64_t kAlwaysBytes = 1 << 20;   // may be kept however small the whole problem is
constexpr int64_t kBatchShare = 24;         // else a wave has this share of the batch, to stay small beside its votes
constexpr int64_t kTargetItems = 32;        // of a pass; enough to keep some threads busy to its end
constexpr int64_t kChunkBytes = 192 << 10;  // votes of a chunk and sample stay in a second-level cache

int64_t bytes_per_sample(const RoutingProblem& p) {
    return divide_up(p.inputs, lanes_of(p)) * kTileBytes * p.outputs * p.output_size;
}

}  // namespace

int64_t samples_of_wave(const RoutingProblem& p) {
    const int64_t batch = std::max<int64_t>(p.batch, 1), affordable = kKeptBytes / bytes_per_sample(p);
    const int64_t allowed = (batch <= kFew ? kFewBytes : kAlwaysBytes) / bytes_per_sample(p);
    const int64_t wanted = std::max({batch / kBatchShare, allowed, int64_t{1}});
    const int64_t most = std::min({affordable, wanted, batch});
    return most > 0 ? divide_up(batch, divide_up(batch, most)) : 0;  // waves of one size
}

template <class T>
int64_t plan(const RoutingProblem& problem, Direction direction, Wanted wanted, void* workspace, KeptState<T>& state) {
    const RoutingProblem p = without_idle_iterations(problem);
    const bool backward = direction == Direction::backward;
    const int64_t lanes = lanes_of(p), T_ = p.iterations;
    state = {};
    state.problem = p;
    state.votes_per_input = p.outputs * p.output_size;
    state.blocks = divide_up(p.inputs, lanes);
    const int64_t count = state.votes_per_input;
    state.wave = std::max<int64_t>(samples_of_wave(p), 1);
    const int64_t for_items = divide_up(kTargetItems, state.wave);
    const int64_t for_cache = divide_up(bytes_per_sample(p), kChunkBytes);
    const int64_t chunks = std::clamp<int64_t>(std::max(for_items, for_cache), 1, divide_up(state.blocks, 2));
    state.chunk_blocks = divide_up(state.blocks, chunks);
    state.chunks = divide_up(state.blocks, state.chunk_blocks);

    state.first_slot = first_iteration(p);
    if (is_uniform(p, state.first_slot)) state.first_slot = 2;  // the uniform coupling needs no slot
    state.slots = backward ? std::max<int64_t>(T_ - state.first_slot + 1, 0) : 0;
    const int64_t wave = state.wave, blocks = state.blocks;
    Arena arena(workspace);
    state.x = arena.take<T>(true, {blocks, wave, p.input_size, lanes});
    state.votes = arena.take<T>(true, {blocks, wave, count, lanes});
    state.partial = arena.take<T>(true, {state.chunks, wave, count});
    const bool online = p.softmax_over_inputs && !backward;
    state.partial_max = arena.take<T>(online, {state.chunks, wave, p.outputs});
    state.partial_sum = arena.take<T>(online, {state.chunks, wave, p.outputs});
    state.query = arena.take<T>(true, {backward ? T_ : 1, wave, count});
    state.uniform = arena.take<T>(true, {wave, p.outputs});
    state.slope = arena.take<T>(backward, {T_, wave, count});
    state.carried = arena.take<T>(backward, {wave, count});
    state.mean = arena.take<T>(backward && p.softmax_over_inputs, {T_, wave, p.outputs});
    state.coefficients = arena.take<T>(state.slots > 0, {blocks, wave, state.slots, 2, p.outputs, lanes});
    state.sum_weight = arena.take<T>(wanted.weight && is_half(p.dtype), {p.inputs, count, p.input_size});
    state.sum_logits = arena.take<T>(wanted.logits && !p.logits_per_sample, {blocks, p.outputs, lanes});
    state.sum_input_weight = arena.take<T>(wanted.input_weight, {blocks, wave, lanes});
    state.sum_bias = arena.take<T>(backward && p.bias, {count});
    state.scratch_size = divide_scratch<T>(state, nullptr).size;
    state.scratch = arena.take<T>(true, {int64_t{p.threads}, state.scratch_size});
    return arena.bytes();
}

template int64_t plan(const RoutingProblem&, Direction, Wanted, void*, KeptState<float>&);
template int64_t plan(const RoutingProblem&, Direction, Wanted, void*, KeptState<double>&);

}  // namespace capsroute::cpu
