// An example as the core takes it, and its routing on the CPU.
#pragma once

#include <deque>
#include <string>

#include "tests/arguments.h"
#include "tests/core.h"

namespace capsroute::tests {

inline constexpr Core kCpuCore = {routing_on_cpu, [](const RoutingProblem& p) { return cpu_votes_of(p) != nullptr; }};

// The problem, with buffers for what it points to, and for all results.
class Prepared {
   public:
    Prepared(const Example& e, const Format& format, int threads)
        : grad_output(e.grad_output, format),
          query(e.grad_output, accumulation_format(format)),
          output(grad_output.bytes()),
          agreement(e.batch * e.inputs * e.outputs * accumulation_format(format).bytes) {
        set_options(e);
        problem.dtype = format.dtype;
        problem.threads = threads;
        for (const Argument& each : kArguments) {
            const bool of_inputs = each.given == &RoutingProblem::x || each.given == &RoutingProblem::votes ||
                                   each.given == &RoutingProblem::input_weight;
            Buffer& argument = arguments.emplace_back(e.*each.numbers, format);
            if (of_inputs) argument.poison_absent(e.input_mask);
            problem.*each.given = argument.data_or_null();
            wanted.*each.wanted = gradients.emplace_back(argument.bytes()).data_or_null();
        }
        if (e.from_votes) {
            problem.votes = arguments[2].data();
            const int64_t strides[] = {e.inputs * e.outputs * e.output_size, e.outputs * e.output_size, e.output_size,
                                       1};
            memcpy(problem.vote_strides, strides, sizeof strides);
        } else {
            problem.x = arguments[0].data();
            problem.weight = arguments[1].data();
        }
        problem.input_mask = e.input_mask.empty() ? nullptr : e.input_mask.data();
        problem.output_mask = e.output_mask.empty() ? nullptr : e.output_mask.data();
    }

    // Runs forward and backward; false, and a failure, when the core refuses.
    bool run_op(const std::string& name, Failures& failures) {
        const int64_t accumulator = problem.dtype == DType::float64 ? 8 : 4;
        const int64_t pairs = problem.iterations * problem.batch * problem.outputs;
        Buffer pre_squash(pairs * problem.output_size * accumulator);
        Buffer normaliser(problem.softmax_over_inputs ? 2 * pairs * accumulator : 0);
        const RoutingForward forward{output.data(), pre_squash.data(), normaliser.data_or_null(), nullptr, 0};
        RoutingBackward backward = wanted;
        backward.grad_output = grad_output.data();
        backward.pre_squash = pre_squash.data();
        backward.normaliser = normaliser.data_or_null();
        const bool ran = run(routing_on_cpu.forward, problem, forward, name + ": forward", failures) &&
                         run(routing_on_cpu.backward, problem, backward, name + ": backward", failures);
        check_guards(name, {&pre_squash, &normaliser}, failures);
        check_results(name, failures);
        return ran;
    }

    // The products of the votes with the query.
    bool run_agreement(const std::string& name, Failures& failures) {
        const bool ran =
            run(routing_on_cpu.agreement, problem, {query.data(), agreement.data(), nullptr, 0}, name, failures);
        check_results(name, failures);
        return ran;
    }

    void check_results(const std::string& name, Failures& failures) {
        check_guards(name, {&output, &agreement}, failures);
        for (Buffer& gradient : gradients) check_guards(name, {&gradient}, failures);
    }

    std::deque<Buffer> arguments, gradients;  // in the order of kArguments
    Buffer grad_output, query, output, agreement;
    RoutingProblem problem{};
    RoutingBackward wanted{};  // all gradients there are

   private:
    void set_options(const Example& e) {
        problem.batch = e.batch;
        problem.inputs = e.inputs;
        problem.outputs = e.outputs;
        problem.input_size = e.input_size;
        problem.output_size = e.output_size;
        problem.weight_inputs = e.weight_inputs;
        problem.iterations = e.iterations;
        problem.softmax_over_inputs = e.softmax_over_inputs;
        problem.leaky = e.leaky;
        problem.gradient = e.gradient;
        problem.squash = e.squash;
        problem.eps = e.eps;
        problem.squash_constant = e.squash_constant;
        problem.squash_output = !e.keep_s;
        problem.replace_logits = e.replace_logits;
        problem.coupling_given = e.coupling_given;
        problem.logits_per_sample = e.logits_per_sample;
        problem.agreement_factor = e.agreement_factor;
        const Numbers temperatures = e.temperatures.empty() ? Numbers{1} : e.temperatures;
        problem.temperatures = int32_t(temperatures.size());
        for (size_t t = 0; t < temperatures.size(); ++t) problem.inverse_temperature[t] = 1 / temperatures[t];
    }
};

}  // namespace capsroute::tests
