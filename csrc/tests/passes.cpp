#include "tests/passes.h"

namespace capsroute::tests {

bool Passes::run_op(const std::string& name, Failures& failures) {
    const size_t T = size_t(e_.iterations);
    queries_ = slopes_ = sums_ = std::vector<Numbers>(T, Numbers(e_.grad_output.size(), 0.0));
    normalisers_ = std::vector<Numbers>(T);
    means_ = std::vector<Numbers>(T, Numbers(e_.batch * e_.outputs, 0.0));
    for (size_t t = 0; t < T; ++t) {
        if (!forward(t, name, failures)) return false;
    }
    set_slope(T - 1, e_.grad_output);
    Numbers asked;  // of the sum of the outputs, by the queries of all later iterations
    for (size_t t = T - 1; t >= 1 && e_.gradient != Gradient::last; --t) {
        Numbers of_query;
        if (!backward(t, of_query, name, failures)) return false;
        asked.resize(of_query.size());
        for (size_t n = 0; n < asked.size(); ++n)
            asked[n] = (e_.replace_logits ? 0 : asked[n]) + e_.agreement_factor / temperature(t) * of_query[n];
        set_slope(t - 1, asked);
    }
    return last(name, failures);
}

double Passes::temperature(size_t t) const {
    const size_t count = e_.temperatures.size();
    return count == 0 ? 1 : e_.temperatures[t < count ? t : count - 1];
}

Numbers Passes::with_bias(Numbers s) const {
    for (size_t n = 0; n < s.size() && !e_.bias.empty(); ++n) s[n] += e_.bias[n % e_.bias.size()];
    return s;
}

Buffer Passes::of_all(const std::vector<Numbers>& each) const {
    Numbers all;
    for (const Numbers& numbers : each) all.insert(all.end(), numbers.begin(), numbers.end());
    return buffer(all);
}

bool Passes::forward(size_t t, const std::string& name, Failures& failures) {
    Buffer query = buffer(queries_[t]), sum(query.bytes());
    Buffer normaliser(e_.softmax_over_inputs ? 2 * e_.batch * e_.outputs * format_.bytes : 0);
    const RoutingForwardPass pass{
        int64_t(t) + 1, t == 0 ? nullptr : query.data(), sum.data(), normaliser.data_or_null(), nullptr, 0};
    const bool ran = run(routing_on_cpu.forward_pass, prepared.problem, pass, name + ": forward pass", failures);
    check_guards(name, {&sum, &normaliser}, failures);
    sums_[t] = sum.numbers(format_);
    normalisers_[t] = normaliser.numbers(format_);
    output = naive_squash(e_, int64_t(t), with_bias(sums_[t]));
    if (t + 1 < queries_.size()) step(t, name, failures);
    return ran;
}

// The next query is the sum of the outputs so far over the temperature; the core says the same by its factors.
void Passes::step(size_t t, const std::string& name, Failures& failures) {
    total_.resize(output.size());
    const QueryUpdate update = routing_query_update(prepared.problem, int64_t(t) + 1);
    Numbers by_core(output.size());
    for (size_t n = 0; n < output.size(); ++n) {
        total_[n] = (e_.replace_logits ? 0 : total_[n]) + e_.agreement_factor * output[n];
        queries_[t + 1][n] = total_[n] / temperature(t + 1);
        by_core[n] = update.keep * queries_[t][n] + update.add * output[n];
    }
    compare(name + ": query", by_core, queries_[t + 1], 1e-12 * largest(queries_[t + 1]), failures);
}

void Passes::set_slope(size_t t, const Numbers& grad) {
    slopes_[t] = naive_through_squash(e_, int64_t(t), with_bias(sums_[t]), grad);
    for (size_t n = 0; n < slopes_[t].size(); ++n) means_[t][n / size_t(e_.output_size)] += sums_[t][n] * slopes_[t][n];
}

bool Passes::backward(size_t t, Numbers& of_query, const std::string& name, Failures& failures) {
    Buffer query = buffer(queries_[t]), slope = buffer(slopes_[t]), normaliser = buffer(normalisers_[t]),
           mean = buffer(means_[t]), sum(query.bytes());
    const RoutingBackwardPass pass{int64_t(t) + 1, query.data(), slope.data(), normaliser.data_or_null(),
                                   mean.data(),    sum.data(),   nullptr,      0};
    const bool ran = run(routing_on_cpu.backward_pass, prepared.problem, pass, name + ": backward pass", failures);
    check_guards(name, {&sum}, failures);
    of_query = sum.numbers(format_);
    return ran;
}

bool Passes::last(const std::string& name, Failures& failures) {
    Buffer query = of_all(queries_), slope = of_all(slopes_), normaliser = of_all(normalisers_), mean = of_all(means_);
    const RoutingLastPass pass{query.data(), slope.data(), normaliser.data_or_null(), mean.data(), prepared.wanted};
    const bool ran = run(routing_on_cpu.last_pass, prepared.problem, pass, name + ": last pass", failures);
    prepared.check_results(name, failures);
    return ran;
}

}  // namespace capsroute::tests
