// Backward: passes from the last iteration to the second that carry the gradient to earlier outputs, then one pass
// that gathers the gradients of x, the weight (or the votes) and the initial logits. Internal linkage, see simd.h.
#pragma once

#include "forward.h"

namespace {

using capsroute::RoutingBackward;
using capsroute::cpu::kLastInputs;
using capsroute::cpu::scratch_of_last;

// a = squash'(s)^T (scale gradient) for output j of a tile; s includes the bias. Also the mean of c p under a softmax
// over inputs, which is (s without the bias) . a. It is added up as p is: where one input has all the coupling, its
// c (p - mean) is then exactly 0, and not the rounding of p, which may be much larger than all other gradients.
template <class T>
inline void squash_backward(const State<T>& state, const RoutingBackward& buffers, int64_t iteration, int64_t tile,
                            int64_t output, T scale, const T* gradient, T* slope) {
    const RoutingProblem& problem = state.problem;
    const int64_t size = problem.output_size, count = state.votes_per_input, samples = samples_in_tile(state, tile);
    const int64_t saved = ((iteration - 1) * problem.batch + tile * kLanes<T>)*count + output * size;
    const auto saved_s = [&](int64_t k) {
        return load_samples<T>(kAccumulationType<T>, buffers.pre_squash, saved + k, count, samples);
    };
    const Pack<T> zero = splat(T(0)), part = splat(scale);
    Pack<T> squared = zero, along = zero;  // |s|^2 and s . gradient
    for (int64_t k = 0; k < size; ++k) {
        const Pack<T> s = saved_s(k) + bias_of<T>(problem, output * size + k);
        squared = fma(s, s, squared);
        along = fma(s, part * load(gradient + k * kLanes<T>), along);
    }
    const SquashOf<T> squash = squash_of(problem, iteration, squared);
    const Pack<T> s_factor = squash.slope * (squash.unit * along);
    for (int64_t k = 0; k < size; ++k) {
        const Pack<T> s = saved_s(k) + bias_of<T>(problem, output * size + k);
        Pack<T> a = fma(squash.factor, part * load(gradient + k * kLanes<T>), s_factor * (squash.unit * s));
        if (state.present) a = select(output_present(state, tile, output), a, zero);
        store(slope + k * kLanes<T>, a);
    }
    if (state.mean) {
        store(tile_of(state.mean, state, iteration - 1, tile, problem.outputs) + output * kLanes<T>,
              product_like_votes(saved_s, slope, size));
    }
}

template <class T>
inline T* slope_of(const State<T>& state, int64_t iteration, int64_t tile) {
    return tile_of(state.slope, state, iteration - 1, tile, state.votes_per_input);
}

// The normaliser of the iteration after t from the `before`-th of those that were saved. Lanes without a sample get a
// largest logit that makes every coupling there 0, whatever the logits are.
template <class T>
inline void load_normaliser(const State<T>& state, const void* from, int64_t before, int64_t t, int64_t tile) {
    const int64_t outputs = state.problem.outputs, samples = samples_in_tile(state, tile);
    T* normaliser = tile_of(state.normaliser, state, t, tile, 2 * outputs);
    load_vectors(state, from, before, tile, 2 * outputs, normaliser);
    for (int64_t j = 0; j < outputs; ++j) {
        for (int64_t n = samples; n < kLanes<T>; ++n) normaliser[j * kLanes<T> + n] = -kLowest<T>;
    }
}

// The queries of all iterations from the saved s, the saved normalisers in tile layout, and a of the last iteration.
template <class T>
void backward_start(const State<T>& state, const RoutingBackward& buffers, int64_t tile) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs, size = problem.output_size, count = state.votes_per_input;
    const int64_t samples = samples_in_tile(state, tile), first = tile * kLanes<T>;
    for (int64_t t = 0; t < problem.iterations; ++t) {
        const int64_t saved = t * problem.batch + first;
        const QueryStep<T> step(problem, t + 1);
        const T* query = tile_of(state.query, state, t, tile, count);
        if (state.normaliser) load_normaliser(state, buffers.normaliser, t, t, tile);
        for (int64_t j = 0; j < outputs; ++j) {
            if (t + 1 == problem.iterations) continue;
            T* next = tile_of(state.query, state, t + 1, tile, count);
            Pack<T> squared = splat(T(0));
            for (int64_t k = j * size; k < (j + 1) * size; ++k) {
                const Pack<T> s =
                    load_samples<T>(kAccumulationType<T>, buffers.pre_squash, saved * count + k, count, samples) +
                    bias_of<T>(problem, k);
                store(next + k * kLanes<T>, s);
                squared = fma(s, s, squared);
            }
            const Pack<T> factor = squash_of(problem, t + 1, squared).factor;
            for (int64_t k = j * size; k < (j + 1) * size; ++k) {
                store(next + k * kLanes<T>,
                      next_query(state, tile, j, step, query + k * kLanes<T>, factor, load(next + k * kLanes<T>)));
            }
        }
    }
    T* carried = tile_of(state.carried, state, 0, tile, count);
    T* slope = slope_of(state, problem.iterations, tile);
    for (int64_t j = 0; j < outputs; ++j) {
        for (int64_t k = j * size; k < (j + 1) * size; ++k) {
            store(slope + k * kLanes<T>,
                  load_samples<T>(problem.dtype, buffers.grad_output, first * count + k, count, samples));
            store(carried + k * kLanes<T>, splat(T(0)));
        }
        T* of_output = slope + j * size * kLanes<T>;
        squash_backward(state, buffers, problem.iterations, tile, j, T(1), of_output, of_output);
    }
}

// Coupling coefficients c of one iteration, times the input weight, and, when wanted, the gradient of its logits,
// c (p - mean), for one input. On entry c holds Q . votes and gradient a . votes. Returns the gradient of the input
// weight, where there is one.
template <class T>
inline Pack<T> logit_gradients(const State<T>& state, int64_t iteration, int64_t tile, int64_t input, T* c,
                               T* gradient) {
    const RoutingProblem& problem = state.problem;
    const int64_t outputs = problem.outputs;
    add_initial_logits(state, iteration, tile, input, c);
    if (problem.softmax_over_inputs) {
        softmax_over_inputs(state, tile, input, tile_of(state.normaliser, state, iteration - 1, tile, 2 * outputs), c);
    } else {
        couple_outputs(state, tile, input, c);
    }
    Pack<T> along = splat(T(0));  // sum over j of c (a . votes)
    for (int64_t j = 0; gradient && j < outputs; ++j) {
        along = fma(load(c + j * kLanes<T>), load(gradient + j * kLanes<T>), along);
    }
    const Pack<T> weight = problem.input_weight ? weight_of_input(state, tile, input) : splat(T(1));
    Pack<T> mean = weight * along;
    const T* means = state.mean ? tile_of(state.mean, state, iteration - 1, tile, outputs) : nullptr;
    for (int64_t j = 0; gradient && j < outputs; ++j) {
        if (means) mean = load(means + j * kLanes<T>);
        const Pack<T> p = weight * load(gradient + j * kLanes<T>);
        store(gradient + j * kLanes<T>, problem.coupling_given ? p : load(c + j * kLanes<T>) * (p - mean));
    }
    weigh_coupling(state, tile, input, c);
    return along;
}

// partial = sum over a chunk of inputs of (gradient of the logits) votes: what the query of the iteration is asked for.
template <class T>
void backward_pass(const State<T>& state, int64_t iteration, int64_t chunk, int64_t tile, T* scratch_memory) {
    const RoutingProblem& problem = state.problem;
    const Scratch<T> scratch = capsroute::cpu::divide_scratch(state, scratch_memory);
    T* sums = tile_of(state.partial, state, chunk, tile, state.votes_per_input);
    for (int64_t k = 0; k < state.votes_per_input; ++k) store(sums + k * kLanes<T>, splat(T(0)));
    const T* query = tile_of(state.query, state, iteration - 1, tile, state.votes_per_input);
    const T* slope = slope_of(state, iteration, tile);
    T* c = scratch.terms;
    T* gradient = c + problem.outputs * kLanes<T>;
    const int64_t begin = chunk * state.chunk_inputs, end = chunk_end(state, chunk);
    const bool first_pass = iteration == problem.iterations;
    const bool makes = first_pass || !state.keeps_votes;
    const T* x = makes ? pack_x(state, tile, begin, end - begin, scratch.x) : scratch.x;
    const T* held = weights_of_chunk(state, chunk, begin, end, scratch);
    for (int64_t i = begin; i < end; ++i, x += packs_of_input(state) * kLanes<T>) {
        const T* weight = held ? held + (i - begin) * state.votes_per_input * problem.input_size : nullptr;
        if (problem.input_mask && !any_input_present(state, tile, i)) continue;
        const Scratch<T> own = scratch_of_input(state, scratch, i);
        votes_of_pass<2>(state, first_pass, tile, i, x, weight, own, query, slope, c, gradient);
        logit_gradients(state, iteration, tile, i, c, gradient);
        add_weighted(problem, gradient, own.votes, sums);
    }
}

// carried = keep times carried + the chunks.
template <class T>
inline void add_chunks(const State<T>& state, int64_t tile, T keep) {
    const int64_t count = state.votes_per_input;
    T* carried = tile_of(state.carried, state, 0, tile, count);
    for (int64_t chunk = 0; chunk < state.chunks; ++chunk) {
        const T* part = tile_of(state.partial, state, chunk, tile, count);
        for (int64_t k = 0; k < count * kLanes<T>; k += kLanes<T>) {
            store(carried + k, (chunk == 0 ? splat(keep) * load(carried + k) : load(carried + k)) + load(part + k));
        }
    }
}

// Adds the chunks up and goes through the squash of the iteration before.
template <class T>
void backward_step(const State<T>& state, const RoutingBackward& buffers, int64_t iteration, int64_t tile) {
    const RoutingProblem& problem = state.problem;
    const int64_t count = state.votes_per_input, size = problem.output_size;
    T* carried = tile_of(state.carried, state, 0, tile, count);
    // The query is also asked for through that of the next iteration, which keeps some of it; nothing came before T.
    add_chunks(state, tile, iteration < problem.iterations ? T(capsroute::query_keep(problem, iteration)) : T(0));
    const T add = T(capsroute::query_add(problem, iteration - 1));
    for (int64_t j = 0; j < problem.outputs; ++j) {
        const int64_t at = j * size * kLanes<T>;
        squash_backward(state, buffers, iteration - 1, tile, j, add, carried + at,
                        slope_of(state, iteration - 1, tile) + at);
    }
}

// What the last pass needs of the iterations: the coefficients of a^t and of Q^t in the gradient of the votes.
template <class T>
struct VoteGradient {
    int64_t first_of_votes;   // the iterations that count in the gradient of the votes
    int64_t first_iteration;  // and in any gradient that is wanted
    bool through_logits;      // the logits of iterations >= 2 depend on the votes
    bool logits_wanted;
    bool input_weight_wanted;
    T* coupling;        // [T, J, N]
    T* logit_gradient;  // [T, J, N]
    T* initial_logits;  // [J, N]; sum over the iterations

    VoteGradient(const State<T>& state, const RoutingBackward& buffers, const Scratch<T>& scratch)
        : first_of_votes(capsroute::first_iteration_of_votes(state.problem)),
          first_iteration(first_of_votes),
          through_logits(state.problem.gradient == capsroute::Gradient::all),
          logits_wanted(buffers.grad_logits != nullptr),
          input_weight_wanted(buffers.grad_input_weight != nullptr),
          coupling(scratch.terms),
          logit_gradient(coupling + state.problem.iterations * state.problem.outputs * kLanes<T>),
          initial_logits(logit_gradient + state.problem.iterations * state.problem.outputs * kLanes<T>) {
        if (logits_wanted || input_weight_wanted) first_iteration = capsroute::first_iteration(state.problem);
    }

    bool passes_through_logits(int64_t iteration) const { return through_logits && iteration > 1; }
    bool needs_gradient(int64_t iteration) const {
        return passes_through_logits(iteration) || logits_wanted || input_weight_wanted;
    }
};

// The votes of one input, and their products with V^{T-1} and a^T while they are in registers.
template <class T>
inline void votes_of_last_iteration(const State<T>& state, const VoteGradient<T>& terms, int64_t tile, int64_t input,
                                    const T* x, const T* weight, const Scratch<T>& scratch) {
    const int64_t last = state.problem.iterations, before = (last - 1) * state.problem.outputs * kLanes<T>;
    const T* query = tile_of(state.query, state, last - 1, tile, state.votes_per_input);
    const T* slope = tile_of(state.slope, state, last - 1, tile, state.votes_per_input);
    T* c = terms.coupling + before;
    T* gradient = terms.logit_gradient + before;
    if (last == 1) {
        make_votes<0>(state, tile, input, x, weight, scratch, query, slope, c, gradient);
    } else if (terms.needs_gradient(last)) {
        make_votes<2>(state, tile, input, x, weight, scratch, query, slope, c, gradient);
    } else {
        make_votes<1>(state, tile, input, x, weight, scratch, query, slope, c, gradient);
    }
}

// The gradient of kBlock votes of output j of kInputs inputs: sum over the iterations of c a + (gradient of the logit)
// V. a and V, which outgrow the nearest cache, are read once for all these inputs.
template <int kBlock, int kInputs, class T>
CAPSROUTE_INLINE void combine_terms(const State<T>& state, const VoteGradient<T> (&terms)[kLastInputs],
                                    T* const (&votes)[kLastInputs], int64_t tile, int64_t j, int64_t k) {
    const int64_t row = state.problem.outputs * kLanes<T>;
    Pack<T> sum[kInputs][kBlock];
    _Pragma("GCC unroll 2") for (int n = 0; n < kInputs; ++n) {
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) sum[n][b] = splat(T(0));
    }
    const auto add = [&](const T* from, T* VoteGradient<T>::* coefficients, int64_t t) __attribute__((always_inline)) {
        Pack<T> c[kInputs];
        _Pragma("GCC unroll 2") for (int n = 0; n < kInputs; ++n) {
            c[n] = load(terms[n].*coefficients + (t - 1) * row + j * kLanes<T>);
        }
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) {
            const Pack<T> value = load(from + (k + b) * kLanes<T>);
            _Pragma("GCC unroll 2") for (int n = 0; n < kInputs; ++n) sum[n][b] = fma(c[n], value, sum[n][b]);
        }
    };
    for (int64_t t = terms[0].first_of_votes; t <= state.problem.iterations; ++t) {
        add(slope_of(state, t, tile), &VoteGradient<T>::coupling, t);
        if (!terms[0].passes_through_logits(t)) continue;
        add(tile_of(state.query, state, t - 1, tile, state.votes_per_input), &VoteGradient<T>::logit_gradient, t);
    }
    _Pragma("GCC unroll 2") for (int n = 0; n < kInputs; ++n) {
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) store(votes[n] + (k + b) * kLanes<T>, sum[n][b]);
    }
}

// Replaces the votes of kInputs inputs, whose terms are filled, by their gradient.
template <int kInputs, class T>
inline void vote_gradients(const State<T>& state, const VoteGradient<T> (&terms)[kLastInputs],
                           T* const (&votes)[kLastInputs], int64_t tile) {
    const int64_t size = state.problem.output_size;
    constexpr int kBlock = kRegisters == 1 ? kSums : kSums / 2;  // of kInputs inputs each
    for (int64_t j = 0; j < state.problem.outputs; ++j) {
        int64_t k = j * size;
        for (; k + kBlock <= (j + 1) * size; k += kBlock)
            combine_terms<kBlock, kInputs>(state, terms, votes, tile, j, k);
        for (; k < (j + 1) * size; ++k) combine_terms<1, kInputs>(state, terms, votes, tile, j, k);
    }
}

// Fills the terms of one input, whose votes and products of the last iteration are there. Returns the gradient of its
// input weight.
template <class T>
inline Pack<T> fill_terms(const State<T>& state, const VoteGradient<T>& terms, int64_t tile, int64_t input,
                          const Scratch<T>& scratch) {
    const RoutingProblem& problem = state.problem;
    const int64_t row = problem.outputs * kLanes<T>;
    Pack<T> input_weight = splat(T(0));
    for (int64_t k = 0; terms.logits_wanted && k < row; k += kLanes<T>) store(terms.initial_logits + k, splat(T(0)));
    for (int64_t t = terms.first_iteration; t <= problem.iterations; ++t) {
        T* c = terms.coupling + (t - 1) * row;
        if (capsroute::is_uniform(problem, t)) {
            const Pack<T> there = problem.input_mask ? input_present(state, tile, input) : splat(T(1));
            for (int64_t k = 0; k < row; k += kLanes<T>) store(c + k, load(state.uniform + tile * row + k) * there);
            continue;
        }
        T* gradient = terms.needs_gradient(t) ? terms.logit_gradient + (t - 1) * row : nullptr;
        const T* query = tile_of(state.query, state, t - 1, tile, state.votes_per_input);
        const T* slope = slope_of(state, t, tile);
        if (t == 1) {
            for (int64_t k = 0; k < row; k += kLanes<T>) store(c + k, splat(T(0)));
            if (gradient) dot_products<1>(problem, scratch.votes, slope, slope, gradient, gradient);
        } else if (t < problem.iterations && gradient) {
            dot_products<2>(problem, scratch.votes, query, slope, c, gradient);
        } else if (t < problem.iterations) {
            dot_products<1>(problem, scratch.votes, query, query, c, c);
        }
        input_weight = input_weight + logit_gradients(state, t, tile, input, c, gradient);
        const Pack<T> part = splat(T(capsroute::logit_factor(problem, t)));
        for (int64_t k = 0; terms.logits_wanted && k < row; k += kLanes<T>) {
            store(terms.initial_logits + k, fma(part, load(gradient + k), load(terms.initial_logits + k)));
        }
    }
    return input_weight;
}

// pose[e] = sum over k of weight[k, e] votes[k]: the gradient of x.
template <int kBlock, class T>
CAPSROUTE_INLINE void pose_blocks(const T* weight, int64_t size, int64_t e, const T* votes, int64_t count, T* pose) {
    for (; e + kBlock <= size; e += kBlock) {
        Pack<T> sum[kBlock];
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) sum[b] = splat(T(0));
        for (int64_t k = 0; k < count; ++k) {
            const Pack<T> value = load(votes + k * kLanes<T>);
            _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) {
                sum[b] = fma(weight[k * size + e + b], value, sum[b]);
            }
        }
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) store(pose + (e + b) * kLanes<T>, sum[b]);
    }
    if constexpr (kBlock > 1) {
        if (e < size) pose_blocks<kBlock / 2>(weight, size, e, votes, count, pose);
    }
}

// update[e] += sum over the samples of a tile of x[e, sample] votes[sample], for kBlock components of x.
template <int kBlock, class T>
CAPSROUTE_INLINE void add_outer_block(const Pack<T> (&of_sample)[kLanes<T>], const T* x, T* update) {
    Pack<T> sum[kBlock];
    _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) sum[b] = load(update + b * kLanes<T>);
    _Pragma("GCC unroll 16") for (int n = 0; n < kLanes<T>; ++n) {
        _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) {
            sum[b] = fma(x[b * kLanes<T> + n], of_sample[n], sum[b]);
        }
    }
    _Pragma("GCC unroll 8") for (int b = 0; b < kBlock; ++b) store(update + b * kLanes<T>, sum[b]);
}

// update[k / N][e][k % N] += sum over the samples of votes[k] x[e]: the gradient of the weight. The votes are
// transposed in registers, so that the sum over samples is one over vectors and not one over lanes.
template <class T>
inline void add_outer_product(const T* votes, int64_t blocks, const T* x, int64_t size, T* update) {
    for (int64_t block = 0; block < blocks; ++block) {
        Pack<T> of_sample[kLanes<T>];
        for (int n = 0; n < kLanes<T>; ++n) of_sample[n] = load(votes + (block * kLanes<T> + n) * kLanes<T>);
        transpose(of_sample);
        int64_t e = 0;
        for (; e + kSums <= size; e += kSums) {
            add_outer_block<kSums>(of_sample, x + e * kLanes<T>, update + e * kLanes<T>);
        }
        for (; e < size; ++e) add_outer_block<1>(of_sample, x + e * kLanes<T>, update + e * kLanes<T>);
        update += size * kLanes<T>;
    }
}

// The gradient of the initial logits of one input and tile: per sample it is stored, else the samples are added up.
template <class T>
inline void store_logit_gradient(const State<T>& state, const RoutingBackward& buffers, const VoteGradient<T>& terms,
                                 int64_t part, int64_t tile, int64_t input) {
    const RoutingProblem& problem = state.problem;
    for (int64_t j = 0; j < problem.outputs; ++j) {
        const Pack<T> gradient = load(terms.initial_logits + j * kLanes<T>);
        if (problem.logits_per_sample) {
            const int64_t per_sample = problem.inputs * problem.outputs;
            store_samples(problem.dtype, buffers.grad_logits,
                          tile * kLanes<T> * per_sample + input * problem.outputs + j, per_sample,
                          samples_in_tile(state, tile), gradient);
        } else {
            state.part_logits[(part * problem.inputs + input) * problem.outputs + j] += sum_of_lanes(gradient);
        }
    }
}

// Gradients of `inputs` inputs from `input` on, which share weights from `weight` on, for one tile; those of the
// weights are added to scratch.update.
template <class T>
inline void last_pass_of_tile(const State<T>& state, const RoutingBackward& buffers, int64_t part, int64_t tile,
                              int64_t input, int64_t inputs, const T* weight, const Scratch<T>& scratch) {
    static_assert(kLastInputs == 2);
    const RoutingProblem& problem = state.problem;
    const int64_t count = state.votes_per_input, blocks = (count + kLanes<T> - 1) / kLanes<T>,
                  size = problem.input_size;
    const Scratch<T> own[] = {scratch, scratch_of_last(state, scratch, 1)};
    const VoteGradient<T> terms[] = {{state, buffers, own[0]}, {state, buffers, own[1]}};
    T* const votes[] = {own[0].votes, own[1].votes};
    pack_x(state, tile, input, inputs, scratch.x);
    for (int64_t n = 0; n < inputs; ++n) {
        const T* own_weight = weight ? weight + n * count * size : nullptr;
        votes_of_last_iteration(state, terms[n], tile, input + n, own[n].x, own_weight, own[n]);
        const Pack<T> input_weight = fill_terms(state, terms[n], tile, input + n, own[n]);
        if (terms[n].input_weight_wanted) {
            store_samples(problem.dtype, buffers.grad_input_weight, tile * kLanes<T> * problem.inputs + input + n,
                          problem.inputs, samples_in_tile(state, tile), input_weight);
        }
        if (terms[n].logits_wanted) store_logit_gradient(state, buffers, terms[n], part, tile, input + n);
    }
    if (inputs == 2) {
        vote_gradients<2>(state, terms, votes, tile);
    } else {
        vote_gradients<1>(state, terms, votes, tile);
    }
    const int64_t samples = samples_in_tile(state, tile), first = tile * kLanes<T> * problem.inputs + input;
    for (int64_t n = 0; n < inputs; ++n) {
        if (buffers.grad_votes) {
            transpose_out(problem.dtype, votes[n], samples, count, buffers.grad_votes, (first + n) * count,
                          problem.inputs * count);
        }
        if (buffers.grad_x) pose_blocks<kSums>(weight + n * count * size, size, 0, votes[n], count, own[n].pose);
        if (!buffers.grad_weight) continue;
        const T* numbers = own[n].x;
        if constexpr (sizeof(T) == 4) {
            if (state.pairs) {
                separate_pairs(own[n].x, size / 2, own[n].apart);
                numbers = own[n].apart;
            }
        }
        add_outer_product(votes[n], blocks, numbers, size, own[n].update);
    }
    if (buffers.grad_x) {
        transpose_out(problem.dtype, scratch.pose, samples, inputs * size, buffers.grad_x, first * size,
                      problem.inputs * size);
    }
}

// Stores the gradient of one input's weight, or its part.
template <class T>
inline void store_weight_gradient(const State<T>& state, const RoutingBackward& buffers, int64_t part,
                                  int64_t weight_input, const T* update) {
    const RoutingProblem& problem = state.problem;
    const int64_t count = state.votes_per_input, size = problem.input_size;
    void* to =
        state.part_weight ? state.part_weight + part * problem.weight_inputs * count * size : buffers.grad_weight;
    const capsroute::DType dtype = state.part_weight ? kAccumulationType<T> : problem.dtype;
    for (int64_t k = 0; k < count; k += kLanes<T>, update += size * kLanes<T>) {
        const int64_t rows = count - k < kLanes<T> ? count - k : kLanes<T>;
        transpose_out(dtype, update, rows, size, to, (weight_input * count + k) * size, size);
    }
}

template <class T>
void last_pass(const State<T>& state, const RoutingBackward& buffers, int64_t group, int64_t part, T* scratch_memory) {
    const RoutingProblem& problem = state.problem;
    const Scratch<T> scratch = capsroute::cpu::divide_scratch(state, scratch_memory);
    const int64_t count = state.votes_per_input, padded = (count + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
    const int64_t update_of_input = buffers.grad_weight ? padded * problem.input_size : 0;
    const int64_t repeats = problem.inputs / state.weight_inputs, pairs = repeats * state.tiles;
    const int64_t first_pair = part * state.part_pairs;
    const int64_t end_pair = first_pair + state.part_pairs < pairs ? first_pair + state.part_pairs : pairs;
    const int64_t first_input = group * state.group_inputs;
    const int64_t end_input =
        first_input + state.group_inputs < state.weight_inputs ? first_input + state.group_inputs : state.weight_inputs;
    for (int64_t n = 0; n < kLastInputs; ++n) {  // votes that fill up the last register
        T* votes = scratch_of_last(state, scratch, n).votes;
        for (int64_t k = count * kLanes<T>; k < padded * kLanes<T>; ++k) votes[k] = 0;
    }
    for (int64_t w = first_input; w < end_input; w += kLastInputs) {
        const int64_t inputs = end_input - w < kLastInputs ? end_input - w : kLastInputs;
        for (int64_t k = 0; k < inputs * update_of_input; ++k) scratch.update[k] = 0;
        for (int64_t repeat = 0; state.part_logits && repeat < repeats; ++repeat) {
            const int64_t input = repeat * state.weight_inputs + w;
            T* sums = state.part_logits + (part * problem.inputs + input) * problem.outputs;
            for (int64_t j = 0; j < inputs * problem.outputs; ++j) sums[j] = 0;
        }
        const bool by_product = !problem.votes && first_pair < end_pair;  // an empty batch may come without a weight
        const T* weight = by_product ? weights_of(problem, w, inputs, scratch.row) : nullptr;
        for (int64_t pair = first_pair; pair < end_pair; ++pair) {
            const int64_t input = pair / state.tiles * state.weight_inputs + w, tile = pair % state.tiles;
            last_pass_of_tile(state, buffers, part, tile, input, inputs, weight, scratch);
        }
        for (int64_t n = 0; buffers.grad_weight && n < inputs; ++n) {
            store_weight_gradient(state, buffers, part, w + n, scratch_of_last(state, scratch, n).update);
        }
    }
}

// Sums over the parts, in their order.
template <class T>
void finish_weight(const State<T>& state, const RoutingBackward& buffers, int64_t weight_input) {
    const RoutingProblem& problem = state.problem;
    const int64_t per_input = state.votes_per_input * problem.input_size;
    for (int64_t k = weight_input * per_input; k < (weight_input + 1) * per_input; ++k) {
        T sum = 0;
        for (int64_t part = 0; part < state.parts; ++part) {
            sum += state.part_weight[part * problem.weight_inputs * per_input + k];
        }
        write(problem.dtype, buffers.grad_weight, k, sum);
    }
}

template <class T>
void finish_logits(const State<T>& state, const RoutingBackward& buffers, int64_t input) {
    const RoutingProblem& problem = state.problem;
    for (int64_t k = input * problem.outputs; k < (input + 1) * problem.outputs; ++k) {
        T sum = 0;
        for (int64_t part = 0; part < state.parts; ++part) {
            sum += state.part_logits[part * problem.inputs * problem.outputs + k];
        }
        write(problem.dtype, buffers.grad_logits, k, sum);
    }
}

template <class T>
void finish_bias(const State<T>& state, const RoutingBackward& buffers, int64_t output) {
    const RoutingProblem& problem = state.problem;
    const int64_t first = capsroute::first_iteration(problem);
    for (int64_t k = output * problem.output_size; k < (output + 1) * problem.output_size; ++k) {
        Pack<T> sum = splat(T(0));
        for (int64_t t = first; t <= problem.iterations; ++t) {
            for (int64_t tile = 0; tile < state.tiles; ++tile) {
                sum = sum + load(slope_of(state, t, tile) + k * kLanes<T>);
            }
        }
        write(problem.dtype, buffers.grad_bias, k, sum_of_lanes(sum));
    }
}

}  // namespace
