#include "plain.h"

#include "plan.h"

#include "elements.cuh"
#include "numbers.cuh"

namespace capsroute::cuda {
namespace {

// What a pass that runs alone is given in place of what the others computed; null in the whole op.
struct GivenToPass {
    const void* query;       // [.., B, J, D], from the first iteration on that `loaded` says
    const void* slope;       // likewise
    const void* normaliser;  // [.., B, 2, J]; of all parts of the inputs, as the next
    const void* mean;        // [.., B, J]
    void* sum;               // [B, J, D]
    int64_t loaded;          // iterations before it have no vectors here
};

struct PlainParameters {
    PlainPlan plan;
    RoutingForward forward;
    RoutingBackward backward;
    GivenToPass pass;
    int64_t t;      // 1 .. T
    int64_t saved;  // place of t among the iterations for which tensors were saved
    int64_t count;  // of elements
};

CAPSROUTE_DEVICE bool has_input(const RoutingProblem& p, int64_t b, int64_t i) {
    return !p.input_mask || p.input_mask[b * p.inputs + i];
}
CAPSROUTE_DEVICE bool has_output(const RoutingProblem& p, int64_t b, int64_t j) {
    return !p.output_mask || p.output_mask[b * p.outputs + j];
}
CAPSROUTE_DEVICE double bias_at(const RoutingProblem& p, int64_t j, int64_t k) {
    return p.bias ? read<double>(p.dtype, p.bias, j * p.output_size + k) : 0.0;
}
// Of an input that is there.
CAPSROUTE_DEVICE double input_weight_at(const RoutingProblem& p, int64_t b, int64_t i) {
    return p.input_weight ? read<double>(p.dtype, p.input_weight, b * p.inputs + i) : 1.0;
}

// Slices of the workspace for one iteration.
CAPSROUTE_BOTH inline int64_t capsules(const RoutingProblem& p) {
    return p.batch * p.outputs * p.output_size;
}
CAPSROUTE_DEVICE int64_t pairs(const RoutingProblem& p) {
    return p.batch * p.inputs * p.outputs;
}

CAPSROUTE_DEVICE DType accumulation_type(const RoutingProblem& p) {
    return p.dtype == DType::float64 ? DType::float64 : DType::float32;
}

// coupling = logits of iteration t, gradient = p where there is room for it; element (b, i, j).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_logits(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const int64_t t = parameters.t, slot = parameters.plan.gradient ? t - 1 : 0;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, i = at / p.outputs % p.inputs, b = at / p.outputs / p.inputs;
        if (!has_input(p, b, i) || !has_output(p, b, j)) return;
        const double factor = logit_factor(p, t);  // where it is 0, an initial logit may be anything
        double logit = 0;
        if (p.logits && factor != 0) {
            logit = factor * read<double>(p.dtype, p.logits, p.logits_per_sample ? at : i * p.outputs + j);
        }
        if (t > 1) logit += vote_times(p, parameters.plan.query + (t - 1) * capsules(p), b, i, j);
        parameters.plan.coupling[slot * pairs(p) + at] = logit;
        if (!parameters.plan.gradient) return;
        parameters.plan.gradient[slot * pairs(p) + at] =
            input_weight_at(p, b, i) * vote_times(p, parameters.plan.slope + (t - 1) * capsules(p), b, i, j);
    });
}

// Softmax in place, and gradient = c (p - sum of c p); only zeros for what is absent where the coupling is given. A
// softmax over the inputs of several parts is given its largest logit, its sum, and the sum of c p.
// Element (b, i), or (b, j) for a softmax over inputs.
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_softmax(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const bool over_inputs = p.softmax_over_inputs;
    const int64_t slot = parameters.plan.gradient ? parameters.t - 1 : 0;
    double* c = parameters.plan.coupling + slot * pairs(p);
    double* gradient = parameters.plan.gradient ? parameters.plan.gradient + slot * pairs(p) : nullptr;
    const bool given = over_inputs && parameters.pass.normaliser && gradient;
    const DType type = accumulation_type(p);
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t others = over_inputs ? p.outputs : p.inputs, members = over_inputs ? p.inputs : p.outputs;
        const int64_t b = at / others, other = at % others;
        const auto place = [&](int64_t n) {
            return over_inputs ? (b * p.inputs + n) * p.outputs + other : (b * p.inputs + other) * p.outputs + n;
        };
        const auto there = [&](int64_t n) {
            return has_input(p, b, over_inputs ? n : other) && has_output(p, b, over_inputs ? other : n);
        };
        if (p.coupling_given) {
            for (int64_t n = 0; n < members; ++n) {
                if (there(n)) continue;
                c[place(n)] = 0;
                if (gradient) gradient[place(n)] = 0;
            }
            return;
        }
        const int64_t of_sample = parameters.saved * p.batch + b, saved = of_sample * 2 * p.outputs + other;
        const double lowest = type == DType::float64 ? -1e308 : -3e38;
        double largest = p.leaky ? 0.0 : lowest, sum = 0, mean = 0;
        for (int64_t n = 0; n < members; ++n) {
            if (there(n)) largest = fmax(largest, c[place(n)]);
        }
        for (int64_t n = 0; n < members; ++n) {
            if (there(n)) sum += exp(c[place(n)] - largest);
        }
        if (p.leaky) sum += exp(-largest);
        double inverse = sum == 0 ? 0.0 : 1 / sum;
        if (given) {
            largest = read<double>(type, parameters.pass.normaliser, saved);
            inverse = read<double>(type, parameters.pass.normaliser, saved + p.outputs);
        }
        for (int64_t n = 0; n < members; ++n) {
            c[place(n)] = there(n) ? exp(c[place(n)] - largest) * inverse : 0.0;
            if (gradient && there(n)) mean += c[place(n)] * gradient[place(n)];
        }
        if (given) mean = read<double>(type, parameters.pass.mean, of_sample * p.outputs + other);
        for (int64_t n = 0; gradient && n < members; ++n) {
            gradient[place(n)] = there(n) ? c[place(n)] * (gradient[place(n)] - mean) : 0.0;
        }
        if (over_inputs && !gradient && parameters.forward.normaliser) {
            write<double>(type, parameters.forward.normaliser, saved, largest);
            write<double>(type, parameters.forward.normaliser, saved + p.outputs, inverse);
        }
    });
}

// sums = sum over i of w c times the votes; in backward the sum of dl times the votes, and what remains of the gradient
// of the next query. Element (b, j, k).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_sums(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const bool backward = parameters.plan.gradient;
    const double* weights =
        backward ? parameters.plan.gradient + (parameters.t - 1) * pairs(p) : parameters.plan.coupling;
    const bool keeps = backward && parameters.t < p.iterations && !parameters.pass.sum;
    const double keep = keeps ? query_keep(p, parameters.t) : 0.0;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t k = at % p.output_size, j = at / p.output_size % p.outputs, b = at / p.output_size / p.outputs;
        double sum = keep != 0 ? keep * parameters.plan.sums[at] : 0.0;
        for (int64_t i = 0; i < p.inputs && has_output(p, b, j); ++i) {
            if (!has_input(p, b, i)) continue;
            const double weight = weights[(b * p.inputs + i) * p.outputs + j];
            sum += (backward ? weight : weight * input_weight_at(p, b, i)) * vote_at<double>(p, b, i, j, k);
        }
        parameters.plan.sums[at] = sum;
    });
}

// The factors of the squash of a capsule whose element k is s(k).
template <class Element>
CAPSROUTE_DEVICE SquashFactors<double> squash_of(const RoutingProblem& p, int64_t t, Element s) {
    if (!squashes(p, t)) return {1.0, 0.0, 0.0};
    double squared = 0;
    for (int64_t k = 0; k < p.output_size; ++k) squared += s(k) * s(k);
    return squash_factors<SquashNumbers<double>>(p, squared);
}

// Q of the next iteration for one capsule, whose v has the elements v(k).
template <class Element>
CAPSROUTE_DEVICE void store_next_query(const PlainPlan& plan, int64_t t, int64_t first, Element v) {
    const RoutingProblem& p = plan.problem;
    const double keep = t > 1 ? query_keep(p, t) : 0.0, add = query_add(p, t);
    for (int64_t k = 0; k < p.output_size; ++k) {
        const double before = keep != 0 ? keep * plan.query[(t - 1) * capsules(p) + first + k] : 0.0;
        plan.query[t * capsules(p) + first + k] = before + add * v(k);
    }
}

// Squash, saved tensors, Q of the next iteration; element (b, j).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_step(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const int64_t t = parameters.t;
    const DType type = accumulation_type(p);
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, b = at / p.outputs, first = at * p.output_size;
        const double* sums = parameters.plan.sums + first;
        const auto s = [&](int64_t k) { return sums[k] + bias_at(p, j, k); };
        const double factor = squash_of(p, t, s).factor;
        const auto v = [&](int64_t k) { return has_output(p, b, j) ? factor * s(k) : 0.0; };
        for (int64_t k = 0; k < p.output_size; ++k) {
            if (parameters.forward.pre_squash) {
                write<double>(type, parameters.forward.pre_squash, (t - 1) * capsules(p) + first + k, sums[k]);
            }
            if (t == p.iterations) write<double>(p.dtype, parameters.forward.output, first + k, v(k));
        }
        if (t < p.iterations) store_next_query(parameters.plan, t, first, v);
    });
}

// Q of all iterations from the saved s; element (b, j).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_queries(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const DType type = accumulation_type(p);
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, b = at / p.outputs, first = at * p.output_size;
        for (int64_t t = 1; t < p.iterations; ++t) {
            const auto s = [&](int64_t k) {
                return read<double>(type, parameters.backward.pre_squash, (t - 1) * capsules(p) + first + k) +
                       bias_at(p, j, k);
            };
            const double factor = squash_of(p, t, s).factor;
            const auto v = [&](int64_t k) { return has_output(p, b, j) ? factor * s(k) : 0.0; };
            store_next_query(parameters.plan, t, first, v);
        }
    });
}

// a^t = squash'(s)^T gradient, the gradient being that of the output at t = T, else what the
// sums, the gradient of the next query, come to; element (b, j).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_slope(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const int64_t t = parameters.t;
    const DType type = accumulation_type(p);
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, b = at / p.outputs, first = at * p.output_size;
        const auto s = [&](int64_t k) {
            return read<double>(type, parameters.backward.pre_squash, (t - 1) * capsules(p) + first + k) +
                   bias_at(p, j, k);
        };
        const auto gradient = [&](int64_t k) {
            return t == p.iterations ? read<double>(p.dtype, parameters.backward.grad_output, first + k)
                                     : query_add(p, t) * parameters.plan.sums[first + k];
        };
        const SquashFactors<double> squash = squash_of(p, t, s);
        double along = 0;
        for (int64_t k = 0; k < p.output_size; ++k) along += s(k) * gradient(k);
        for (int64_t k = 0; k < p.output_size; ++k) {
            const double a = squash.factor * gradient(k) + squash.slope * (squash.unit * along) * (squash.unit * s(k));
            parameters.plan.slope[(t - 1) * capsules(p) + first + k] = has_output(p, b, j) ? a : 0.0;
        }
    });
}

// The vectors that a pass is given, from the iteration on that `loaded` says; element of them.
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_load(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const int64_t first = (parameters.pass.loaded - 1) * capsules(p);
    const DType type = accumulation_type(p);
    for_each_element(parameters.count, [&](int64_t at) {
        parameters.plan.query[first + at] = read<double>(type, parameters.pass.query, at);
        if (parameters.pass.slope) parameters.plan.slope[first + at] = read<double>(type, parameters.pass.slope, at);
    });
}

// What a pass comes to; element (b, j, k).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_store(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const DType type = accumulation_type(parameters.plan.problem);
    for_each_element(parameters.count,
                     [&](int64_t at) { write<double>(type, parameters.pass.sum, at, parameters.plan.sums[at]); });
}

// Gradient of a vote over all iterations.
CAPSROUTE_DEVICE double vote_gradient(const PlainPlan& plan, int64_t b, int64_t i, int64_t j, int64_t k) {
    const RoutingProblem& p = plan.problem;
    if (!has_input(p, b, i) || !has_output(p, b, j)) return 0.0;
    const int64_t pair = (b * p.inputs + i) * p.outputs + j, capsule = (b * p.outputs + j) * p.output_size + k;
    const double weight = input_weight_at(p, b, i);
    double sum = 0;
    for (int64_t t = first_iteration_of_votes(p); t <= p.iterations; ++t) {
        sum += weight * plan.coupling[(t - 1) * pairs(p) + pair] * plan.slope[(t - 1) * capsules(p) + capsule];
        if (!logits_carry_votes(p, t)) continue;
        sum += plan.gradient[(t - 1) * pairs(p) + pair] * plan.query[(t - 1) * capsules(p) + capsule];
    }
    return sum;
}

CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_grad_votes(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t k = at % p.output_size, pair = at / p.output_size;
        const int64_t j = pair % p.outputs, i = pair / p.outputs % p.inputs, b = pair / p.outputs / p.inputs;
        write<double>(p.dtype, parameters.backward.grad_votes, at, vote_gradient(parameters.plan, b, i, j, k));
    });
}

CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_grad_x(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t e = at % p.input_size, i = at / p.input_size % p.inputs, b = at / p.input_size / p.inputs;
        double sum = 0;
        for (int64_t j = 0; j < p.outputs && has_input(p, b, i); ++j) {
            for (int64_t k = 0; k < p.output_size; ++k) {
                sum += read<double>(p.dtype, p.weight, weight_at(p, i, j, k, e)) *
                       vote_gradient(parameters.plan, b, i, j, k);
            }
        }
        write<double>(p.dtype, parameters.backward.grad_x, at, sum);
    });
}

CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_grad_weight(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t e = at % p.input_size, k = at / p.input_size % p.output_size;
        const int64_t j = at / p.input_size / p.output_size % p.outputs;
        double sum = 0;
        for (int64_t i = at / p.input_size / p.output_size / p.outputs; i < p.inputs; i += p.weight_inputs) {
            for (int64_t b = 0; b < p.batch; ++b) {
                if (has_input(p, b, i)) sum += vote_gradient(parameters.plan, b, i, j, k) * x_at<double>(p, b, i, e);
            }
        }
        write<double>(p.dtype, parameters.backward.grad_weight, at, sum);
    });
}

CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_grad_bias(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        double sum = 0;
        for (int64_t t = first_iteration(p); t <= p.iterations; ++t) {
            for (int64_t b = 0; b < p.batch; ++b) {
                sum += parameters.plan.slope[((t - 1) * p.batch + b) * p.outputs * p.output_size + at];
            }
        }
        write<double>(p.dtype, parameters.backward.grad_bias, at, sum);
    });
}

CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_grad_logits(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        double sum = 0;
        for (int64_t t = first_iteration(p); t <= p.iterations; ++t) {
            const double* gradient = parameters.plan.gradient + (t - 1) * pairs(p);
            double of_iteration = 0;
            for (int64_t b = 0; b < (p.logits_per_sample ? 1 : p.batch); ++b) {
                of_iteration += gradient[b * p.inputs * p.outputs + at];
            }
            sum += logit_factor(p, t) * of_iteration;
        }
        write<double>(p.dtype, parameters.backward.grad_logits, at, sum);
    });
}

CAPSROUTE_KERNEL(kThreadsOfElements, 1)
plain_grad_input_weight(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t i = at % p.inputs, b = at / p.inputs;
        double sum = 0;
        for (int64_t t = first_iteration(p); t <= p.iterations && has_input(p, b, i); ++t) {
            const double* coupling = parameters.plan.coupling + (t - 1) * pairs(p) + at * p.outputs;
            const double* slope = parameters.plan.slope + (t - 1) * capsules(p);
            for (int64_t j = 0; j < p.outputs; ++j) {
                if (has_output(p, b, j)) sum += coupling[j] * vote_times(p, slope, b, i, j);
            }
        }
        write<double>(p.dtype, parameters.backward.grad_input_weight, at, sum);
    });
}

// Puts one kernel after another into a stream until one fails.
class Sequence {
   public:
    Sequence(const PlainPlan& plan, const Device& device, void* stream) : device_(device), stream_(stream) {
        parameters.plan = plan;
    }

    void add(void (*kernel)(PlainParameters), const char* name, int64_t count) {
        if (status_ != Status::ok || count == 0) return;
        parameters.count = count;
        const Shape shape{blocks_of_elements(count, device_), kThreadsOfElements, 0};
        const Kernel described = kernel_of(kernel, name, kThreadsOfElements, 1);
        int resident;
        status_ = resident_blocks(device_, described, shape, resident);
        if (status_ == Status::ok) {
            status_ = launch(device_, described, shape, stream_, &parameters, sizeof parameters);
        }
    }
    Status status() const { return status_; }

    PlainParameters parameters{};

   private:
    Device device_;
    void* stream_;
    Status status_ = Status::ok;
};

// The coupling of an iteration, and in backward the gradient of its logits.
void add_couplings(Sequence& sequence) {
    const RoutingProblem& p = sequence.parameters.plan.problem;
    sequence.add(plain_logits, "plain_logits", p.batch * p.inputs * p.outputs);
    sequence.add(plain_softmax, "plain_softmax", p.batch * (p.softmax_over_inputs ? p.outputs : p.inputs));
}

// The gradients that are asked for, once the couplings of all iterations are there.
void add_gradients(Sequence& sequence, const RoutingBackward& buffers) {
    const RoutingProblem& p = sequence.parameters.plan.problem;
    if (buffers.grad_votes) {
        sequence.add(plain_grad_votes, "plain_grad_votes", p.batch * p.inputs * p.outputs * p.output_size);
    }
    if (buffers.grad_x) sequence.add(plain_grad_x, "plain_grad_x", p.batch * p.inputs * p.input_size);
    if (buffers.grad_weight) {
        sequence.add(plain_grad_weight, "plain_grad_weight",
                     p.weight_inputs * p.outputs * p.output_size * p.input_size);
    }
    if (buffers.grad_bias) sequence.add(plain_grad_bias, "plain_grad_bias", p.outputs * p.output_size);
    if (buffers.grad_logits) {
        sequence.add(plain_grad_logits, "plain_grad_logits",
                     (p.logits_per_sample ? p.batch : 1) * p.inputs * p.outputs);
    }
    if (buffers.grad_input_weight) {
        sequence.add(plain_grad_input_weight, "plain_grad_input_weight", p.batch * p.inputs);
    }
}

}  // namespace

int64_t plan_plain(const RoutingProblem& problem, bool backward, void* workspace, PlainPlan& plan) {
    plan = {};
    plan.problem = without_idle_iterations(problem);
    const int64_t T = plan.problem.iterations, kept = backward ? T : 1;
    Arena arena(workspace);
    plan.query = arena.take<double>(true, {T, problem.batch, problem.outputs, problem.output_size});
    plan.sums = arena.take<double>(true, {problem.batch, problem.outputs, problem.output_size});
    plan.coupling = arena.take<double>(true, {kept, problem.batch, problem.inputs, problem.outputs});
    plan.gradient = arena.take<double>(backward, {kept, problem.batch, problem.inputs, problem.outputs});
    plan.slope = arena.take<double>(backward, {kept, problem.batch, problem.outputs, problem.output_size});
    return arena.bytes();
}

Status plain_forward(const PlainPlan& plan, const RoutingForward& buffers, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    Sequence sequence(plan, device, stream);
    sequence.parameters.forward = buffers;
    for (int64_t t = 1; t <= p.iterations; ++t) {
        sequence.parameters.t = t;
        sequence.parameters.saved = t - 1;
        add_couplings(sequence);
        sequence.add(plain_sums, "plain_sums", p.batch * p.outputs * p.output_size);
        sequence.add(plain_step, "plain_step", p.batch * p.outputs);
    }
    return sequence.status();
}

Status plain_backward(const PlainPlan& plan, const RoutingBackward& buffers, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    Sequence sequence(plan, device, stream);
    sequence.parameters.backward = buffers;
    sequence.add(plain_queries, "plain_queries", p.batch * p.outputs);
    for (int64_t t = p.iterations; t >= first_iteration(p); --t) {
        sequence.parameters.t = t;
        sequence.add(plain_slope, "plain_slope", p.batch * p.outputs);
        add_couplings(sequence);
        if (t > first_iteration(p)) sequence.add(plain_sums, "plain_sums", p.batch * p.outputs * p.output_size);
    }
    add_gradients(sequence, buffers);
    return sequence.status();
}

Status plain_forward_pass(const PlainPlan& plan, const RoutingForwardPass& pass, const Device& device, void* stream) {
    const int64_t vectors = capsules(plan.problem);
    Sequence sequence(plan, device, stream);
    sequence.parameters.pass = {pass.query, nullptr, nullptr, nullptr, pass.sum, pass.iteration};
    sequence.parameters.forward.normaliser = pass.normaliser;
    sequence.parameters.t = pass.iteration;
    if (pass.iteration > 1) sequence.add(plain_load, "plain_load", vectors);
    add_couplings(sequence);
    sequence.add(plain_sums, "plain_sums", vectors);
    sequence.add(plain_store, "plain_store", vectors);
    return sequence.status();
}

Status plain_backward_pass(const PlainPlan& plan, const RoutingBackwardPass& pass, const Device& device, void* stream) {
    const int64_t vectors = capsules(plan.problem);
    Sequence sequence(plan, device, stream);
    sequence.parameters.pass = {pass.query, pass.slope, pass.normaliser, pass.mean, pass.sum, pass.iteration};
    sequence.parameters.t = pass.iteration;
    sequence.add(plain_load, "plain_load", vectors);
    add_couplings(sequence);
    sequence.add(plain_sums, "plain_sums", vectors);
    sequence.add(plain_store, "plain_store", vectors);
    return sequence.status();
}

Status plain_last_pass(const PlainPlan& plan, const RoutingLastPass& pass, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    Sequence sequence(plan, device, stream);
    sequence.parameters.pass = {pass.query, pass.slope, pass.normaliser, pass.mean, nullptr, 1};
    sequence.parameters.backward = pass.gradients;
    sequence.add(plain_load, "plain_load", p.iterations * capsules(p));
    for (int64_t t = first_iteration(p); t <= p.iterations; ++t) {
        sequence.parameters.t = t;
        sequence.parameters.saved = t - 1;
        add_couplings(sequence);
    }
    add_gradients(sequence, pass.gradients);
    return sequence.status();
}

}  // namespace capsroute::cuda
