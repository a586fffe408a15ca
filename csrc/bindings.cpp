// pybind11: pointers, sizes and options in, an exception out. Python checks the arguments and owns all memory.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "capsroute.h"

#if !defined(CAPSROUTE_VERSION)
#error "CAPSROUTE_VERSION is set by CMakeLists.txt"
#endif

namespace py = pybind11;
using namespace py::literals;

namespace {

using capsroute::RoutingBackward;
using capsroute::RoutingForward;
using capsroute::RoutingProblem;
using capsroute::Status;

using Address = std::uintptr_t;  // what Tensor.data_ptr() returns; 0 = none

template <class T = void>
T* pointer(Address address) {
    return reinterpret_cast<T*>(address);
}

void raise_on_failure(Status status) {
    if (status != Status::ok) {
        throw std::runtime_error(std::string("capsroute core: ") + capsroute::status_text(status));
    }
}

int64_t bytes_or_raise(int64_t bytes) {
    if (bytes < 0) raise_on_failure(Status(-bytes));
    return bytes;
}

// sizes: B, I, J, d, D, I_w. options: iterations, softmax axis (1 = inputs), leaky, gradient (1 = last), as packed by
// capsroute/options.py; further entries choose the backend and are not for the core.
RoutingProblem make_problem(const std::array<int64_t, 6>& sizes, int dtype, const std::vector<int64_t>& options,
                            const std::vector<double>& values, int threads, Address x, Address weight, Address votes,
                            const std::array<int64_t, 4>& vote_strides, Address bias, Address logits,
                            bool logits_per_sample, Address input_mask, Address output_mask) {
    if (options.size() < 4 || values.empty()) throw std::invalid_argument("options or values are too short");
    RoutingProblem problem{};
    problem.batch = sizes[0];
    problem.inputs = sizes[1];
    problem.outputs = sizes[2];
    problem.input_size = sizes[3];
    problem.output_size = sizes[4];
    problem.weight_inputs = sizes[5];
    problem.iterations = options[0];
    problem.dtype = capsroute::DType(dtype);
    problem.softmax_over_inputs = options[1] != 0;
    problem.leaky = options[2] != 0;
    problem.gradient_last = options[3] != 0;
    problem.eps = values[0];
    problem.threads = threads;
    problem.x = pointer(x);
    problem.weight = pointer(weight);
    problem.votes = pointer(votes);
    for (int axis = 0; axis < 4; ++axis) problem.vote_strides[axis] = vote_strides[axis];
    problem.bias = pointer(bias);
    problem.logits = pointer(logits);
    problem.logits_per_sample = logits_per_sample;
    problem.input_mask = pointer<const uint8_t>(input_mask);
    problem.output_mask = pointer<const uint8_t>(output_mask);
    return problem;
}

RoutingBackward make_backward(Address grad_output, Address pre_squash, Address normaliser, Address grad_x,
                              Address grad_weight, Address grad_votes, Address grad_bias, Address grad_logits) {
    RoutingBackward buffers{};
    buffers.grad_output = pointer(grad_output);
    buffers.pre_squash = pointer(pre_squash);
    buffers.normaliser = pointer(normaliser);
    buffers.grad_x = pointer(grad_x);
    buffers.grad_weight = pointer(grad_weight);
    buffers.grad_votes = pointer(grad_votes);
    buffers.grad_bias = pointer(grad_bias);
    buffers.grad_logits = pointer(grad_logits);
    return buffers;
}

void run_forward(const RoutingProblem& problem, Address output, Address pre_squash, Address normaliser,
                 Address workspace, int64_t workspace_bytes) {
    const RoutingForward buffers{pointer(output), pointer(pre_squash), pointer(normaliser), pointer(workspace),
                                 workspace_bytes};
    Status status;
    {
        py::gil_scoped_release unlocked;
        status = capsroute::routing_forward_cpu(problem, buffers);
    }
    raise_on_failure(status);
}

void run_backward(const RoutingProblem& problem, RoutingBackward buffers, Address workspace, int64_t workspace_bytes) {
    buffers.workspace = pointer(workspace);
    buffers.workspace_bytes = workspace_bytes;
    Status status;
    {
        py::gil_scoped_release unlocked;
        status = capsroute::routing_backward_cpu(problem, buffers);
    }
    raise_on_failure(status);
}

std::vector<std::string> isa_names(bool usable_only) {
    std::vector<std::string> names;
    for (int isa = 0; isa < capsroute::cpu_isa_count(); ++isa) {
        if (!usable_only || capsroute::cpu_isa_usable(isa)) names.push_back(capsroute::cpu_isa_name(isa));
    }
    return names;
}

void choose_isa(const std::string& name) {
    if (capsroute::cpu_isa_choose(name.c_str())) return;
    std::string known;
    for (const std::string& usable : isa_names(true)) known += (known.empty() ? "'" : ", '") + usable + "'";
    throw std::invalid_argument("instruction set must be one that is built and that this CPU runs: " + known +
                                ", got '" + name + "'");
}

py::dict build_info() {
    py::dict info;
    info["version"] = CAPSROUTE_VERSION;
    info["cpu_isas"] = isa_names(false);
    info["cuda_archs"] = py::list();
    info["emulation"] = false;
    info["openmp"] = capsroute::built_with_openmp();
    info["compiler"] = __VERSION__;
    return info;
}

}  // namespace

PYBIND11_MODULE(_native, m, py::mod_gil_not_used()) {
    m.doc() = "The compiled core of capsroute: addresses and sizes only; use the functions of capsroute instead.";
    py::class_<RoutingProblem>(m, "RoutingProblem")
        .def(py::init(&make_problem), "sizes"_a, "dtype"_a, "options"_a, "values"_a, "threads"_a, "x"_a, "weight"_a,
             "votes"_a, "vote_strides"_a, "bias"_a, "logits"_a, "logits_per_sample"_a, "input_mask"_a, "output_mask"_a)
        .def("forward_workspace",
             [](const RoutingProblem& p) { return bytes_or_raise(capsroute::routing_forward_workspace_cpu(p)); })
        .def("forward", &run_forward, "output"_a, "pre_squash"_a, "normaliser"_a, "workspace"_a, "workspace_bytes"_a)
        .def("backward_workspace",
             [](const RoutingProblem& p, const RoutingBackward& buffers) {
                 return bytes_or_raise(capsroute::routing_backward_workspace_cpu(p, buffers));
             })
        .def("backward", &run_backward, "buffers"_a, "workspace"_a, "workspace_bytes"_a);
    py::class_<RoutingBackward>(m, "RoutingBackward")
        .def(py::init(&make_backward), "grad_output"_a, "pre_squash"_a, "normaliser"_a, "grad_x"_a, "grad_weight"_a,
             "grad_votes"_a, "grad_bias"_a, "grad_logits"_a);
    m.def("build_info", &build_info);
    m.def("cpu_isa", &capsroute::cpu_isa);
    m.def("usable_cpu_isas", [] { return isa_names(true); });
    m.def("choose_cpu_isa", &choose_isa, "name"_a);

    // A forced instruction set that cannot be had is an error here, not a silent other choice.
    if (const char* forced = std::getenv("CAPSROUTE_CPU_ISA"); forced && *forced) {
        if (std::strcmp(forced, capsroute::cpu_isa()) != 0) {
            try {
                choose_isa(forced);
            } catch (const std::invalid_argument& error) {
                throw py::import_error(std::string("CAPSROUTE_CPU_ISA: ") + error.what());
            }
        }
    }
}
