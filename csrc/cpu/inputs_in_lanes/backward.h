// Backward with kept votes: as in backward.h, but the votes are made once, and the coefficients that the last pass
// needs are kept from the passes before it. Internal linkage, see simd.h.
#pragma once

#include "forward.h"
#include "rows.h"

namespace {

using capsroute::RoutingBackward;

// a = squash'(s)^T (scale gradient) for one output, s including the bias; see squash_backward in backward.h.
// `without_bias` is what forward saved.
template <class T>
inline void kept_squash_backward(const KeptState<T>& state, const Wave& wave, int64_t iteration, int64_t sample,
                                 int64_t output, T scale, const T* without_bias, const T* gradient, T* slope) {
    const RoutingProblem& problem = state.problem;
    const int64_t size = problem.output_size;
    const bool there = output_there(state, wave, sample, output);
    const auto with_bias = [&](int64_t k) {
        const T bias = problem.bias ? read<T>(problem.dtype, problem.bias, output * size + k) : T(0);
        return without_bias[k] + bias;
    };
    T squared = 0, along = 0;  // |s|^2 and s . gradient
    for (int64_t k = 0; k < size; ++k) {
        const T s = with_bias(k);
        squared += s * s;
        along += s * (scale * gradient[k]);
    }
    const capsroute::SquashFactors<T> squash = squash_of_number(problem, iteration, squared);
    const T s_factor = squash.slope * (squash.unit * along);
    for (int64_t k = 0; k < size; ++k) {
        const T a = there ? squash.factor * (scale * gradient[k]) + s_factor * (squash.unit * with_bias(k)) : T(0);
        slope[k] = a;
    }
    if (!state.mean) return;
    at_sample(state, state.mean, iteration - 1, sample, problem.outputs)[output] =
        product_like_kept(size, without_bias, slope);
}

template <class T>
inline const T* saved_sums(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                           int64_t iteration, int64_t sample) {
    const int64_t row = (iteration - 1) * state.problem.batch + wave.first + sample;
    return static_cast<const T*>(buffers.pre_squash) + row * state.votes_per_input;
}

template <class T>
inline T* kept_slope(const KeptState<T>& state, int64_t iteration, int64_t sample) {
    return at_sample(state, state.slope, iteration - 1, sample, state.votes_per_input);
}

template <class T>
inline T* kept_query(const KeptState<T>& state, int64_t iteration, int64_t sample) {
    return at_sample(state, state.query, iteration - 1, sample, state.votes_per_input);
}

// The queries of all iterations from the saved s, and a of the last iteration.
template <class T>
void kept_backward_start(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave, int64_t sample) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs, size = problem.output_size, count = state.votes_per_input;
    uniform_coupling(state, wave, sample);
    for (int64_t k = 0; k < count; ++k) kept_query(state, 1, sample)[k] = 0;
    for (int64_t t = 1; t < problem.iterations; ++t) {
        const T* saved = saved_sums(state, buffers, wave, t, sample);
        T* next = kept_query(state, t + 1, sample);
        for (int64_t k = 0; k < count; ++k) {
            next[k] = saved[k];
            if (problem.bias) next[k] += read<T>(problem.dtype, problem.bias, k);
        }
        for (int64_t j = 0; j < outputs; ++j) {
            T* s = next + j * size;
            advance_query(state, output_there(state, wave, sample, j), t, s, kept_query(state, t, sample) + j * size,
                          s);
        }
    }
    T* carried = at_sample(state, state.carried, 0, sample, count);
    const T* saved = saved_sums(state, buffers, wave, problem.iterations, sample);
    T* slope = kept_slope(state, problem.iterations, sample);
    for (int64_t k = 0; k < count; ++k) {
        carried[k] = 0;
        slope[k] = read<T>(problem.dtype, buffers.grad_output, (wave.first + sample) * count + k);
    }
    for (int64_t j = 0; j < outputs; ++j) {
        T* of_output = slope + j * size;
        kept_squash_backward(state, wave, problem.iterations, sample, j, T(1), saved + j * size, of_output, of_output);
    }
}

// Softmax over the inputs when its largest logit and sum are known, for one block, in place.
template <class T>
inline void softmax_over_inputs(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                                int64_t iteration, int64_t block, int64_t sample, T* logits) {
    const RoutingProblem& problem = state.problem;
    const int64_t row = (iteration - 1) * problem.batch + wave.first + sample;
    const T* normaliser = static_cast<const T*>(buffers.normaliser) + 2 * row * problem.outputs;
    const bool masked = has_absent_inputs(state, block);
    const Pack<T> zero = splat(T(0)), there = masked ? inputs_present(state, wave, block, sample) : zero;
    for (int64_t j = 0; j < problem.outputs; ++j) {
        T* logit = logits + j * kLanes<T>;
        Pack<T> c = exp_nonpositive(load(logit) - splat(normaliser[j])) * splat(normaliser[problem.outputs + j]);
        if (masked) c = select(there, c, zero);
        store(logit, output_there(state, wave, sample, j) ? c : zero);
    }
}

// Coupling coefficients c of one iteration, times the input weights, and the gradient of its logits, c (p - mean), for
// one block. On entry c holds Q . votes and gradient a . votes. Returns the gradient of the input weights.
template <class T>
inline Pack<T> kept_logit_gradients(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                                    int64_t iteration, int64_t block, int64_t sample, T* c, T* gradient) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs;
    const Pack<T> zero = splat(T(0));
    add_initial_logits(state, wave, iteration, block, sample, c);
    if (problem.softmax_over_inputs) {
        softmax_over_inputs(state, buffers, wave, iteration, block, sample, c);
    } else {
        couple_outputs(state, wave, block, sample, c);
    }
    Pack<T> along = zero;  // sum over j of c (a . votes)
    for (int64_t j = 0; j < outputs; ++j) {
        if (!output_there(state, wave, sample, j)) continue;
        along = fma(load(c + j * kLanes<T>), load(gradient + j * kLanes<T>), along);
    }
    const Pack<T> weights = problem.input_weight ? weights_of_block(state, wave, block, sample) : splat(T(1));
    Pack<T> mean = weights * along;
    const T* means = state.mean ? at_sample(state, state.mean, iteration - 1, sample, outputs) : nullptr;
    for (int64_t j = 0; j < outputs; ++j) {
        if (means) mean = splat(means[j]);
        T* to = gradient + j * kLanes<T>;
        const Pack<T> p = weights * load(to);
        const Pack<T> own = problem.coupling_given ? p : load(c + j * kLanes<T>) * (p - mean);
        store(to, output_there(state, wave, sample, j) ? own : zero);
    }
    weigh_coupling(state, wave, block, sample, c);
    return along;
}

// c, and the gradient of the logits behind it, of a block, a sample and an iteration that has a slot.
template <class T>
inline T* coefficients_of(const KeptState<T>& state, int64_t iteration, int64_t block, int64_t sample) {
    const int64_t row = state.problem.outputs * kLanes<T>;
    return state.coefficients + ((block * state.wave + sample) * state.slots + iteration - state.first_slot) * 2 * row;
}

// Fills the coefficients of one iteration for some blocks of a chunk.
template <class T>
inline void fill_coefficients(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                              int64_t iteration, Blocks blocks, int64_t sample, T* terms) {
    const int64_t row = state.problem.outputs * kLanes<T>;
    T* gradients = terms + (blocks.end - blocks.begin) * row;
    const T* slope = kept_slope(state, iteration, sample);
    if (iteration == 1) {  // V is 0, and 0 times a vote that is not finite is not 0
        for (T* c = terms; c < gradients; ++c) *c = 0;
        chunk_products<1>(state, blocks, sample, slope, slope, gradients, gradients);
    } else {
        chunk_products<2>(state, blocks, sample, kept_query(state, iteration, sample), slope, terms, gradients);
    }
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
        T* c = terms_of(state, terms, block - blocks.begin);
        T* gradient = terms_of(state, gradients, block - blocks.begin);
        const Pack<T> along = kept_logit_gradients(state, buffers, wave, iteration, block, sample, c, gradient);
        if (state.sum_input_weight) {
            T* sum = at_block(state, state.sum_input_weight, block, sample, 1);
            store(sum, iteration == state.problem.iterations ? along : load(sum) + along);
        }
        T* to = coefficients_of(state, iteration, block, sample);
        for (int64_t k = 0; k < row; k += kLanes<T>) {
            store(to + k, load(c + k));
            store(to + row + k, load(gradient + k));
        }
    }
}

// partial = sum over a chunk of inputs of (gradient of the logits) votes: what the query of the iteration is asked for.
template <class T>
void kept_backward_pass(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave, int64_t iteration,
                        int64_t chunk, int64_t sample, T* scratch_memory) {
    const KeptScratch<T> scratch = divide_scratch(state, scratch_memory);
    const Blocks blocks = blocks_of(state, chunk);
    fill_coefficients(state, buffers, wave, iteration, blocks, sample, scratch.terms);
    const T* gradients = scratch.terms + (blocks.end - blocks.begin) * state.problem.outputs * kLanes<T>;
    weighted_sums(state, blocks, sample, gradients, scratch.sums,
                  at_sample(state, state.partial, chunk, sample, state.votes_per_input));
}

// Adds the chunks up and goes through the squash of the iteration before.
template <class T>
void kept_backward_step(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave, int64_t iteration,
                        int64_t sample) {
    const int64_t count = state.votes_per_input, size = state.problem.output_size;
    T* carried = at_sample(state, state.carried, 0, sample, count);
    // The query is also asked for through that of the next iteration, which keeps some of it; nothing came before T.
    const T keep = iteration < state.problem.iterations ? T(capsroute::query_keep(state.problem, iteration)) : T(0);
    for (int64_t chunk = 0; chunk < state.chunks; ++chunk) {
        const T* part = at_sample(state, state.partial, chunk, sample, count);
        for (int64_t k = 0; k < count; ++k) carried[k] = (chunk == 0 ? keep * carried[k] : carried[k]) + part[k];
    }
    const T add = T(capsroute::query_add(state.problem, iteration - 1));
    const T* saved = saved_sums(state, buffers, wave, iteration - 1, sample);
    T* slope = kept_slope(state, iteration - 1, sample);
    for (int64_t j = 0; j < state.problem.outputs; ++j) {
        kept_squash_backward(state, wave, iteration - 1, sample, j, add, saved + j * size, carried + j * size,
                             slope + j * size);
    }
}

// The terms that make up the gradient of the votes of one block and sample: a vector of plain numbers, a^t or V^{t-1},
// times coefficients in the lanes, for each iteration that counts.
template <class T>
struct KeptVoteGradient {
    const KeptState<T>& state;
    const Wave& wave;
    int64_t block, sample;
    bool uniform;  // the first iteration counts and has the uniform coupling
    bool through_logits;
    int64_t first_of_votes;
    Pack<T> there;

    KeptVoteGradient(const KeptState<T>& state, const Wave& wave, int64_t block, int64_t sample)
        : state(state),
          wave(wave),
          block(block),
          sample(sample),
          uniform(capsroute::first_iteration_of_votes(state.problem) == 1 && capsroute::is_uniform(state.problem, 1)),
          through_logits(state.problem.gradient == capsroute::Gradient::all),
          first_of_votes(capsroute::first_iteration_of_votes(state.problem)),
          there(has_absent_inputs(state, block) ? inputs_present(state, wave, block, sample) : splat(T(1))) {}

    // to[k] .. = the gradient of kBlock votes of output j.
    template <int kBlock>
    CAPSROUTE_INLINE void combine(int64_t j, int64_t k, T* to) const {
        const int64_t row = state.problem.outputs * kLanes<T>;
        Pack<T> sum[kBlock];
        const Pack<T> same =
            uniform ? there * splat(at_sample(state, state.uniform, 0, sample, state.problem.outputs)[j]) : splat(T(0));
        const T* first = kept_slope(state, 1, sample) + k;
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) {
            sum[b] = uniform ? splat(first[b]) * same : same;
        }
        const int64_t first_with_slot = first_of_votes > state.first_slot ? first_of_votes : state.first_slot;
        for (int64_t t = first_with_slot; t <= state.problem.iterations; ++t) {
            const T* terms = coefficients_of(state, t, block, sample) + j * kLanes<T>;
            const Pack<T> c = load(terms);
            const T* slope = kept_slope(state, t, sample) + k;
            _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) sum[b] = fma(slope[b], c, sum[b]);
            if (!through_logits || t == 1) continue;
            const Pack<T> g = load(terms + row);
            const T* query = kept_query(state, t, sample) + k;
            _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) sum[b] = fma(query[b], g, sum[b]);
        }
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) store(to + b * kLanes<T>, sum[b]);
    }

    // Replaces the votes by their gradient.
    void replace_votes() const {
        const int64_t size = state.problem.output_size;
        T* votes = at_block(state, state.votes, block, sample, state.votes_per_input);
        for (int64_t j = 0; j < state.problem.outputs; ++j) {
            int64_t k = j * size;
            for (; k + kSums <= (j + 1) * size; k += kSums) combine<kSums>(j, k, votes + k * kLanes<T>);
            for (; k < (j + 1) * size; ++k) combine<1>(j, k, votes + k * kLanes<T>);
        }
    }
};

// The gradient of the initial logits of one block and sample: per sample it is stored, else the samples are added up.
template <class T>
inline void kept_logits_gradient(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                                 int64_t block, int64_t sample) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs, row = outputs * kLanes<T>, inputs = inputs_in_block(state, block);
    for (int64_t j = 0; j < outputs; ++j) {
        Pack<T> sum = splat(T(0));
        for (int64_t t = state.first_slot; t <= problem.iterations; ++t) {
            const Pack<T> part = splat(T(capsroute::logit_factor(problem, t)));
            sum = fma(part, load(coefficients_of(state, t, block, sample) + row + j * kLanes<T>), sum);
        }
        if (!problem.logits_per_sample) {
            T* total = state.sum_logits + block * row + j * kLanes<T>;
            store(total, wave.first + sample == 0 ? sum : load(total) + sum);
            sum = load(total);
        }
        const bool finished = problem.logits_per_sample || (wave.last && sample + 1 == wave.samples);
        if (!finished) continue;
        alignas(64) T lanes[kLanes<T>];
        store(lanes, sum);
        const int64_t first = problem.logits_per_sample ? (wave.first + sample) * problem.inputs : 0;
        for (int64_t n = 0; n < inputs; ++n) {
            write(problem.dtype, buffers.grad_logits, (first + block * kLanes<T> + n) * outputs + j, lanes[n]);
        }
    }
}

// The gradient of the input weights of one block and sample.
template <class T>
inline void kept_input_weight_gradient(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                                       int64_t block, int64_t sample) {
    const RoutingProblem& problem = state.problem;
    const T* sum = at_block(state, state.sum_input_weight, block, sample, 1);
    const int64_t first = (wave.first + sample) * problem.inputs + block * kLanes<T>;
    const int64_t inputs = inputs_in_block(state, block);
    for (int64_t n = 0; n < inputs; ++n) write(problem.dtype, buffers.grad_input_weight, first + n, sum[n]);
}

// pose[e] += sum over some votes of weight[k, e] gradient[k], for kBlock components of x.
template <int kBlock, class T>
CAPSROUTE_INLINE void add_pose(const T* panel, int64_t size, int64_t e, const T* gradient, int64_t votes, T* pose) {
    for (; e + kBlock <= size; e += kBlock) {
        Pack<T> sum[kBlock];
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) sum[b] = load(pose + (e + b) * kLanes<T>);
        for (int64_t k = 0; k < votes; ++k) {
            const Pack<T> value = load(gradient + k * kLanes<T>);
            _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) {
                sum[b] = fma(load(panel + (k * size + e + b) * kLanes<T>), value, sum[b]);
            }
        }
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) store(pose + (e + b) * kLanes<T>, sum[b]);
    }
    if constexpr (kBlock > 1) {
        if (e < size) add_pose<kBlock / 2>(panel, size, e, gradient, votes, pose);
    }
}

// Where the gradient of the weight is added up: where it is stored, unless it is stored in another type.
template <class T>
inline T* weight_sums(const KeptState<T>& state, const RoutingBackward& buffers) {
    return state.sum_weight ? state.sum_weight : static_cast<T*>(buffers.grad_weight);
}

// Adds N turned gradients, those of the weights q .. q + N of each input of a block, to the sums of the waves before.
template <class T>
CAPSROUTE_INLINE void add_turned(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                                 int64_t block, int64_t q, Pack<T> (&turned)[kLanes<T>]) {
    const RoutingProblem& problem = state.problem;
    const int64_t per_input = state.votes_per_input * problem.input_size, inputs = inputs_in_block(state, block);
    const int64_t first = block * kLanes<T> * per_input + q, left = per_input - q;
    T* sums = weight_sums(state, buffers) + first;
    const bool fresh = wave.first == 0, converted = state.sum_weight && wave.last;
    transpose(turned);
    for (int64_t n = 0; n < inputs; ++n, sums += per_input) {
        if (left >= kLanes<T>) {
            __builtin_prefetch(sums + 4 * kLanes<T>, 1);
            const Pack<T> sum = fresh ? turned[n] : turned[n] + load(sums);
            store(sums, sum);
            if (converted) store_as(problem.dtype, buffers.grad_weight, first + n * per_input, sum);
            continue;
        }
        alignas(64) T lanes[kLanes<T>];
        store(lanes, turned[n]);
        for (int64_t c = 0; c < left; ++c) {
            sums[c] = fresh ? lanes[c] : sums[c] + lanes[c];
            if (converted) write(problem.dtype, buffers.grad_weight, first + n * per_input + c, sums[c]);
        }
    }
}

// Gradients of N weights in a row, q .. q + N of each input of a block: sum over the samples of gradient[k] x[e].
// kRow: 1 where all N belong to one vote, 2 where they are those of two, 0 where anything may be.
template <int kRow, class T>
inline void outer_products(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave, int64_t block,
                           int64_t q) {
    const int64_t size = state.problem.input_size, count = state.votes_per_input;
    int64_t vote[kLanes<T>], component[kLanes<T>];  // of each weight, as offsets
    for (int n = 0; n < kLanes<T>; ++n) {
        const int64_t k = (q + n) / size;
        vote[n] = (k < count ? k : count - 1) * kLanes<T>;
        component[n] = (q + n) % size * kLanes<T>;
    }
    Pack<T> sum[kLanes<T>];
    _Pragma("GCC unroll 16") for (int n = 0; n < kLanes<T>; ++n) sum[n] = splat(T(0));
    for (int64_t s = 0; s < wave.samples; ++s) {
        const T* x = at_block(state, state.x, block, s, size);
        const T* gradient = at_block(state, state.votes, block, s, count);
        if constexpr (kRow == 0) {
            for (int n = 0; n < kLanes<T>; ++n) {
                sum[n] = fma(load(gradient + vote[n]), load(x + component[n]), sum[n]);
            }
        } else {
            constexpr int kSize = kLanes<T> / kRow;
            const Pack<T> first = load(gradient + vote[0]), second = load(gradient + vote[kLanes<T> - 1]);
            _Pragma("GCC unroll 16") for (int n = 0; n < kLanes<T>; ++n) {
                const T* value = kRow == 1 ? x + component[0] + n * kLanes<T> : x + n % kSize * kLanes<T>;
                sum[n] = fma(n < kSize ? first : second, load(value), sum[n]);
            }
        }
    }
    add_turned(state, buffers, wave, block, q, sum);
}

template <class T>
inline void kept_weight_gradient(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                                 int64_t block) {
    const int64_t size = state.problem.input_size, per_input = state.votes_per_input * size;
    for (int64_t q = 0; q < per_input; q += kLanes<T>) {
        if (2 * size == kLanes<T>) {
            outer_products<2>(state, buffers, wave, block, q);
        } else if (size % kLanes<T> == 0) {
            outer_products<1>(state, buffers, wave, block, q);
        } else {
            outer_products<0>(state, buffers, wave, block, q);
        }
    }
}

// The gradient of x of one block for all samples of a wave.
template <class T>
inline void kept_pose_gradient(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave,
                               int64_t block, const KeptScratch<T>& scratch) {
    const RoutingProblem& problem = state.problem;
    const int64_t size = problem.input_size, count = state.votes_per_input;
    const int64_t step = capsroute::cpu::panel_votes(size, kLanes<T>);
    for (int64_t k = 0; k < wave.samples * size * kLanes<T>; ++k) scratch.pose[k] = 0;
    for (int64_t k = 0; k < count; k += step) {
        const int64_t votes = count - k < step ? count - k : step;
        turn_panel(state, block, k, votes, scratch.panel);
        for (int64_t s = 0; s < wave.samples; ++s) {
            add_pose<kSums>(scratch.panel, size, 0, at_block(state, state.votes, block, s, count) + k * kLanes<T>,
                            votes, scratch.pose + s * size * kLanes<T>);
        }
    }
    for (int64_t s = 0; s < wave.samples; ++s) {
        const int64_t first = ((wave.first + s) * problem.inputs + block * kLanes<T>)*size;
        transpose_out(problem.dtype, scratch.pose + s * size * kLanes<T>, inputs_in_block(state, block), size,
                      buffers.grad_x, first, size);
    }
}

template <class T>
void kept_last_pass(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave, int64_t block,
                    T* scratch_memory) {
    const RoutingProblem& problem = state.problem;
    const KeptScratch<T> scratch = divide_scratch(state, scratch_memory);
    for (int64_t s = 0; s < wave.samples; ++s) {
        // Iterations without a pass of their own: the first with initial logits, or the only one that counts.
        const int64_t passes_from = problem.gradient == capsroute::Gradient::last ? problem.iterations + 1 : 2;
        for (int64_t t = state.first_slot; t < passes_from && t <= problem.iterations; ++t) {
            fill_coefficients(state, buffers, wave, t, Blocks{block, block + 1}, s, scratch.terms);
        }
        if (buffers.grad_logits) kept_logits_gradient(state, buffers, wave, block, s);
        if (buffers.grad_input_weight) kept_input_weight_gradient(state, buffers, wave, block, s);
        if (buffers.grad_x || buffers.grad_weight) KeptVoteGradient<T>(state, wave, block, s).replace_votes();
    }
    if (has_register_rows<T>(problem)) {
        row_gradients(state, buffers, wave, block, scratch.pose);
        return;
    }
    if (buffers.grad_x) kept_pose_gradient(state, buffers, wave, block, scratch);
    if (buffers.grad_weight) kept_weight_gradient(state, buffers, wave, block);
}

// The gradient of the bias: sum over the samples and iterations of a.
template <class T>
void kept_finish_bias(const KeptState<T>& state, const RoutingBackward& buffers, const Wave& wave) {
    const RoutingProblem& problem = state.problem;
    const int64_t count = state.votes_per_input;
    for (int64_t k = 0; wave.first == 0 && k < count; ++k) state.sum_bias[k] = 0;
    for (int64_t t = capsroute::first_iteration(problem); t <= problem.iterations; ++t) {
        for (int64_t s = 0; s < wave.samples; ++s) {
            const T* slope = kept_slope(state, t, s);
            for (int64_t k = 0; k < count; ++k) state.sum_bias[k] += slope[k];
        }
    }
    for (int64_t k = 0; wave.last && k < count; ++k) write(problem.dtype, buffers.grad_bias, k, state.sum_bias[k]);
}

}  // namespace
