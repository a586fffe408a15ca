#include "plain.h"

#include "plan.h"

#include "storage.cuh"

namespace capsroute::cuda {
namespace {

constexpr int kThreadsOfPlain = 128;

struct PlainParameters {
    PlainPlan plan;
    RoutingForward forward;
    RoutingBackward backward;
    int64_t t;      // 1 .. T
    int64_t count;  // of elements
};

// Calls work(k) for every element, spread over the threads of the grid.
template <class Work>
CAPSROUTE_DEVICE void for_each_element(int64_t count, Work work) {
    const int64_t threads = int64_t(block_count()) * thread_count();
    for (int64_t k = int64_t(block_index()) * thread_count() + thread_index(); k < count; k += threads) work(k);
}

CAPSROUTE_DEVICE bool has_input(const RoutingProblem& p, int64_t b, int64_t i) {
    return !p.input_mask || p.input_mask[b * p.inputs + i];
}
CAPSROUTE_DEVICE bool has_output(const RoutingProblem& p, int64_t b, int64_t j) {
    return !p.output_mask || p.output_mask[b * p.outputs + j];
}
CAPSROUTE_DEVICE int64_t weight_at(const RoutingProblem& p, int64_t i, int64_t j, int64_t k, int64_t e) {
    return (((i % p.weight_inputs) * p.outputs + j) * p.output_size + k) * p.input_size + e;
}
CAPSROUTE_DEVICE double x_at(const RoutingProblem& p, int64_t b, int64_t i, int64_t e) {
    return read<double>(p.dtype, p.x, (b * p.inputs + i) * p.input_size + e);
}

CAPSROUTE_DEVICE double vote(const RoutingProblem& p, int64_t b, int64_t i, int64_t j, int64_t k) {
    if (p.votes) {
        return read<double>(
            p.dtype, p.votes,
            b * p.vote_strides[0] + i * p.vote_strides[1] + j * p.vote_strides[2] + k * p.vote_strides[3]);
    }
    double sum = 0;
    for (int64_t e = 0; e < p.input_size; ++e) {
        sum += read<double>(p.dtype, p.weight, weight_at(p, i, j, k, e)) * x_at(p, b, i, e);
    }
    return sum;
}

CAPSROUTE_DEVICE double vote_times(const RoutingProblem& p, const double* vectors, int64_t b, int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t k = 0; k < p.output_size; ++k) {
        sum += vote(p, b, i, j, k) * vectors[(b * p.outputs + j) * p.output_size + k];
    }
    return sum;
}

CAPSROUTE_DEVICE double bias_at(const RoutingProblem& p, int64_t j, int64_t k) {
    return p.bias ? read<double>(p.dtype, p.bias, j * p.output_size + k) : 0.0;
}

// Slices of the workspace for one iteration.
CAPSROUTE_DEVICE int64_t capsules(const RoutingProblem& p) {
    return p.batch * p.outputs * p.output_size;
}
CAPSROUTE_DEVICE int64_t pairs(const RoutingProblem& p) {
    return p.batch * p.inputs * p.outputs;
}

// coupling = logits of iteration t, gradient = p where there is room for it; element (b, i, j).
CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_logits(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const int64_t t = parameters.t, slot = parameters.plan.gradient ? t - 1 : 0;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, i = at / p.outputs % p.inputs, b = at / p.outputs / p.inputs;
        if (!has_input(p, b, i) || !has_output(p, b, j)) return;
        double logit = 0;
        if (p.logits) logit = read<double>(p.dtype, p.logits, p.logits_per_sample ? at : i * p.outputs + j);
        if (t > 1) logit += vote_times(p, parameters.plan.query + (t - 1) * capsules(p), b, i, j);
        parameters.plan.coupling[slot * pairs(p) + at] = logit;
        if (!parameters.plan.gradient) return;
        parameters.plan.gradient[slot * pairs(p) + at] =
            vote_times(p, parameters.plan.slope + (t - 1) * capsules(p), b, i, j);
    });
}

// Softmax in place, and gradient = c (p - sum of c p); element (b, i), or (b, j) for a softmax over inputs.
CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_softmax(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const bool over_inputs = p.softmax_over_inputs;
    const int64_t slot = parameters.plan.gradient ? parameters.t - 1 : 0;
    double* c = parameters.plan.coupling + slot * pairs(p);
    double* gradient = parameters.plan.gradient ? parameters.plan.gradient + slot * pairs(p) : nullptr;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t others = over_inputs ? p.outputs : p.inputs, members = over_inputs ? p.inputs : p.outputs;
        const int64_t b = at / others, other = at % others;
        const auto place = [&](int64_t n) {
            return over_inputs ? (b * p.inputs + n) * p.outputs + other : (b * p.inputs + other) * p.outputs + n;
        };
        const auto there = [&](int64_t n) {
            return has_input(p, b, over_inputs ? n : other) && has_output(p, b, over_inputs ? other : n);
        };
        double largest = p.leaky ? 0.0 : -1e308, sum = 0, mean = 0;
        for (int64_t n = 0; n < members; ++n) {
            if (there(n)) largest = fmax(largest, c[place(n)]);
        }
        for (int64_t n = 0; n < members; ++n) {
            if (there(n)) sum += exp(c[place(n)] - largest);
        }
        if (p.leaky) sum += exp(-largest);
        const double inverse = sum == 0 ? 0.0 : 1 / sum;
        for (int64_t n = 0; n < members; ++n) {
            c[place(n)] = there(n) ? exp(c[place(n)] - largest) * inverse : 0.0;
            if (gradient && there(n)) mean += c[place(n)] * gradient[place(n)];
        }
        for (int64_t n = 0; gradient && n < members; ++n) {
            gradient[place(n)] = there(n) ? c[place(n)] * (gradient[place(n)] - mean) : 0.0;
        }
        if (over_inputs && !gradient && parameters.forward.normaliser) {
            const int64_t saved = ((parameters.t - 1) * p.batch + b) * 2 * p.outputs + other;
            const DType type = p.dtype == DType::float64 ? DType::float64 : DType::float32;
            write<double>(type, parameters.forward.normaliser, saved, largest);
            write<double>(type, parameters.forward.normaliser, saved + p.outputs, inverse);
        }
    });
}

// sums = sum over i of c times the votes; in backward sums += sum of dl times the votes. Element (b, j, k).
CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_sums(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const bool backward = parameters.plan.gradient;
    const double* weights =
        backward ? parameters.plan.gradient + (parameters.t - 1) * pairs(p) : parameters.plan.coupling;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t k = at % p.output_size, j = at / p.output_size % p.outputs, b = at / p.output_size / p.outputs;
        double sum = backward && parameters.t < p.iterations ? parameters.plan.sums[at] : 0.0;
        for (int64_t i = 0; i < p.inputs && has_output(p, b, j); ++i) {
            if (has_input(p, b, i)) sum += weights[(b * p.inputs + i) * p.outputs + j] * vote(p, b, i, j, k);
        }
        parameters.plan.sums[at] = sum;
    });
}

// |s|^2 of a capsule whose element k is s(k), and the factor of its squash.
template <class Element>
CAPSROUTE_DEVICE double squash_of(const RoutingProblem& p, Element s, double& squared) {
    squared = 0;
    for (int64_t k = 0; k < p.output_size; ++k) squared += s(k) * s(k);
    const double root = sqrt(squared + p.eps);
    return root == 0 ? 0.0 : squared / (1 + squared) / root;
}

// Squash, saved tensors, V of the next iteration; element (b, j).
CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_step(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const int64_t t = parameters.t;
    const DType type = p.dtype == DType::float64 ? DType::float64 : DType::float32;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, b = at / p.outputs, first = at * p.output_size;
        const double* sums = parameters.plan.sums + first;
        double squared;
        const double factor = squash_of(p, [&](int64_t k) { return sums[k] + bias_at(p, j, k); }, squared);
        for (int64_t k = 0; k < p.output_size; ++k) {
            const double v = has_output(p, b, j) ? factor * (sums[k] + bias_at(p, j, k)) : 0.0;
            const double before = t > 1 ? parameters.plan.query[(t - 1) * capsules(p) + first + k] : 0.0;
            parameters.plan.query[t * capsules(p) + first + k] = before + v;
            if (parameters.forward.pre_squash) {
                write<double>(type, parameters.forward.pre_squash, (t - 1) * capsules(p) + first + k, sums[k]);
            }
            if (t == p.iterations) write<double>(p.dtype, parameters.forward.output, first + k, v);
        }
    });
}

// V of all iterations from the saved s; element (b, j).
CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_queries(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const DType type = p.dtype == DType::float64 ? DType::float64 : DType::float32;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, b = at / p.outputs, first = at * p.output_size;
        for (int64_t t = 1; t < p.iterations; ++t) {
            const auto s = [&](int64_t k) {
                return read<double>(type, parameters.backward.pre_squash, (t - 1) * capsules(p) + first + k) +
                       bias_at(p, j, k);
            };
            double squared;
            const double factor = squash_of(p, s, squared);
            for (int64_t k = 0; k < p.output_size; ++k) {
                const double before = t > 1 ? parameters.plan.query[(t - 1) * capsules(p) + first + k] : 0.0;
                parameters.plan.query[t * capsules(p) + first + k] =
                    before + (has_output(p, b, j) ? factor * s(k) : 0.0);
            }
        }
    });
}

// a^t = squash'(s)^T gradient, the gradient being that of the output at t = T, else the sums; element (b, j).
CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_slope(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    const int64_t t = parameters.t;
    const DType type = p.dtype == DType::float64 ? DType::float64 : DType::float32;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, b = at / p.outputs, first = at * p.output_size;
        const auto s = [&](int64_t k) {
            return read<double>(type, parameters.backward.pre_squash, (t - 1) * capsules(p) + first + k) +
                   bias_at(p, j, k);
        };
        const auto gradient = [&](int64_t k) {
            return t == p.iterations ? read<double>(p.dtype, parameters.backward.grad_output, first + k)
                                     : parameters.plan.sums[first + k];
        };
        double squared, along = 0;
        const double factor = squash_of(p, s, squared);
        for (int64_t k = 0; k < p.output_size; ++k) along += s(k) * gradient(k);
        const double under_root = squared + p.eps, root = sqrt(under_root);
        double derivative = 0;  // of the factor, twice, with respect to |s|^2
        if (root != 0) {
            derivative = (2 / (1 + squared) - squared / under_root) / (1 + squared) / root;
        }
        for (int64_t k = 0; k < p.output_size; ++k) {
            const double a = factor * gradient(k) + derivative * along * s(k);
            parameters.plan.slope[(t - 1) * capsules(p) + first + k] = has_output(p, b, j) ? a : 0.0;
        }
    });
}

// Gradient of a vote over all iterations.
CAPSROUTE_DEVICE double vote_gradient(const PlainPlan& plan, int64_t b, int64_t i, int64_t j, int64_t k) {
    const RoutingProblem& p = plan.problem;
    if (!has_input(p, b, i) || !has_output(p, b, j)) return 0.0;
    const int64_t pair = (b * p.inputs + i) * p.outputs + j, capsule = (b * p.outputs + j) * p.output_size + k;
    double sum = 0;
    for (int64_t t = p.gradient == Gradient::last ? p.iterations : 1; t <= p.iterations; ++t) {
        sum += plan.coupling[(t - 1) * pairs(p) + pair] * plan.slope[(t - 1) * capsules(p) + capsule];
        if (p.gradient == Gradient::last || t == 1) continue;
        sum += plan.gradient[(t - 1) * pairs(p) + pair] * plan.query[(t - 1) * capsules(p) + capsule];
    }
    return sum;
}

CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_grad_votes(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t k = at % p.output_size, pair = at / p.output_size;
        const int64_t j = pair % p.outputs, i = pair / p.outputs % p.inputs, b = pair / p.outputs / p.inputs;
        write<double>(p.dtype, parameters.backward.grad_votes, at, vote_gradient(parameters.plan, b, i, j, k));
    });
}

CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
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

CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_grad_weight(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t e = at % p.input_size, k = at / p.input_size % p.output_size;
        const int64_t j = at / p.input_size / p.output_size % p.outputs;
        double sum = 0;
        for (int64_t i = at / p.input_size / p.output_size / p.outputs; i < p.inputs; i += p.weight_inputs) {
            for (int64_t b = 0; b < p.batch; ++b) {
                if (has_input(p, b, i)) sum += vote_gradient(parameters.plan, b, i, j, k) * x_at(p, b, i, e);
            }
        }
        write<double>(p.dtype, parameters.backward.grad_weight, at, sum);
    });
}

CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_grad_bias(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        double sum = 0;
        for (int64_t t = p.gradient == Gradient::last ? p.iterations : 1; t <= p.iterations; ++t) {
            for (int64_t b = 0; b < p.batch; ++b) {
                sum += parameters.plan.slope[((t - 1) * p.batch + b) * p.outputs * p.output_size + at];
            }
        }
        write<double>(p.dtype, parameters.backward.grad_bias, at, sum);
    });
}

CAPSROUTE_KERNEL(kThreadsOfPlain, 1)
plain_grad_logits(CAPSROUTE_PARAMETER PlainParameters parameters) {
    const RoutingProblem& p = parameters.plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        double sum = 0;
        for (int64_t t = p.gradient == Gradient::last ? p.iterations : 1; t <= p.iterations; ++t) {
            const double* gradient = parameters.plan.gradient + (t - 1) * pairs(p);
            for (int64_t b = 0; b < (p.logits_per_sample ? 1 : p.batch); ++b) {
                sum += gradient[b * p.inputs * p.outputs + at];
            }
        }
        write<double>(p.dtype, parameters.backward.grad_logits, at, sum);
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
        const int64_t blocks = divide_up(count, kThreadsOfPlain);
        const Shape shape{int(smaller(blocks, int64_t{device_.multiprocessors} * 16)), kThreadsOfPlain, 0};
        const Kernel described = kernel_of(kernel, name, kThreadsOfPlain, 1);
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

}  // namespace

int64_t plan_plain(const RoutingProblem& problem, bool backward, void* workspace, PlainPlan& plan) {
    const int64_t T = problem.iterations, kept = backward ? T : 1;
    plan = {};
    plan.problem = problem;
    Arena arena(workspace);
    plan.query = arena.take<double>(true, {T + 1, problem.batch, problem.outputs, problem.output_size});
    plan.sums = arena.take<double>(true, {problem.batch, problem.outputs, problem.output_size});
    plan.coupling = arena.take<double>(true, {kept, problem.batch, problem.inputs, problem.outputs});
    plan.gradient = arena.take<double>(backward, {kept, problem.batch, problem.inputs, problem.outputs});
    plan.slope = arena.take<double>(backward, {kept, problem.batch, problem.outputs, problem.output_size});
    return arena.bytes();
}

Status plain_forward(const PlainPlan& plan, const RoutingForward& buffers, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    const int64_t rows = p.batch * (p.softmax_over_inputs ? p.outputs : p.inputs);
    Sequence sequence(plan, device, stream);
    sequence.parameters.forward = buffers;
    for (int64_t t = 1; t <= p.iterations; ++t) {
        sequence.parameters.t = t;
        sequence.add(plain_logits, "plain_logits", p.batch * p.inputs * p.outputs);
        sequence.add(plain_softmax, "plain_softmax", rows);
        sequence.add(plain_sums, "plain_sums", p.batch * p.outputs * p.output_size);
        sequence.add(plain_step, "plain_step", p.batch * p.outputs);
    }
    return sequence.status();
}

Status plain_backward(const PlainPlan& plan, const RoutingBackward& buffers, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    const int64_t rows = p.batch * (p.softmax_over_inputs ? p.outputs : p.inputs);
    Sequence sequence(plan, device, stream);
    sequence.parameters.backward = buffers;
    sequence.add(plain_queries, "plain_queries", p.batch * p.outputs);
    for (int64_t t = p.iterations; t >= (p.gradient == Gradient::last ? p.iterations : 1); --t) {
        sequence.parameters.t = t;
        sequence.add(plain_slope, "plain_slope", p.batch * p.outputs);
        sequence.add(plain_logits, "plain_logits", p.batch * p.inputs * p.outputs);
        sequence.add(plain_softmax, "plain_softmax", rows);
        if (t > 1 && p.gradient != Gradient::last) sequence.add(plain_sums, "plain_sums", p.batch * p.outputs * p.output_size);
    }
    const int64_t weights = p.weight_inputs * p.outputs * p.output_size * p.input_size;
    if (buffers.grad_votes) {
        sequence.add(plain_grad_votes, "plain_grad_votes", p.batch * p.inputs * p.outputs * p.output_size);
    }
    if (buffers.grad_x) sequence.add(plain_grad_x, "plain_grad_x", p.batch * p.inputs * p.input_size);
    if (buffers.grad_weight) sequence.add(plain_grad_weight, "plain_grad_weight", weights);
    if (buffers.grad_bias) sequence.add(plain_grad_bias, "plain_grad_bias", p.outputs * p.output_size);
    if (buffers.grad_logits) {
        sequence.add(plain_grad_logits, "plain_grad_logits",
                     (p.logits_per_sample ? p.batch : 1) * p.inputs * p.outputs);
    }
    return sequence.status();
}

}  // namespace capsroute::cuda
