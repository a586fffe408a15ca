#include "tests/naive.h"

#include <math.h>

namespace capsroute::tests {
namespace {

// A vector s of some length is squashed to factor * s; slope is the derivative of factor after the length.
struct Scaling {
    double factor, slope;
};

// A gain divided by a divisor, with the derivatives of both. A vector of zeros has slope 0: s multiplies it in any
// case.
struct Fraction {
    double gain, rise, divisor, stretch;

    Scaling at(double length) const {
        if (length == 0) return {divisor > 0 ? gain / divisor : 0, 0};
        return {gain / divisor, (rise - gain * stretch / divisor) / divisor};
    }
};

Scaling scaling_of(const Example& e, double r) {
    const double n = r * r, eps = e.eps, constant = e.squash_constant, root = sqrt(n + eps);
    const double grown = n / (1 + n), growth = 2 * r / ((1 + n) * (1 + n));
    const bool clamped = r <= eps;
    switch (e.squash) {
        case Squash::standard: return Fraction{grown, growth, root, r / root}.at(r);
        case Squash::norm_eps: return Fraction{grown, growth, r + eps, 1}.at(r);
        case Squash::clamped: return Fraction{grown, growth, clamped ? eps : r, clamped ? 0.0 : 1.0}.at(r);
        case Squash::shifted: return Fraction{root, r / root, constant + n + eps, 2 * r}.at(r);
        case Squash::exponential: return Fraction{-expm1(-r), exp(-r), r + eps, 1}.at(r);
        case Squash::power:
            return Fraction{pow(grown, constant), constant * pow(grown, constant - 1) * growth, clamped ? eps : r,
                            clamped ? 0.0 : 1.0}
                .at(r);
        case Squash::none: return {1, 0};
    }
    return {NAN, NAN};
}

Scaling scaling_at(const Example& e, int64_t t, double squared) {
    return e.keep_s && t == e.iterations - 1 ? Scaling{1, 0} : scaling_of(e, sqrt(squared));
}

// Calls work(first, squared) for the capsules that are there: the first of its components, and the squared length of s.
template <class Work>
void each_capsule(const Example& e, const Numbers& s, Work work) {
    for (int64_t capsule = 0; capsule < e.batch * e.outputs; ++capsule) {
        if (!e.output_mask.empty() && !e.output_mask[capsule]) continue;
        double squared = 0;
        for (int64_t k = 0; k < e.output_size; ++k) {
            const double component = s[capsule * e.output_size + k];
            squared += component * component;
        }
        work(capsule * e.output_size, squared);
    }
}

}  // namespace

Numbers naive_squash(const Example& e, int64_t t, const Numbers& s) {
    Numbers v(s.size(), 0.0);
    each_capsule(e, s, [&](int64_t first, double squared) {
        const double factor = scaling_at(e, t, squared).factor;
        for (int64_t n = first; n < first + e.output_size; ++n) v[n] = factor * s[n];
    });
    return v;
}

Numbers naive_through_squash(const Example& e, int64_t t, const Numbers& s, const Numbers& grad) {
    Numbers result(grad.size(), 0.0);
    each_capsule(e, s, [&](int64_t first, double squared) {
        double along = 0;
        for (int64_t n = first; n < first + e.output_size; ++n) along += s[n] * grad[n];
        const Scaling at = scaling_at(e, t, squared);
        for (int64_t n = first; n < first + e.output_size; ++n) {
            result[n] = at.factor * grad[n];
            if (squared > 0) result[n] += at.slope * along / sqrt(squared) * s[n];
        }
    });
    return result;
}

namespace {

// One pass over the iterations, with everything kept that the backward wants to see.
class Routing {
   public:
    explicit Routing(const Example& example, const Routing* other = nullptr)
        : e(example), constants(other ? *other : *this) {
        predict();
        Numbers logits(e.batch * e.inputs * e.outputs, 0.0);
        for (int64_t n = 0; n < int64_t(logits.size()) && !e.logits.empty(); ++n) {
            logits[n] = e.logits[n % int64_t(e.logits.size())];
        }
        for (int64_t t = 0; t < e.iterations; ++t) {
            couple(t, logits);
            weigh(t);
            agree(t, logits);
        }
    }

    Answer backward() const {
        Answer answer;
        answer.output = outputs.back();
        answer.bias.assign(e.bias.size(), 0.0);
        answer.logits.assign(e.logits.size(), 0.0);
        answer.input_weight.assign(e.input_weight.size(), 0.0);
        Numbers grad_votes(votes.size(), 0.0);
        Numbers grad_logits(couplings[0].size(), 0.0);  // of the iteration after this one
        for (int64_t t = e.iterations - 1; t >= 0; --t) {
            const bool is_last = t == e.iterations - 1;
            const Numbers grad_sums =
                through_squash(t, is_last ? e.grad_output : through_agreement(t, grad_logits, grad_votes));
            for (size_t n = 0; n < grad_sums.size() && !e.bias.empty(); ++n) {
                answer.bias[n % e.bias.size()] += grad_sums[n];
            }
            const Numbers grad_couplings = through_sums(t, grad_sums, grad_votes, answer);
            const Numbers slopes = e.coupling_given ? grad_couplings : through_softmax(t, grad_couplings);
            for (size_t n = 0; n < slopes.size(); ++n) {
                grad_logits[n] = slopes[n] + (e.replace_logits ? 0 : grad_logits[n]);
            }
            if (e.gradient == Gradient::last && t > 0) {  // the logits before are the initial ones and constants
                if (e.replace_logits) grad_logits.assign(grad_logits.size(), 0.0);
                break;
            }
        }
        for (size_t n = 0; n < grad_logits.size() && !e.logits.empty(); ++n) {
            answer.logits[n % e.logits.size()] += grad_logits[n];
        }
        if (e.from_votes) {
            answer.votes = grad_votes;
        } else {
            through_prediction(grad_votes, answer);
        }
        return answer;
    }

    Numbers products(const Numbers& vectors) const {
        Numbers result(e.batch * e.inputs * e.outputs, 0.0);
        each_pair([&](int64_t b, int64_t i, int64_t j) { result[pair(b, i, j)] = product(votes, vectors, b, i, j); });
        return result;
    }

    std::vector<Numbers> outputs;  // of each iteration: v, [B, J, D]

   private:
    int64_t pair(int64_t b, int64_t i, int64_t j) const { return (b * e.inputs + i) * e.outputs + j; }
    int64_t capsule(int64_t b, int64_t j, int64_t k) const { return (b * e.outputs + j) * e.output_size + k; }
    int64_t vote(int64_t b, int64_t i, int64_t j, int64_t k) const { return pair(b, i, j) * e.output_size + k; }
    int64_t weight_at(int64_t i, int64_t j, int64_t k) const {
        return (((i % e.weight_inputs) * e.outputs + j) * e.output_size + k) * e.input_size;
    }
    bool input_present(int64_t b, int64_t i) const { return e.input_mask.empty() || e.input_mask[b * e.inputs + i]; }
    bool output_present(int64_t b, int64_t j) const {
        return e.output_mask.empty() || e.output_mask[b * e.outputs + j];
    }
    double input_weight(int64_t b, int64_t i) const {
        return e.input_weight.empty() ? 1 : e.input_weight[b * e.inputs + i];
    }
    double temperature(int64_t t) const {
        const int64_t count = int64_t(e.temperatures.size());
        return count == 0 ? 1 : e.temperatures[t < count ? t : count - 1];
    }
    bool is_last(int64_t t) const { return t == e.iterations - 1; }

    template <class Visit>
    void each_pair(Visit visit) const {
        for (int64_t b = 0; b < e.batch; ++b)
            for (int64_t i = 0; i < e.inputs; ++i)
                for (int64_t j = 0; j < e.outputs; ++j) visit(b, i, j);
    }
    double product(const Numbers& of_votes, const Numbers& vectors, int64_t b, int64_t i, int64_t j) const {
        double sum = 0;
        for (int64_t k = 0; k < e.output_size; ++k) sum += of_votes[vote(b, i, j, k)] * vectors[capsule(b, j, k)];
        return sum;
    }

    void predict() {
        votes.assign(e.batch * e.inputs * e.outputs * e.output_size, 0.0);
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            if (!input_present(b, i)) return;
            for (int64_t k = 0; k < e.output_size; ++k) {
                double& u = votes[vote(b, i, j, k)];
                if (e.from_votes) {
                    u = e.votes[vote(b, i, j, k)];
                    continue;
                }
                for (int64_t n = 0; n < e.input_size; ++n)
                    u += e.weight[weight_at(i, j, k) + n] * e.x[(b * e.inputs + i) * e.input_size + n];
            }
        });
    }

    // The softmax of the logits, or what was given in their place.
    void couple(int64_t t, const Numbers& logits) {
        Numbers c(logits.size(), 0.0);
        const int64_t groups = e.softmax_over_inputs ? e.outputs : e.inputs;
        const int64_t members = e.softmax_over_inputs ? e.inputs : e.outputs;
        for (int64_t b = 0; b < e.batch; ++b)
            for (int64_t group = 0; group < groups; ++group) {
                Numbers heated(members, -INFINITY);
                double largest = e.leaky ? 0 : -INFINITY;
                const auto at = [&](int64_t member) {
                    return e.softmax_over_inputs ? pair(b, member, group) : pair(b, group, member);
                };
                for (int64_t member = 0; member < members; ++member) {
                    const int64_t i = e.softmax_over_inputs ? member : group;
                    const int64_t j = e.softmax_over_inputs ? group : member;
                    if (!input_present(b, i) || !output_present(b, j)) continue;
                    heated[member] = logits[at(member)] / temperature(t);
                    if (e.coupling_given) c[at(member)] = logits[at(member)];
                    largest = fmax(largest, heated[member]);
                }
                if (e.coupling_given || largest == -INFINITY) continue;  // given, or nobody is present
                double total = e.leaky ? exp(-largest) : 0;
                for (double logit : heated) total += exp(logit - largest);
                for (int64_t member = 0; member < members; ++member)
                    c[at(member)] = exp(heated[member] - largest) / total;
            }
        couplings.push_back(c);
    }

    // The weighted sums of the votes, and the outputs.
    void weigh(int64_t t) {
        Numbers s(e.batch * e.outputs * e.output_size, 0.0);
        const Numbers& used = is_last(t) || e.gradient == Gradient::all ? votes : constants.votes;
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            if (!input_present(b, i)) return;
            const double c = input_weight(b, i) * couplings[t][pair(b, i, j)];
            for (int64_t k = 0; k < e.output_size; ++k) s[capsule(b, j, k)] += c * used[vote(b, i, j, k)];
        });
        for (size_t n = 0; n < s.size() && !e.bias.empty(); ++n) s[n] += e.bias[n % e.bias.size()];
        sums.push_back(s);
        outputs.push_back(naive_squash(e, t, s));
    }

    // The logits of the next iteration.
    void agree(int64_t t, Numbers& logits) const {
        const Numbers& used = e.gradient == Gradient::all ? votes : constants.votes;
        const Numbers& v = e.gradient == Gradient::last ? constants.outputs[t] : outputs[t];
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            double& logit = logits[pair(b, i, j)];
            logit = (e.replace_logits ? 0 : logit) + e.agreement_factor * product(used, v, b, i, j);
        });
    }

    Numbers through_squash(int64_t t, const Numbers& grad) const { return naive_through_squash(e, t, sums[t], grad); }

    // From the logits of the next iteration to the outputs of this one, and to the votes that agree with them.
    Numbers through_agreement(int64_t t, const Numbers& grad_logits, Numbers& grad_votes) const {
        Numbers result(outputs[t].size(), 0.0);
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            const double slope = e.agreement_factor * grad_logits[pair(b, i, j)];
            for (int64_t k = 0; k < e.output_size; ++k) {
                result[capsule(b, j, k)] += slope * votes[vote(b, i, j, k)];
                if (e.gradient == Gradient::all) grad_votes[vote(b, i, j, k)] += slope * outputs[t][capsule(b, j, k)];
            }
        });
        return result;
    }

    // From the sums to the coupling coefficients, the input weights and, where they count, the votes.
    Numbers through_sums(int64_t t, const Numbers& grad_sums, Numbers& grad_votes, Answer& answer) const {
        Numbers result(couplings[t].size(), 0.0);
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            if (!input_present(b, i)) return;
            const double c = couplings[t][pair(b, i, j)], slope = product(votes, grad_sums, b, i, j);
            result[pair(b, i, j)] = input_weight(b, i) * slope;
            if (!e.input_weight.empty()) answer.input_weight[b * e.inputs + i] += c * slope;
            if (!is_last(t) && e.gradient != Gradient::all) return;
            for (int64_t k = 0; k < e.output_size; ++k)
                grad_votes[vote(b, i, j, k)] += input_weight(b, i) * c * grad_sums[capsule(b, j, k)];
        });
        return result;
    }

    // From the coupling coefficients to the logits before they are divided by the temperature.
    Numbers through_softmax(int64_t t, const Numbers& grad_couplings) const {
        const Numbers& c = couplings[t];
        Numbers average(c.size(), 0.0);  // of the gradient in each softmax, kept at the first member
        const auto group = [&](int64_t b, int64_t i, int64_t j) {
            return e.softmax_over_inputs ? pair(b, 0, j) : pair(b, i, 0);
        };
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            average[group(b, i, j)] += c[pair(b, i, j)] * grad_couplings[pair(b, i, j)];
        });
        Numbers result(c.size());
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            const int64_t n = pair(b, i, j);
            result[n] = c[n] * (grad_couplings[n] - average[group(b, i, j)]) / temperature(t);
        });
        return result;
    }

    void through_prediction(const Numbers& grad_votes, Answer& answer) const {
        answer.x.assign(e.x.size(), 0.0);
        answer.weight.assign(e.weight.size(), 0.0);
        each_pair([&](int64_t b, int64_t i, int64_t j) {
            if (!input_present(b, i)) return;
            for (int64_t k = 0; k < e.output_size; ++k)
                for (int64_t n = 0; n < e.input_size; ++n) {
                    const int64_t at_x = (b * e.inputs + i) * e.input_size + n;
                    const int64_t at_weight = weight_at(i, j, k) + n;
                    answer.x[at_x] += e.weight[at_weight] * grad_votes[vote(b, i, j, k)];
                    answer.weight[at_weight] += e.x[at_x] * grad_votes[vote(b, i, j, k)];
                }
        });
    }

    const Example& e;
    const Routing& constants;              // where the votes and outputs come from that are held constant
    Numbers votes;                         // [B, I, J, D], 0 for absent inputs
    std::vector<Numbers> couplings, sums;  // of each iteration: c before the input weights, and s with its bias
};

}  // namespace

Numbers naive_forward(const Example& example, const Example& constants) {
    const Routing held(constants);
    return Routing(example, &held).outputs.back();
}

Answer naive_forward_and_backward(const Example& example) {
    return Routing(example).backward();
}

Numbers naive_agreement(const Example& example) {
    return Routing(example).products(example.grad_output);
}

}  // namespace capsroute::tests
