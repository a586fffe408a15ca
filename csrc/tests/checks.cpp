#include "tests/checks.h"

#include <stdio.h>
#include <stdlib.h>

#include "cpu/kept_plan.h"

namespace capsroute::tests {
namespace {

// Memory of exactly the size asked for, aligned as the core wants it, full of NaN, with a guard behind it.
class Buffer {
   public:
    explicit Buffer(int64_t bytes) : bytes_(bytes), start_(bytes + kGuard + kAlignment, kPoison) {}

    Buffer(const Numbers& numbers, const Format& format) : Buffer(int64_t(numbers.size()) * format.bytes) {
        for (size_t n = 0; n < numbers.size(); ++n) encode(numbers[n], format, data() + n * format.bytes);
    }

    uint8_t* data() {
        const uintptr_t at = reinterpret_cast<uintptr_t>(start_.data());
        return start_.data() + (kAlignment - at % kAlignment) % kAlignment;
    }
    uint8_t* data_or_null() { return bytes_ ? data() : nullptr; }
    int64_t bytes() const { return bytes_; }

    Numbers numbers(const Format& format) {
        Numbers result(bytes_ / format.bytes);
        for (size_t n = 0; n < result.size(); ++n) result[n] = decode(data() + n * format.bytes, format);
        return result;
    }
    bool guard_is_whole() {
        for (int n = 0; n < kGuard; ++n)
            if (data()[bytes_ + n] != kPoison) return false;
        return true;
    }
    bool operator==(Buffer& other) { return bytes_ == other.bytes_ && !memcmp(data(), other.data(), bytes_); }

   private:
    static constexpr int kGuard = 256, kAlignment = 64;
    static constexpr uint8_t kPoison = 0xff;
    int64_t bytes_;
    std::vector<uint8_t> start_;
};

// What the core's inputs become by rounding to the format: the naive computation starts from the same numbers.
Numbers rounded(const Numbers& numbers, const Format& format) {
    return Buffer(numbers, format).numbers(format);
}

Example rounded(Example e, const Format& format) {
    for (Numbers* numbers : {&e.x, &e.weight, &e.votes, &e.bias, &e.logits, &e.grad_output})
        *numbers = rounded(*numbers, format);
    return e;
}

// The core's inputs and outputs for one example.
struct Call {
    Call(const Example& e, const Format& format, int threads)
        : x(e.x, format),
          weight(e.weight, format),
          votes(e.votes, format),
          bias(e.bias, format),
          logits(e.logits, format),
          grad_output(e.grad_output, format),
          output(grad_output.bytes()),
          grad_x(x.bytes()),
          grad_weight(weight.bytes()),
          grad_votes(votes.bytes()),
          grad_bias(bias.bytes()),
          grad_logits(logits.bytes()) {
        problem.batch = e.batch;
        problem.inputs = e.inputs;
        problem.outputs = e.outputs;
        problem.input_size = e.input_size;
        problem.output_size = e.output_size;
        problem.weight_inputs = e.weight_inputs;
        problem.iterations = e.iterations;
        problem.dtype = format.dtype;
        problem.softmax_over_inputs = e.softmax_over_inputs;
        problem.leaky = e.leaky;
        problem.gradient = e.gradient_last ? Gradient::last : Gradient::all;
        problem.agreement_factor = problem.inverse_temperature[0] = 1;
        problem.temperatures = 1;
        problem.eps = e.eps;
        problem.threads = threads;
        if (e.from_votes) {
            problem.votes = votes.data();
            const int64_t strides[] = {e.inputs * e.outputs * e.output_size, e.outputs * e.output_size, e.output_size,
                                       1};
            memcpy(problem.vote_strides, strides, sizeof strides);
        } else {
            problem.x = x.data();
            problem.weight = weight.data();
        }
        problem.bias = bias.data_or_null();
        problem.logits = logits.data_or_null();
        problem.logits_per_sample = e.logits_per_sample;
        problem.input_mask = e.input_mask.empty() ? nullptr : e.input_mask.data();
        problem.output_mask = e.output_mask.empty() ? nullptr : e.output_mask.data();
    }

    // Runs forward and backward; false, and a failure, when the core refuses.
    bool run(const std::string& name, Failures& failures) {
        const int64_t accumulator = problem.dtype == DType::float64 ? 8 : 4;
        const int64_t pairs = problem.iterations * problem.batch * problem.outputs;
        Buffer pre_squash(pairs * problem.output_size * accumulator);
        Buffer normaliser(problem.softmax_over_inputs ? 2 * pairs * accumulator : 0);

        const int64_t forward_bytes = routing_forward_workspace_cpu(problem);
        if (forward_bytes < 0) return refused(name + ": forward workspace", Status(-forward_bytes), failures);
        Buffer forward_space(forward_bytes);
        RoutingForward forward{};
        forward.output = output.data();
        forward.pre_squash = pre_squash.data();
        forward.normaliser = normaliser.data_or_null();
        forward.workspace = forward_space.data();
        forward.workspace_bytes = forward_bytes;
        if (Status status = routing_forward_cpu(problem, forward); status != Status::ok)
            return refused(name + ": forward", status, failures);

        RoutingBackward backward{};
        backward.grad_output = grad_output.data();
        backward.pre_squash = pre_squash.data();
        backward.normaliser = normaliser.data_or_null();
        backward.grad_x = grad_x.data_or_null();
        backward.grad_weight = grad_weight.data_or_null();
        backward.grad_votes = grad_votes.data_or_null();
        backward.grad_bias = grad_bias.data_or_null();
        backward.grad_logits = grad_logits.data_or_null();
        const int64_t backward_bytes = routing_backward_workspace_cpu(problem, backward);
        if (backward_bytes < 0) return refused(name + ": backward workspace", Status(-backward_bytes), failures);
        Buffer backward_space(backward_bytes);
        backward.workspace = backward_space.data();
        backward.workspace_bytes = backward_bytes;
        if (Status status = routing_backward_cpu(problem, backward); status != Status::ok)
            return refused(name + ": backward", status, failures);

        for (Buffer* buffer : {&pre_squash, &normaliser, &forward_space, &backward_space, &output, &grad_x,
                               &grad_weight, &grad_votes, &grad_bias, &grad_logits})
            if (!buffer->guard_is_whole()) failures.add(name + ": something was written behind a buffer");
        return true;
    }

    Buffer x, weight, votes, bias, logits, grad_output;
    Buffer output, grad_x, grad_weight, grad_votes, grad_bias, grad_logits;
    RoutingProblem problem{};

   private:
    static bool refused(const std::string& what, Status status, Failures& failures) {
        failures.add(what + " refused: " + status_text(status));
        return false;
    }
};

double largest(const Numbers& numbers) {
    double most = 0;
    for (double number : numbers) most = fmax(most, fabs(number));
    return most;
}

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

// NaN counts as an infinite error.
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
                const Numbers output = naive_forward(moved);
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
    if (!named.example.bias.empty()) check("bias", &Example::bias, answer.bias);
}

void check_example(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                   Failures& failures) {
    const Example example = rounded(named.example, format);
    const Answer expected = naive_forward_and_backward(example);
    for (const Kernels& kernels : all) {
        const std::string name = kernels.isa + ", " + kernels.votes + ", " + format.name + ", " + named.name;
        if (!cpu_isa_choose(kernels.isa.c_str()) || cpu_isa() != kernels.isa ||
            !cpu_votes_choose(kernels.votes.c_str()) || cpu_votes() != kernels.votes)
            failures.add(name + ": these kernels were not chosen");
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
    if (cpu_votes_choose("none such") || std::string(cpu_votes()) != "tile")
        failures.add("an unknown way to the votes was chosen");
    cpu_votes_choose("automatic");
}

void check_refusals(Failures& failures) {
    const Example example = small_examples().front().example;
    const auto expect = [&](const char* what, Status wanted, auto spoil) {
        Call call(example, kFormats[0], 1);
        Buffer space(1 << 20);
        RoutingForward forward{};
        forward.output = call.output.data();
        forward.workspace = space.data();
        forward.workspace_bytes = space.bytes();
        spoil(call.problem, forward);
        const Status status = routing_forward_cpu(call.problem, forward);
        if (status != wanted) failures.add(std::string(what) + " gave: " + status_text(status));
    };
    expect("a good problem", Status::ok, [](RoutingProblem&, RoutingForward&) {});
    expect("no inputs", Status::bad_size, [](RoutingProblem& p, RoutingForward&) { p.inputs = 0; });
    expect("a negative batch", Status::bad_size, [](RoutingProblem& p, RoutingForward&) { p.batch = -1; });
    expect("weights that do not divide the inputs", Status::bad_size,
           [](RoutingProblem& p, RoutingForward&) { p.weight_inputs = 3; });
    expect("no iterations", Status::bad_option, [](RoutingProblem& p, RoutingForward&) { p.iterations = 0; });
    expect("an unknown dtype", Status::bad_option, [](RoutingProblem& p, RoutingForward&) { p.dtype = DType(9); });
    expect("leaky over inputs", Status::bad_option,
           [](RoutingProblem& p, RoutingForward&) { p.leaky = p.softmax_over_inputs = true; });
    expect("no weight", Status::missing_pointer, [](RoutingProblem& p, RoutingForward&) { p.weight = nullptr; });
    expect("no output", Status::missing_pointer, [](RoutingProblem&, RoutingForward& f) { f.output = nullptr; });
    expect("no workspace", Status::small_workspace, [](RoutingProblem&, RoutingForward& f) { f.workspace_bytes = 0; });
    expect("a batch of 2^60", Status::too_large,
           [](RoutingProblem& p, RoutingForward&) { p.batch = int64_t(1) << 60; });
}

}  // namespace capsroute::tests
