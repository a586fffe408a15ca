// What both modules offer Python: the problem with where it runs, the buffers of its backward, and the calls.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../capsroute.h"
#include "unlocked.h"

namespace capsroute::bindings {

namespace py = pybind11;
using namespace py::literals;

using Address = std::uintptr_t;  // what Tensor.data_ptr() returns; 0 = none

template <class T = void>
T* pointer(Address address) {
    return reinterpret_cast<T*>(address);
}

// A problem and where it runs; device -1 stands for the CPU.
struct PlacedProblem {
    RoutingProblem problem;
    Place place;
};

inline void raise_on_failure(Status status) {
    if (status == Status::ok) return;
    std::string text = std::string("capsroute core: ") + status_text(status);
    if (status == Status::launch_failed || status == Status::fault) text += std::string(": ") + cuda_error_detail();
    throw std::runtime_error(text);
}

// sizes: B, I, J, d, D, I_w. Options and values are packed by capsroute/routing/options.py.
inline PlacedProblem make_problem(const std::array<int64_t, 6>& sizes, int dtype, const std::vector<int64_t>& options,
                                  const std::vector<double>& values, int threads, int device, Address stream, Address x,
                                  Address weight, Address votes, const std::array<int64_t, 4>& vote_strides,
                                  Address bias, Address logits, bool logits_per_sample, Address input_weight,
                                  Address input_mask, Address output_mask) {
    RoutingProblem problem{};
    if (!unpack(options.data(), int64_t(options.size()), values.data(), int64_t(values.size()), problem)) {
        throw std::invalid_argument("options or values have the wrong length");
    }
    problem.batch = sizes[0];
    problem.inputs = sizes[1];
    problem.outputs = sizes[2];
    problem.input_size = sizes[3];
    problem.output_size = sizes[4];
    problem.weight_inputs = sizes[5];
    problem.dtype = DType(dtype);
    problem.threads = threads;
    problem.x = pointer(x);
    problem.weight = pointer(weight);
    problem.votes = pointer(votes);
    for (int axis = 0; axis < 4; ++axis) problem.vote_strides[axis] = vote_strides[axis];
    problem.bias = pointer(bias);
    problem.logits = pointer(logits);
    problem.logits_per_sample = logits_per_sample;
    problem.input_weight = pointer(input_weight);
    problem.input_mask = pointer<const uint8_t>(input_mask);
    problem.output_mask = pointer<const uint8_t>(output_mask);
    return {problem, {device, pointer(stream)}};
}

inline RoutingBackward make_backward(Address grad_output, Address pre_squash, Address normaliser, Address grad_x,
                                     Address grad_weight, Address grad_votes, Address grad_bias, Address grad_logits,
                                     Address grad_input_weight) {
    return {pointer(grad_output),
            pointer(pre_squash),
            pointer(normaliser),
            pointer(grad_x),
            pointer(grad_weight),
            pointer(grad_votes),
            pointer(grad_bias),
            pointer(grad_logits),
            pointer(grad_input_weight),
            nullptr,
            0};
}

template <class Buffers>
int64_t workspace_of(const Call<Buffers>& call, const PlacedProblem& placed, const Buffers& buffers = {}) {
    const int64_t bytes = call.workspace(placed.problem, buffers, placed.place);
    if (bytes < 0) raise_on_failure(Status(-bytes));
    return bytes;
}

// Without the interpreter's lock.
template <class Buffers>
void run(const Call<Buffers>& call, const PlacedProblem& placed, const Buffers& buffers) {
    raise_on_failure(unlocked([&] { return call.run(placed.problem, buffers, placed.place); }));
}

inline RoutingBackward with_workspace(RoutingBackward buffers, Address workspace, int64_t bytes) {
    buffers.workspace = pointer(workspace);
    buffers.workspace_bytes = bytes;
    return buffers;
}

using CallsOf = const RoutingCalls& (*)(const PlacedProblem&);

// The passes of the op one by one.
inline void bind_passes(py::class_<PlacedProblem>& bound, CallsOf calls) {
    bound.def("forward_pass_workspace",
              [=](const PlacedProblem& placed) { return workspace_of(calls(placed).forward_pass, placed); });
    bound.def(
        "forward_pass",
        [=](const PlacedProblem& placed, int64_t iteration, Address query, Address sum, Address normaliser,
            Address workspace, int64_t workspace_bytes) {
            run(calls(placed).forward_pass, placed,
                {iteration, pointer(query), pointer(sum), pointer(normaliser), pointer(workspace), workspace_bytes});
        },
        "iteration"_a, "query"_a, "sum"_a, "normaliser"_a, "workspace"_a, "workspace_bytes"_a);
    bound.def("backward_pass_workspace",
              [=](const PlacedProblem& placed) { return workspace_of(calls(placed).backward_pass, placed); });
    bound.def(
        "backward_pass",
        [=](const PlacedProblem& placed, int64_t iteration, Address query, Address slope, Address normaliser,
            Address mean, Address sum, Address workspace, int64_t workspace_bytes) {
            run(calls(placed).backward_pass, placed,
                {iteration, pointer(query), pointer(slope), pointer(normaliser), pointer(mean), pointer(sum),
                 pointer(workspace), workspace_bytes});
        },
        "iteration"_a, "query"_a, "slope"_a, "normaliser"_a, "mean"_a, "sum"_a, "workspace"_a, "workspace_bytes"_a);
    bound.def("last_pass_workspace", [=](const PlacedProblem& placed, const RoutingBackward& gradients) {
        return workspace_of(calls(placed).last_pass, placed, {nullptr, nullptr, nullptr, nullptr, gradients});
    });
    bound.def(
        "last_pass",
        [=](const PlacedProblem& placed, Address query, Address slope, Address normaliser, Address mean,
            const RoutingBackward& gradients, Address workspace, int64_t workspace_bytes) {
            run(calls(placed).last_pass, placed,
                {pointer(query), pointer(slope), pointer(normaliser), pointer(mean),
                 with_workspace(gradients, workspace, workspace_bytes)});
        },
        "query"_a, "slope"_a, "normaliser"_a, "mean"_a, "gradients"_a, "workspace"_a, "workspace_bytes"_a);
    bound.def("query_update", [](const PlacedProblem& placed, int64_t iteration) {
        const QueryUpdate update = routing_query_update(placed.problem, iteration);
        return std::pair(update.keep, update.add);
    });
}

// `calls` says which ones a problem takes. Each module registers the classes for itself.
inline void bind_routing(py::module_& m, CallsOf calls, std::string (*describe)(const PlacedProblem&)) {
    py::class_<RoutingBackward>(m, "RoutingBackward", py::module_local())
        .def(py::init(&make_backward), "grad_output"_a, "pre_squash"_a, "normaliser"_a, "grad_x"_a, "grad_weight"_a,
             "grad_votes"_a, "grad_bias"_a, "grad_logits"_a, "grad_input_weight"_a);

    py::class_<PlacedProblem> bound(m, "RoutingProblem", py::module_local());
    bound.def(py::init(&make_problem), "sizes"_a, "dtype"_a, "options"_a, "values"_a, "threads"_a, "device"_a,
              "stream"_a, "x"_a, "weight"_a, "votes"_a, "vote_strides"_a, "bias"_a, "logits"_a, "logits_per_sample"_a,
              "input_weight"_a, "input_mask"_a, "output_mask"_a);
    bound.def("describe", describe);
    bound.def("forward_workspace",
              [=](const PlacedProblem& placed) { return workspace_of(calls(placed).forward, placed); });
    bound.def(
        "forward",
        [=](const PlacedProblem& placed, Address output, Address pre_squash, Address normaliser, Address workspace,
            int64_t workspace_bytes) {
            run(calls(placed).forward, placed,
                {pointer(output), pointer(pre_squash), pointer(normaliser), pointer(workspace), workspace_bytes});
        },
        "output"_a, "pre_squash"_a, "normaliser"_a, "workspace"_a, "workspace_bytes"_a);
    bound.def("backward_workspace", [=](const PlacedProblem& placed, const RoutingBackward& buffers) {
        return workspace_of(calls(placed).backward, placed, buffers);
    });
    bound.def(
        "backward",
        [=](const PlacedProblem& placed, const RoutingBackward& buffers, Address workspace, int64_t workspace_bytes) {
            run(calls(placed).backward, placed, with_workspace(buffers, workspace, workspace_bytes));
        },
        "buffers"_a, "workspace"_a, "workspace_bytes"_a);
    bound.def("agreement_workspace",
              [=](const PlacedProblem& placed) { return workspace_of(calls(placed).agreement, placed); });
    bound.def(
        "agreement",
        [=](const PlacedProblem& placed, Address query, Address agreement, Address workspace, int64_t workspace_bytes) {
            run(calls(placed).agreement, placed,
                {pointer(query), pointer(agreement), pointer(workspace), workspace_bytes});
        },
        "query"_a, "agreement"_a, "workspace"_a, "workspace_bytes"_a);
    bind_passes(bound, calls);
}

}  // namespace capsroute::bindings
