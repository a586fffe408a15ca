// The passes of the core one by one: what they come to with the naive steps between them is what routing comes to.
#include "tests/call.h"

namespace capsroute::tests {
namespace {

// One call of the core that needs workspace; false, and a failure, when the core refuses.
template <class Space, class Run>
bool run_with_space(const std::string& name, Failures& failures, Space space, Run run) {
    const int64_t bytes = space();
    Buffer memory(bytes < 0 ? 0 : bytes);
    const Status status = bytes < 0 ? Status(-bytes) : run(memory.data(), bytes);
    if (status != Status::ok) failures.add(name + " refused: " + status_text(status));
    Call::check_guards(name, {&memory}, failures);
    return status == Status::ok;
}

// Routing by passes. What is between them is in double precision.
class Passes {
   public:
    Passes(const Example& e, const Format& format, int threads)
        : e_(e), format_(accumulation_format(format)), call_(e, format, threads) {}

    bool run(const std::string& name, Failures& failures) {
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

    Numbers output;
    const Format& format() const { return format_; }
    Call& call() { return call_; }

   private:
    double temperature(size_t t) const {
        const size_t count = e_.temperatures.size();
        return count == 0 ? 1 : e_.temperatures[t < count ? t : count - 1];
    }
    Numbers with_bias(Numbers s) const {
        for (size_t n = 0; n < s.size() && !e_.bias.empty(); ++n) s[n] += e_.bias[n % e_.bias.size()];
        return s;
    }
    Buffer buffer(const Numbers& numbers) const { return Buffer(numbers, format_); }
    Buffer of_all(const std::vector<Numbers>& each) const {
        Numbers all;
        for (const Numbers& numbers : each) all.insert(all.end(), numbers.begin(), numbers.end());
        return buffer(all);
    }

    bool forward(size_t t, const std::string& name, Failures& failures) {
        Buffer query = buffer(queries_[t]), sum(queries_[t].size() * format_.bytes);
        Buffer normaliser(e_.softmax_over_inputs ? 2 * e_.batch * e_.outputs * format_.bytes : 0);
        const auto space = [&] { return routing_forward_pass_workspace_cpu(call_.problem); };
        const bool fine = run_with_space(name + ": forward pass", failures, space, [&](uint8_t* memory, int64_t bytes) {
            const RoutingForwardPass pass{
                int64_t(t) + 1, t == 0 ? nullptr : query.data(), sum.data(), normaliser.data_or_null(), memory, bytes};
            return routing_forward_pass_cpu(call_.problem, pass);
        });
        Call::check_guards(name, {&sum, &normaliser}, failures);
        sums_[t] = sum.numbers(format_);
        normalisers_[t] = normaliser.numbers(format_);
        output = naive_squash(e_, int64_t(t), with_bias(sums_[t]));
        if (t + 1 < queries_.size()) step(t, name, failures);
        return fine;
    }

    // The next query is the sum of the outputs so far over the temperature; the core says the same by its factors.
    void step(size_t t, const std::string& name, Failures& failures) {
        total_.resize(output.size());
        const QueryUpdate update = routing_query_update(call_.problem, int64_t(t) + 1);
        Numbers by_core(output.size());
        for (size_t n = 0; n < output.size(); ++n) {
            total_[n] = (e_.replace_logits ? 0 : total_[n]) + e_.agreement_factor * output[n];
            queries_[t + 1][n] = total_[n] / temperature(t + 1);
            by_core[n] = update.keep * queries_[t][n] + update.add * output[n];
        }
        compare(name + ": query", by_core, queries_[t + 1], 1e-12 * largest(queries_[t + 1]), failures);
    }

    void set_slope(size_t t, const Numbers& grad) {
        slopes_[t] = naive_through_squash(e_, int64_t(t), with_bias(sums_[t]), grad);
        for (size_t n = 0; n < slopes_[t].size(); ++n)
            means_[t][n / size_t(e_.output_size)] += sums_[t][n] * slopes_[t][n];
    }

    bool backward(size_t t, Numbers& of_query, const std::string& name, Failures& failures) {
        Buffer query = buffer(queries_[t]), slope = buffer(slopes_[t]), normaliser = buffer(normalisers_[t]),
               mean = buffer(means_[t]), sum(query.bytes());
        const auto space = [&] { return routing_backward_pass_workspace_cpu(call_.problem); };
        const bool fine =
            run_with_space(name + ": backward pass", failures, space, [&](uint8_t* memory, int64_t bytes) {
                const RoutingBackwardPass pass{int64_t(t) + 1, query.data(), slope.data(), normaliser.data_or_null(),
                                               mean.data(),    sum.data(),   memory,       bytes};
                return routing_backward_pass_cpu(call_.problem, pass);
            });
        Call::check_guards(name, {&sum}, failures);
        of_query = sum.numbers(format_);
        return fine;
    }

    bool last(const std::string& name, Failures& failures) {
        Buffer query = of_all(queries_), slope = of_all(slopes_), normaliser = of_all(normalisers_),
               mean = of_all(means_);
        RoutingLastPass pass{query.data(), slope.data(), normaliser.data_or_null(), mean.data(), {}};
        pass.gradients.grad_x = call_.grad_x.data_or_null();
        pass.gradients.grad_weight = call_.grad_weight.data_or_null();
        pass.gradients.grad_votes = call_.grad_votes.data_or_null();
        pass.gradients.grad_bias = call_.grad_bias.data_or_null();
        pass.gradients.grad_logits = call_.grad_logits.data_or_null();
        pass.gradients.grad_input_weight = call_.grad_input_weight.data_or_null();
        const auto space = [&] { return routing_last_pass_workspace_cpu(call_.problem, pass); };
        const bool fine = run_with_space(name + ": last pass", failures, space, [&](uint8_t* memory, int64_t bytes) {
            pass.gradients.workspace = memory;
            pass.gradients.workspace_bytes = bytes;
            return routing_last_pass_cpu(call_.problem, pass);
        });
        Call::check_guards(name,
                           {&call_.grad_x, &call_.grad_weight, &call_.grad_votes, &call_.grad_bias, &call_.grad_logits,
                            &call_.grad_input_weight},
                           failures);
        return fine;
    }

    const Example& e_;
    const Format& format_;
    Call call_;
    Numbers total_;
    std::vector<Numbers> queries_, sums_, slopes_, normalisers_, means_;  // of the iterations
};

}  // namespace

void check_passes(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                  Failures& failures) {
    const Example example = rounded(named.example, format);
    const Answer expected = naive_forward_and_backward(example);
    for (const Kernels& kernels : all) {
        const std::string name = kernels.isa + ", " + kernels.votes + ", " + format.name + ", " + named.name;
        choose(kernels, name, failures);
        Passes one(example, format, 1), three(example, format, 3);
        if (!one.run(name, failures) || !three.run(name + ", 3 threads", failures)) continue;
        const double tolerance = one.format().tolerance;
        compare(name + ": output by passes", one.output, expected.output, tolerance * largest(expected.output),
                failures);
        const auto check = [&](const char* what, Buffer Call::* result, const Numbers& reference) {
            Buffer &own = one.call().*result, &threaded = three.call().*result;
            if (own.bytes() == 0) return;
            compare(name + ": gradient by passes of " + what, own.numbers(format), reference,
                    format.tolerance * largest(reference), failures);
            if (!(own == threaded)) failures.add(name + ": gradient by passes of " + what + " depends on the threads");
        };
        check("x", &Call::grad_x, expected.x);
        check("weight", &Call::grad_weight, expected.weight);
        check("votes", &Call::grad_votes, expected.votes);
        check("bias", &Call::grad_bias, expected.bias);
        check("logits", &Call::grad_logits, expected.logits);
        check("input weight", &Call::grad_input_weight, expected.input_weight);
    }
    cpu_votes_choose("automatic");
}

void check_query_updates(Failures& failures) {
    RoutingProblem problem{};
    problem.iterations = INT64_MAX;
    problem.agreement_factor = 3;
    problem.inverse_temperature[0] = 2;
    problem.inverse_temperature[1] = 4;
    const auto expect = [&](const char* what, int64_t t, double keep, double add) {
        const QueryUpdate got = routing_query_update(problem, t);
        const auto same = [](double a, double b) { return a == b || (a != a && b != b); };
        if (!same(got.keep, keep) || !same(got.add, add)) failures.add(std::string("the query update of ") + what);
    };
    problem.temperatures = 2;
    expect("the first iteration", 1, 0, 12);
    expect("the second iteration", 2, 1, 12);
    expect("the last iteration there can be", INT64_MAX, 1, 12);
    for (int64_t t : {int64_t{0}, int64_t{-1}, INT64_MIN}) expect("no iteration", t, NAN, NAN);
    problem.iterations = 3;
    expect("an iteration behind the last", 4, NAN, NAN);
    for (int32_t count : {INT32_MIN, -1, 0, kTemperatures + 1, INT32_MAX}) {
        problem.temperatures = count;
        for (int64_t t : {1, 3}) expect("a bad number of temperatures", t, NAN, NAN);
    }
}

void check_refusals_of_passes(Failures& failures) {
    const auto expect = [&](const char* what, Status got, Status wanted) {
        if (got != wanted) failures.add(std::string(what) + " gave: " + status_text(got));
    };
    const Example example = small_examples().front().example;
    Call call(example, kFormats[0], 1);
    Buffer space(1 << 20);
    uint8_t* any = space.data();
    RoutingProblem& problem = call.problem;
    problem.iterations = 3;
    const auto forward = [&](RoutingForwardPass pass) { return routing_forward_pass_cpu(problem, pass); };
    const auto backward = [&](RoutingBackwardPass pass) { return routing_backward_pass_cpu(problem, pass); };
    const auto last = [&](RoutingLastPass pass) { return routing_last_pass_cpu(problem, pass); };
    for (int64_t t : {0, 4})
        expect("a forward pass of no iteration", forward({t, any, any, any, any, 0}), Status::bad_option);
    for (int64_t t : {1, 4}) {
        expect("a backward pass of no iteration", backward({t, any, any, any, any, any, any, 0}), Status::bad_option);
    }
    expect("a forward pass without query", forward({2, nullptr, any, any, any, 0}), Status::missing_pointer);
    expect("a forward pass without sum", forward({2, any, nullptr, any, any, 0}), Status::missing_pointer);
    expect("a forward pass without workspace", forward({1, nullptr, any, any, any, 0}), Status::small_workspace);
    expect("a backward pass without slope", backward({2, any, nullptr, any, any, any, any, 0}),
           Status::missing_pointer);
    expect("a backward pass without workspace", backward({2, any, any, any, any, any, any, 0}),
           Status::small_workspace);
    RoutingBackward gradients{};
    gradients.workspace = any;
    expect("a last pass without workspace", last({any, any, any, any, gradients}), Status::small_workspace);
    expect("a last pass without queries", last({nullptr, any, any, any, gradients}), Status::missing_pointer);
    gradients.grad_bias = any;
    problem.bias = nullptr;
    expect("a last pass for no bias", last({any, any, any, any, gradients}), Status::missing_pointer);
    gradients.grad_bias = nullptr;
    gradients.grad_votes = any;
    expect("a last pass for no votes", last({any, any, any, any, gradients}), Status::missing_pointer);
    gradients.grad_votes = nullptr;
    problem.softmax_over_inputs = true;
    problem.leaky = false;
    expect("a forward pass without normaliser", forward({1, nullptr, any, nullptr, any, 0}), Status::missing_pointer);
    expect("a backward pass without mean", backward({2, any, any, any, nullptr, any, any, 0}), Status::missing_pointer);
    expect("a last pass without normalisers", last({any, any, nullptr, any, gradients}), Status::missing_pointer);
}

}  // namespace capsroute::tests
