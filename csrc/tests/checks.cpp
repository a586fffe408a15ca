#include "tests/checks.h"

#include <stdio.h>

#include <iterator>

#include "cpu/inputs_in_lanes/plan.h"
#include "tests/passes.h"

namespace capsroute::tests {

Example rounded(Example e, const Format& format) {
    for (const Argument& each : kArguments) e.*each.numbers = rounded(e.*each.numbers, format);
    e.grad_output = rounded(e.grad_output, format);
    return e;
}

double largest(const Numbers& numbers) {
    double most = 0;
    for (double number : numbers) most = fmax(most, fabs(number));
    return most;
}

void compare(const std::string& what, const Numbers& got, const Numbers& expected, double tolerance,
             Failures& failures) {
    if (got.size() != expected.size()) return failures.add(what + ": wrong size");
    double worst = 0;
    for (size_t n = 0; n < got.size(); ++n) {
        const double error = fabs(got[n] - expected[n]);
        worst = error <= worst ? worst : (error == error ? error : INFINITY);
    }
    if (worst <= tolerance) return;
    char numbers[80];
    snprintf(numbers, sizeof numbers, ": error %.3g, allowed %.3g", worst, tolerance);
    failures.add(what + numbers);
}

namespace {

// Several waves, and several chunks in each?
template <class T>
bool is_divided(const RoutingProblem& problem) {
    cpu::KeptState<T> state;
    cpu::plan(problem, cpu::Direction::forward, {}, nullptr, state);
    return state.wave < problem.batch && state.chunks > 1;
}

// That a problem takes the way that was asked for, and is divided where it should be. All examples are small enough for
// all ways, but given votes are never kept, and a wave is not for weights that inputs share.
void check_way(const NamedExample& named, const RoutingProblem& problem, const std::string& votes,
               const std::string& name, Failures& failures) {
    const char* words = cpu_votes_of(problem);
    if (!words) return failures.add(name + ": nothing says how it gets at its votes");
    if (votes == "automatic") return;
    const bool can =
        !problem.votes && problem.batch > 0 && !(votes == "wave" && problem.weight_inputs < problem.inputs);
    const bool takes = std::string(words).find(votes) != std::string::npos;
    const bool keeps = std::string(words).find("kept") != std::string::npos;
    if (can ? !takes : keeps) failures.add(name + ": takes another way, " + words);
    const bool is_double = problem.dtype == DType::float64;
    if (named.divided && !(is_double ? is_divided<double>(problem) : is_divided<float>(problem)))
        failures.add(name + ": one wave, or one chunk");
}

// Chooses one of the kernels after the other, and calls check(kernels, name).
template <class Check>
void with_each(const std::vector<Kernels>& all, const Format& format, const std::string& of, Failures& failures,
               Check check) {
    for (const Kernels& kernels : all) {
        const std::string name = kernels.isa + ", " + kernels.votes + ", " + format.name + ", " + of;
        if (!cpu_isa_choose(kernels.isa.c_str()) || cpu_isa() != kernels.isa ||
            !cpu_votes_choose(kernels.votes.c_str()) || cpu_votes() != kernels.votes)
            failures.add(name + ": these kernels were not chosen");
        check(kernels, name);
    }
    cpu_votes_choose("automatic");
}

void check_gradients(const std::string& name, Prepared& alone, Prepared& threaded, const Format& format,
                     const Answer& expected, Failures& failures) {
    for (size_t n = 0; n < std::size(kArguments); ++n) {
        Buffer& gradient = alone.gradients[n];
        if (gradient.bytes() == 0) continue;
        const std::string what = name + ": gradient of " + kArguments[n].name;
        const Numbers& reference = expected.*kArguments[n].gradient;
        compare(what, gradient.numbers(format), reference, format.tolerance * largest(reference), failures);
        if (!(gradient == threaded.gradients[n])) failures.add(what + " depends on the threads");
    }
}

}  // namespace

void check_naive_gradients(const NamedExample& named, Failures& failures) {
    const Answer answer = naive_forward_and_backward(named.example);
    for (const Argument& each : kArguments) {
        Numbers differences((named.example.*each.numbers).size());
        for (size_t n = 0; n < differences.size(); ++n) {
            const double step = 1e-5;
            for (double side : {-1.0, 1.0}) {
                Example moved = named.example;
                (moved.*each.numbers)[n] += side * step;
                const Numbers output = naive_forward(moved, named.example);
                for (size_t k = 0; k < output.size(); ++k)
                    differences[n] += side * output[k] * moved.grad_output[k] / (2 * step);
            }
        }
        const std::string what = named.name + ": naive gradient of " + each.name;
        compare(what, answer.*each.gradient, differences, 1e-7, failures);
    }
}

void check_example(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                   Failures& failures) {
    const Example example = rounded(named.example, format);
    const Answer expected = naive_forward_and_backward(example);
    with_each(all, format, named.name, failures, [&](const Kernels& kernels, const std::string& name) {
        if (named.divided && kernels.votes == "automatic") return;  // one of the three ways, which are all tried
        Prepared alone(example, format, 1), threaded(example, format, 3);
        check_way(named, alone.problem, kernels.votes, name, failures);
        if (!alone.run_op(name, failures) || !threaded.run_op(name + ", 3 threads", failures)) return;
        compare(name + ": output", alone.output.numbers(format), expected.output,
                format.tolerance * largest(expected.output), failures);
        if (!(alone.output == threaded.output)) failures.add(name + ": output depends on the threads");
        check_gradients(name, alone, threaded, format, expected, failures);
    });
    with_each(all, format, named.name + ", by passes", failures, [&](const Kernels& kernels, const std::string& name) {
        if (kernels.votes != "automatic") return;  // every pass makes its votes
        Passes alone(example, format, 1), threaded(example, format, 3);
        if (!alone.run_op(name, failures) || !threaded.run_op(name + ", 3 threads", failures)) return;
        compare(name + ": output", alone.output, expected.output,
                accumulation_format(format).tolerance * largest(expected.output), failures);
        check_gradients(name, alone.prepared, threaded.prepared, format, expected, failures);
    });
}

void check_agreement(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                     Failures& failures) {
    const Format& result = accumulation_format(format);
    const Example example = rounded(named.example, format);
    const Numbers expected = naive_agreement(example);
    with_each(all, format, named.name + ": agreement", failures, [&](const Kernels&, const std::string& name) {
        Prepared alone(example, format, 1), threaded(example, format, 3);
        if (!alone.run_agreement(name, failures) || !threaded.run_agreement(name + ", 3 threads", failures)) return;
        compare(name, alone.agreement.numbers(result), expected, result.tolerance * largest(expected), failures);
        if (!(alone.agreement == threaded.agreement)) failures.add(name + " depends on the threads");
    });
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

void check_names_of_votes(Failures& failures) {
    std::string names;
    for (int votes = 0; cpu_votes_name(votes); ++votes) names += std::string(cpu_votes_name(votes)) + " ";
    if (names != "automatic made tile wave ") failures.add("the ways to the votes are: " + names);
    if (cpu_votes_name(-1)) failures.add("there is a way to the votes of number -1");
    if (std::string(cpu_votes()) != "automatic") failures.add("the ways to the votes do not start as automatic");
    cpu_votes_choose("tile");
    if (cpu_votes_choose("none such") || cpu_votes_choose(nullptr) || std::string(cpu_votes()) != "tile")
        failures.add("an unknown way to the votes was chosen");
    cpu_votes_choose("automatic");
}

}  // namespace capsroute::tests
