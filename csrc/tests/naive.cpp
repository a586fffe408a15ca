#include "tests/naive.h"

#include <math.h>

namespace capsroute::tests {
namespace {

struct Squash {
    double factor, slope;  // v = factor * s; slope is the derivative of factor after |s|^2
};

Squash squash_at(double squared, double eps) {
    if (squared + eps == 0) return {0, 0};
    const double root = sqrt(squared + eps), grown = 1 + squared;
    return {squared / grown / root, 1 / (grown * grown * root) - squared / (2 * grown * root * root * root)};
}

// One pass over the iterations, with everything kept that the backward wants to see.
class Routing {
   public:
    explicit Routing(const Example& example) : e(example) {
        predict();
        Numbers sum(e.batch * e.outputs * e.output_size, 0.0);
        for (int64_t t = 0; t < e.iterations; ++t) {
            queries.push_back(sum);
            couple();
            weigh();
            for (size_t n = 0; n < sum.size(); ++n) sum[n] += output[n];
        }
    }

    Answer backward() const {
        Answer answer;
        answer.output = output;
        answer.bias.assign(e.outputs * e.output_size, 0.0);
        answer.logits.assign(e.logits.size(), 0.0);
        Numbers grad_votes(votes.size(), 0.0);
        Numbers later(output.size(), 0.0);  // gradient of the sum of all outputs up to this iteration
        for (int64_t t = e.iterations - 1; t >= 0; --t) {
            const bool is_last = t == e.iterations - 1;
            if (e.gradient_last && !is_last) break;
            const Numbers grad_sums = through_squash(t, is_last ? e.grad_output : later);
            for (size_t n = 0; n < grad_sums.size(); ++n) answer.bias[n % answer.bias.size()] += grad_sums[n];
            const Numbers grad_logits = through_softmax(t, grad_sums);
            for (int64_t b = 0; b < e.batch; ++b)
                for (int64_t i = 0; i < e.inputs; ++i)
                    for (int64_t j = 0; j < e.outputs; ++j) {
                        const double c = couplings[t][pair(b, i, j)], slope = grad_logits[pair(b, i, j)];
                        if (!e.logits.empty()) answer.logits[logit_at(b, i, j)] += slope;
                        for (int64_t k = 0; k < e.output_size; ++k) {
                            double& grad = grad_votes[vote(b, i, j, k)];
                            grad += c * grad_sums[capsule(b, j, k)];
                            if (e.gradient_last) continue;
                            grad += slope * queries[t][capsule(b, j, k)];
                            later[capsule(b, j, k)] += slope * votes[vote(b, i, j, k)];
                        }
                    }
        }
        if (e.from_votes) {
            answer.votes = grad_votes;
        } else {
            through_prediction(grad_votes, answer);
        }
        return answer;
    }

    Numbers output;  // [B, J, D]

   private:
    int64_t pair(int64_t b, int64_t i, int64_t j) const { return (b * e.inputs + i) * e.outputs + j; }
    int64_t capsule(int64_t b, int64_t j, int64_t k) const { return (b * e.outputs + j) * e.output_size + k; }
    int64_t vote(int64_t b, int64_t i, int64_t j, int64_t k) const { return pair(b, i, j) * e.output_size + k; }
    int64_t logit_at(int64_t b, int64_t i, int64_t j) const { return pair(e.logits_per_sample ? b : 0, i, j); }
    int64_t weight_at(int64_t i, int64_t j, int64_t k) const {
        return (((i % e.weight_inputs) * e.outputs + j) * e.output_size + k) * e.input_size;
    }
    bool input_present(int64_t b, int64_t i) const { return e.input_mask.empty() || e.input_mask[b * e.inputs + i]; }
    bool output_present(int64_t b, int64_t j) const {
        return e.output_mask.empty() || e.output_mask[b * e.outputs + j];
    }

    void predict() {
        votes.assign(e.batch * e.inputs * e.outputs * e.output_size, 0.0);
        for (int64_t b = 0; b < e.batch; ++b)
            for (int64_t i = 0; i < e.inputs; ++i) {
                if (!input_present(b, i)) continue;
                for (int64_t j = 0; j < e.outputs; ++j)
                    for (int64_t k = 0; k < e.output_size; ++k) {
                        double& u = votes[vote(b, i, j, k)];
                        if (e.from_votes) {
                            u = e.votes[vote(b, i, j, k)];
                            continue;
                        }
                        for (int64_t n = 0; n < e.input_size; ++n)
                            u += e.weight[weight_at(i, j, k) + n] * e.x[(b * e.inputs + i) * e.input_size + n];
                    }
            }
    }

    // The softmax of the logits that belong to the last of the queries.
    void couple() {
        Numbers c(e.batch * e.inputs * e.outputs, 0.0);
        const int64_t groups = e.softmax_over_inputs ? e.outputs : e.inputs;
        const int64_t members = e.softmax_over_inputs ? e.inputs : e.outputs;
        for (int64_t b = 0; b < e.batch; ++b)
            for (int64_t group = 0; group < groups; ++group) {
                Numbers logits(members, -INFINITY);
                double largest = e.leaky ? 0 : -INFINITY;
                for (int64_t member = 0; member < members; ++member) {
                    const int64_t i = e.softmax_over_inputs ? member : group;
                    const int64_t j = e.softmax_over_inputs ? group : member;
                    if (!input_present(b, i) || !output_present(b, j)) continue;
                    logits[member] = e.logits.empty() ? 0 : e.logits[logit_at(b, i, j)];
                    for (int64_t k = 0; k < e.output_size; ++k)
                        logits[member] += votes[vote(b, i, j, k)] * queries.back()[capsule(b, j, k)];
                    largest = fmax(largest, logits[member]);
                }
                if (largest == -INFINITY) continue;  // nobody is present
                double total = e.leaky ? exp(-largest) : 0;
                for (double logit : logits) total += exp(logit - largest);
                for (int64_t member = 0; member < members; ++member) {
                    const int64_t i = e.softmax_over_inputs ? member : group;
                    const int64_t j = e.softmax_over_inputs ? group : member;
                    c[pair(b, i, j)] = exp(logits[member] - largest) / total;
                }
            }
        couplings.push_back(c);
    }

    // The weighted sums of the votes, and the outputs.
    void weigh() {
        Numbers s(e.batch * e.outputs * e.output_size, 0.0);
        output = s;
        for (int64_t b = 0; b < e.batch; ++b)
            for (int64_t j = 0; j < e.outputs; ++j) {
                double squared = 0;
                for (int64_t k = 0; k < e.output_size; ++k) {
                    double& sum = s[capsule(b, j, k)];
                    for (int64_t i = 0; i < e.inputs; ++i)
                        sum += couplings.back()[pair(b, i, j)] * votes[vote(b, i, j, k)];
                    if (!e.bias.empty()) sum += e.bias[j * e.output_size + k];
                    squared += sum * sum;
                }
                if (!output_present(b, j)) continue;
                for (int64_t k = 0; k < e.output_size; ++k)
                    output[capsule(b, j, k)] = squash_at(squared, e.eps).factor * s[capsule(b, j, k)];
            }
        sums.push_back(s);
    }

    Numbers through_squash(int64_t t, const Numbers& grad) const {
        Numbers result(grad.size(), 0.0);
        for (int64_t b = 0; b < e.batch; ++b)
            for (int64_t j = 0; j < e.outputs; ++j) {
                if (!output_present(b, j)) continue;
                double squared = 0, along = 0;
                for (int64_t k = 0; k < e.output_size; ++k) {
                    const double s = sums[t][capsule(b, j, k)];
                    squared += s * s;
                    along += s * grad[capsule(b, j, k)];
                }
                const Squash at = squash_at(squared, e.eps);
                for (int64_t k = 0; k < e.output_size; ++k) {
                    const int64_t n = capsule(b, j, k);
                    result[n] = at.factor * grad[n] + 2 * at.slope * along * sums[t][n];
                }
            }
        return result;
    }

    Numbers through_softmax(int64_t t, const Numbers& grad_sums) const {
        const Numbers& c = couplings[t];
        Numbers slope(c.size(), 0.0);    // gradient of the coupling coefficients
        Numbers average(c.size(), 0.0);  // its average in each softmax, kept at the first member
        const auto group = [&](int64_t b, int64_t i, int64_t j) {
            return e.softmax_over_inputs ? pair(b, 0, j) : pair(b, i, 0);
        };
        const auto each = [&](auto visit) {
            for (int64_t b = 0; b < e.batch; ++b)
                for (int64_t i = 0; i < e.inputs; ++i)
                    for (int64_t j = 0; j < e.outputs; ++j) visit(b, i, j);
        };
        each([&](int64_t b, int64_t i, int64_t j) {
            double& p = slope[pair(b, i, j)];
            for (int64_t k = 0; k < e.output_size; ++k) p += votes[vote(b, i, j, k)] * grad_sums[capsule(b, j, k)];
            average[group(b, i, j)] += c[pair(b, i, j)] * p;
        });
        Numbers result(c.size());
        each([&](int64_t b, int64_t i, int64_t j) {
            const int64_t n = pair(b, i, j);
            result[n] = c[n] * (slope[n] - average[group(b, i, j)]);
        });
        return result;
    }

    void through_prediction(const Numbers& grad_votes, Answer& answer) const {
        answer.x.assign(e.x.size(), 0.0);
        answer.weight.assign(e.weight.size(), 0.0);
        for (int64_t b = 0; b < e.batch; ++b)
            for (int64_t i = 0; i < e.inputs; ++i) {
                if (!input_present(b, i)) continue;
                for (int64_t j = 0; j < e.outputs; ++j)
                    for (int64_t k = 0; k < e.output_size; ++k)
                        for (int64_t n = 0; n < e.input_size; ++n) {
                            const int64_t at_x = (b * e.inputs + i) * e.input_size + n;
                            const int64_t at_weight = weight_at(i, j, k) + n;
                            answer.x[at_x] += e.weight[at_weight] * grad_votes[vote(b, i, j, k)];
                            answer.weight[at_weight] += e.x[at_x] * grad_votes[vote(b, i, j, k)];
                        }
            }
    }

    const Example& e;
    Numbers votes;                                  // [B, I, J, D], 0 for absent inputs
    std::vector<Numbers> queries, couplings, sums;  // of each iteration: V before it, c, and s with its bias
};

}  // namespace

Numbers naive_forward(const Example& example) {
    return Routing(example).output;
}

Answer naive_forward_and_backward(const Example& example) {
    return Routing(example).backward();
}

}  // namespace capsroute::tests
