// The core's inputs and outputs for one example, and the calls.
#pragma once

#include <string>

#include "tests/buffer.h"
#include "tests/checks.h"

namespace capsroute::tests {

class Call {
   public:
    Call(const Example& e, const Format& format, int threads)
        : x(e.x, format),
          weight(e.weight, format),
          votes(e.votes, format),
          bias(e.bias, format),
          logits(e.logits, format),
          input_weight(e.input_weight, format),
          grad_output(e.grad_output, format),
          query(e.grad_output, accumulation_format(format)),
          output(grad_output.bytes()),
          grad_x(x.bytes()),
          grad_weight(weight.bytes()),
          grad_votes(votes.bytes()),
          grad_bias(bias.bytes()),
          grad_logits(logits.bytes()),
          grad_input_weight(input_weight.bytes()),
          agreement(e.batch * e.inputs * e.outputs * accumulation_format(format).bytes) {
        for (Buffer* buffer : {&x, &votes, &input_weight}) buffer->poison_absent(e.input_mask);
        problem.batch = e.batch;
        problem.inputs = e.inputs;
        problem.outputs = e.outputs;
        problem.input_size = e.input_size;
        problem.output_size = e.output_size;
        problem.weight_inputs = e.weight_inputs;
        problem.iterations = e.iterations;
        problem.dtype = format.dtype;
        problem.threads = threads;
        set_options(e);
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
        problem.input_weight = input_weight.data_or_null();
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
        backward.grad_input_weight = grad_input_weight.data_or_null();
        const int64_t backward_bytes = routing_backward_workspace_cpu(problem, backward);
        if (backward_bytes < 0) return refused(name + ": backward workspace", Status(-backward_bytes), failures);
        Buffer backward_space(backward_bytes);
        backward.workspace = backward_space.data();
        backward.workspace_bytes = backward_bytes;
        if (Status status = routing_backward_cpu(problem, backward); status != Status::ok)
            return refused(name + ": backward", status, failures);

        check_guards(name,
                     {&pre_squash, &normaliser, &forward_space, &backward_space, &output, &grad_x, &grad_weight,
                      &grad_votes, &grad_bias, &grad_logits, &grad_input_weight},
                     failures);
        return true;
    }

    // The products of the votes with the query.
    bool run_agreement(const std::string& name, Failures& failures) {
        const int64_t bytes = routing_agreement_workspace_cpu(problem);
        if (bytes < 0) return refused(name + ": workspace", Status(-bytes), failures);
        Buffer space(bytes);
        const RoutingAgreement buffers{query.data(), agreement.data(), space.data(), bytes};
        if (Status status = routing_agreement_cpu(problem, buffers); status != Status::ok)
            return refused(name, status, failures);
        check_guards(name, {&space, &agreement}, failures);
        return true;
    }

    static void check_guards(const std::string& name, std::initializer_list<Buffer*> buffers, Failures& failures) {
        for (Buffer* buffer : buffers)
            if (!buffer->guard_is_whole()) failures.add(name + ": something was written beside a buffer");
    }

    Buffer x, weight, votes, bias, logits, input_weight, grad_output, query;
    Buffer output, grad_x, grad_weight, grad_votes, grad_bias, grad_logits, grad_input_weight, agreement;
    RoutingProblem problem{};

   private:
    void set_options(const Example& e) {
        problem.softmax_over_inputs = e.softmax_over_inputs;
        problem.leaky = e.leaky;
        problem.gradient = e.gradient;
        problem.squash = e.squash;
        problem.eps = e.eps;
        problem.squash_constant = e.squash_constant;
        problem.keep_s = e.keep_s;
        problem.replace_logits = e.replace_logits;
        problem.coupling_given = e.coupling_given;
        problem.agreement_factor = e.agreement_factor;
        const Numbers temperatures = e.temperatures.empty() ? Numbers{1} : e.temperatures;
        problem.temperatures = int32_t(temperatures.size());
        for (size_t t = 0; t < temperatures.size(); ++t) problem.inverse_temperature[t] = 1 / temperatures[t];
    }

    static bool refused(const std::string& what, Status status, Failures& failures) {
        failures.add(what + " refused: " + status_text(status));
        return false;
    }
};

}  // namespace capsroute::tests
