#include "tests/checks.h"

#include <stdio.h>

#include "cpu/inputs_in_lanes/plan.h"
#include "tests/call.h"

namespace capsroute::tests {

Example rounded(Example e, const Format& format) {
    for (Numbers* numbers : {&e.x, &e.weight, &e.votes, &e.bias, &e.logits, &e.input_weight, &e.grad_output})
        *numbers = rounded(*numbers, format);
    return e;
}

double largest(const Numbers& numbers) {
    double most = 0;
    for (double number : numbers) most = fmax(most, fabs(number));
    return most;
}

void choose(const Kernels& kernels, const std::string& name, Failures& failures) {
    if (!cpu_isa_choose(kernels.isa.c_str()) || cpu_isa() != kernels.isa || !cpu_votes_choose(kernels.votes.c_str()) ||
        cpu_votes() != kernels.votes)
        failures.add(name + ": these kernels were not chosen");
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

}  // namespace

void check_naive_gradients(const NamedExample& named, Failures& failures) {
    const Answer answer = naive_forward_and_backward(named.example);
    const auto check = [&](const char* argument, Numbers Example::* member, const Numbers& gradient) {
        Numbers differences((named.example.*member).size());
        for (size_t n = 0; n < differences.size(); ++n) {
            const double step = 1e-5;
            for (double side : {-1.0, 1.0}) {
                Example moved = named.example;
                (moved.*member)[n] += side * step;
                const Numbers output = naive_forward(moved, named.example);
                for (size_t k = 0; k < output.size(); ++k)
                    differences[n] += side * output[k] * moved.grad_output[k] / (2 * step);
            }
        }
        compare(named.name + ": naive gradient of " + argument, gradient, differences, 1e-7, failures);
    };
    check("x", &Example::x, answer.x);
    check("weight", &Example::weight, answer.weight);
    check("votes", &Example::votes, answer.votes);
    check("logits", &Example::logits, answer.logits);
    check("bias", &Example::bias, answer.bias);
    check("input weight", &Example::input_weight, answer.input_weight);
}

void check_example(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                   Failures& failures) {
    const Example example = rounded(named.example, format);
    const Answer expected = naive_forward_and_backward(example);
    for (const Kernels& kernels : all) {
        const std::string name = kernels.isa + ", " + kernels.votes + ", " + format.name + ", " + named.name;
        choose(kernels, name, failures);
        Call call(example, format, 1), threaded(example, format, 3);
        check_way(named, call.problem, kernels.votes, name, failures);
        if (!call.run(name, failures) || !threaded.run(name + ", 3 threads", failures)) continue;

        const auto check = [&](const char* what, Buffer Call::* result, const Numbers& reference) {
            if ((call.*result).bytes() == 0) return;
            const double tolerance = format.tolerance * largest(reference);
            compare(name + ": " + what, (call.*result).numbers(format), reference, tolerance, failures);
            if (!(call.*result == threaded.*result)) failures.add(name + ": " + what + " depends on the threads");
        };
        check("output", &Call::output, expected.output);
        check("gradient of x", &Call::grad_x, expected.x);
        check("gradient of weight", &Call::grad_weight, expected.weight);
        check("gradient of votes", &Call::grad_votes, expected.votes);
        check("gradient of bias", &Call::grad_bias, expected.bias);
        check("gradient of logits", &Call::grad_logits, expected.logits);
        check("gradient of input weight", &Call::grad_input_weight, expected.input_weight);
    }
    cpu_votes_choose("automatic");
}

void check_agreement(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                     Failures& failures) {
    const Format& result = accumulation_format(format);
    const Example example = rounded(named.example, format);
    const Numbers expected = naive_agreement(example);
    for (const Kernels& kernels : all) {
        const std::string name =
            kernels.isa + ", " + kernels.votes + ", " + format.name + ", " + named.name + ": agreement";
        choose(kernels, name, failures);
        Call call(example, format, 1), threaded(example, format, 3);
        if (!call.run_agreement(name, failures) || !threaded.run_agreement(name + ", 3 threads", failures)) continue;
        compare(name, call.agreement.numbers(result), expected, result.tolerance * largest(expected), failures);
        if (!(call.agreement == threaded.agreement)) failures.add(name + " depends on the threads");
    }
    cpu_votes_choose("automatic");
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

void check_refusals(Failures& failures) {
    const Example example = small_examples().front().example;
    const auto compare_status = [&](const std::string& what, Status status, Status wanted) {
        if (status != wanted) failures.add(what + " gave: " + status_text(status));
    };
    const auto expect = [&](const char* what, Status wanted, auto spoil) {
        Call call(example, kFormats[0], 1);
        Buffer space(1 << 20);
        RoutingForward forward{};
        forward.output = call.output.data();
        forward.workspace = space.data();
        forward.workspace_bytes = space.bytes();
        spoil(call.problem, forward);
        compare_status(what, routing_forward_cpu(call.problem, forward), wanted);
    };
    expect("no output", Status::missing_pointer, [](RoutingProblem&, RoutingForward& f) { f.output = nullptr; });
    expect("a workspace off its place", Status::misaligned, [](RoutingProblem&, RoutingForward& f) {
        f.workspace = static_cast<uint8_t*>(f.workspace) + 32;
        f.workspace_bytes -= 32;
    });
    expect("an output off its place", Status::misaligned,
           [](RoutingProblem&, RoutingForward& f) { f.output = static_cast<uint8_t*>(f.output) + 2; });
    expect("no workspace", Status::small_workspace, [](RoutingProblem&, RoutingForward& f) { f.workspace_bytes = 0; });

    // A problem that nothing takes, wherever it is given.
    const auto expect_of_problem = [&](const char* what, Status wanted, auto spoil) {
        expect(what, wanted, [&](RoutingProblem& problem, RoutingForward&) {
            spoil(problem);
            for (int64_t bytes : {routing_forward_workspace_cpu(problem), routing_backward_workspace_cpu(problem, {}),
                                  routing_agreement_workspace_cpu(problem)})
                compare_status(std::string(what) + ", asked for its workspace,",
                               bytes < 0 ? Status(-bytes) : Status::ok, wanted);
            if ((cpu_votes_of(problem) == nullptr) != (wanted != Status::ok))
                failures.add(std::string(what) + ": what is said of its votes");
        });
    };
    const auto good = [&](const char* what, auto spoil) { expect_of_problem(what, Status::ok, spoil); };
    const auto bad_size = [&](const char* what, auto spoil) { expect_of_problem(what, Status::bad_size, spoil); };
    const auto bad_option = [&](const char* what, auto spoil) { expect_of_problem(what, Status::bad_option, spoil); };
    const auto missing = [&](const char* what, auto spoil) { expect_of_problem(what, Status::missing_pointer, spoil); };
    good("a good problem", [](RoutingProblem&) {});
    missing("no weight", [](RoutingProblem& p) { p.weight = nullptr; });
    expect_of_problem("a weight off its place", Status::misaligned,
                      [](RoutingProblem& p) { p.weight = static_cast<const uint8_t*>(p.weight) + 1; });
    bad_size("no inputs", [](RoutingProblem& p) { p.inputs = 0; });
    bad_size("a negative batch", [](RoutingProblem& p) { p.batch = -1; });
    bad_size("weights that do not divide the inputs", [](RoutingProblem& p) { p.weight_inputs = 3; });
    const auto too_large = [&](const char* what, auto spoil) { expect_of_problem(what, Status::too_large, spoil); };
    too_large("a batch of 2^60", [](RoutingProblem& p) { p.batch = int64_t(1) << 60; });
    int64_t RoutingProblem::* const kSizes[] = {&RoutingProblem::batch,       &RoutingProblem::inputs,
                                                &RoutingProblem::outputs,     &RoutingProblem::input_size,
                                                &RoutingProblem::output_size, &RoutingProblem::iterations};
    for (int64_t RoutingProblem::* size : kSizes) {
        for (int64_t batch : {0, 2}) {
            too_large("the largest size there can be", [&](RoutingProblem& p) {
                p.batch = batch;
                p.weight_inputs = 1;
                p.*size = INT64_MAX;
            });
        }
    }
    too_large("sizes that only the padding of a tile makes too large", [](RoutingProblem& p) {
        p.batch = 0;
        p.outputs = int64_t{1} << 26;
        p.iterations = int64_t{1} << 20;
    });
    // Given votes, in memory that is large enough; of x and the weight nothing counts then.
    Buffer given(1 << 16);
    const auto give_votes = [&](RoutingProblem& p) {
        p.votes = given.data() + given.bytes() / 2;
        const int64_t strides[] = {-p.inputs * p.outputs * p.output_size, p.outputs * p.output_size, -p.output_size, 1};
        memcpy(p.vote_strides, strides, sizeof strides);
        p.x = p.weight = nullptr;
    };
    for (int64_t unused : {INT64_MIN, int64_t{-1}, int64_t{0}, INT64_MAX}) {
        good("given votes", [&](RoutingProblem& p) {
            give_votes(p);
            p.input_size = p.weight_inputs = unused;
        });
    }
    for (int64_t stride : {INT64_MIN, -(int64_t{1} << 60), int64_t{1} << 50, int64_t{1} << 60, INT64_MAX}) {
        for (int axis = 0; axis < 4; ++axis) {
            too_large("votes that are too far apart", [&](RoutingProblem& p) {
                give_votes(p);
                p.vote_strides[axis] = stride;
            });
        }
    }
    bad_option("no iterations", [](RoutingProblem& p) { p.iterations = 0; });
    for (int32_t threads : {0, -1, INT32_MIN}) {
        bad_option("no threads", [&](RoutingProblem& p) { p.threads = threads; });
    }
    for (int32_t threads : {kMostThreads + 1, 4'000'000, INT32_MAX}) {
        expect_of_problem("too many threads", Status::many_threads, [&](RoutingProblem& p) { p.threads = threads; });
    }
    bad_option("an unknown dtype", [](RoutingProblem& p) { p.dtype = DType(9); });
    bad_option("leaky over inputs", [](RoutingProblem& p) { p.leaky = p.softmax_over_inputs = true; });
    for (int32_t number : {-1, 3}) {
        bad_option("an unknown gradient", [&](RoutingProblem& p) { p.gradient = Gradient(number); });
    }
    for (int32_t number : {-1, 7}) {
        bad_option("an unknown squash", [&](RoutingProblem& p) { p.squash = Squash(number); });
    }
    for (double eps : {-1e-8, double(NAN)}) {
        bad_option("a bad eps", [&](RoutingProblem& p) { p.eps = eps; });
    }
    for (double constant : {0.0, -1.0, double(NAN)}) {
        for (Squash squash : {Squash::shifted, Squash::power}) {
            bad_option("a bad constant", [&](RoutingProblem& p) {
                p.squash = squash;
                p.squash_constant = constant;
            });
        }
        good("a constant that is not used", [&](RoutingProblem& p) { p.squash_constant = constant; });
    }
    for (int32_t count : {-1, 0, kTemperatures + 1}) {
        bad_option("a bad number of temperatures", [&](RoutingProblem& p) { p.temperatures = count; });
    }
    const auto set_temperatures = [](RoutingProblem& p, double last) {
        p.temperatures = kTemperatures;
        for (double& inverse : p.inverse_temperature) inverse = 1;
        p.inverse_temperature[kTemperatures - 1] = last;
    };
    good("as many temperatures as there may be", [&](RoutingProblem& p) { set_temperatures(p, 1); });
    for (double inverse : {0.0, -1.0, double(NAN), double(INFINITY)}) {
        bad_option("a bad temperature", [&](RoutingProblem& p) { set_temperatures(p, inverse); });
    }
    const auto give_coupling = [](RoutingProblem& p) {
        p.coupling_given = true;
        p.iterations = 1;
        p.logits = p.x;  // large enough
    };
    const auto bad_coupling = [&](const char* what, auto spoil) {
        bad_option(what, [&](RoutingProblem& p) {
            give_coupling(p);
            spoil(p);
        });
    };
    good("a given coupling", give_coupling);
    bad_coupling("a given coupling with iterations", [](RoutingProblem& p) { p.iterations = 2; });
    bad_coupling("a given coupling that leaks", [](RoutingProblem& p) { p.leaky = true; });
    bad_coupling("a given coupling over inputs", [](RoutingProblem& p) { p.softmax_over_inputs = true; });
    missing("a given coupling that is not there", [&](RoutingProblem& p) {
        give_coupling(p);
        p.logits = nullptr;
    });

    Call call(example, kFormats[0], 1);
    Buffer space(1 << 20);
    const auto backward = [&](auto ask) {
        RoutingBackward buffers{};
        buffers.grad_output = call.grad_output.data();
        buffers.pre_squash = space.data();
        buffers.workspace = space.data();
        buffers.workspace_bytes = space.bytes();
        ask(buffers);
        return routing_backward_cpu(call.problem, buffers);
    };
    // Of what is not there, neither the gradient nor a workspace for it.
    const auto no_gradient = [&](const char* what, void* RoutingBackward::* gradient) {
        RoutingLastPass pass{};
        pass.gradients.*gradient = space.data();
        const auto& problem = call.problem;
        for (int64_t bytes :
             {routing_backward_workspace_cpu(problem, pass.gradients), routing_last_pass_workspace_cpu(problem, pass),
              -int64_t(backward([&](RoutingBackward& b) { b.*gradient = space.data(); }))})
            compare_status(what, Status(-bytes), Status::missing_pointer);
    };
    no_gradient("a gradient of no logits", &RoutingBackward::grad_logits);
    no_gradient("a gradient of no input weights", &RoutingBackward::grad_input_weight);
    no_gradient("a gradient of no bias", &RoutingBackward::grad_bias);
    no_gradient("a gradient of votes that were made", &RoutingBackward::grad_votes);
    const RoutingProblem made = call.problem;
    call.problem.votes = space.data();
    no_gradient("a gradient of no x", &RoutingBackward::grad_x);
    no_gradient("a gradient of no weight", &RoutingBackward::grad_weight);
    call.problem = made;
    call.problem.batch = 0;
    call.problem.weight = nullptr;
    no_gradient("a gradient of a weight that nobody has", &RoutingBackward::grad_weight);
    call.problem = made;
    RoutingAgreement agreement{call.query.data(), call.agreement.data(), space.data(), 0};
    compare_status("agreement without workspace", routing_agreement_cpu(call.problem, agreement),
                   Status::small_workspace);
    agreement.query = nullptr;
    compare_status("agreement with nothing", routing_agreement_cpu(call.problem, agreement), Status::missing_pointer);

    // An empty batch, of which nobody knows whether its votes were given or made of a weight.
    for (const Format& format : kFormats) {
        Call empty(example, format, 1);
        RoutingProblem& problem = empty.problem;
        problem.batch = 0;
        problem.x = problem.weight = nullptr;
        problem.logits = space.data();
        problem.logits_per_sample = false;
        Buffer gradient(problem.inputs * problem.outputs * format.bytes);
        RoutingBackward buffers{};
        buffers.grad_output = buffers.pre_squash = buffers.normaliser = buffers.workspace = space.data();
        buffers.workspace_bytes = space.bytes();
        buffers.grad_logits = gradient.data();
        compare_status("an empty batch without a weight", routing_backward_cpu(problem, buffers), Status::ok);
        const Numbers zeros(size_t(problem.inputs * problem.outputs));
        compare("its gradient of the logits", gradient.numbers(format), zeros, 0, failures);
    }
}

}  // namespace capsroute::tests
