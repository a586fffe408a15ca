// The module capsroute._emulated: the CUDA kernels as the CPU runs them, and what can be set on the emulated device.
#include "../bindings/cuda.h"
#include "../bindings/routing.h"
#include "config.h"

namespace {

namespace py = pybind11;
using namespace py::literals;
namespace emulation = capsroute::emulation;

constexpr std::array<const char*, 3> kOrders = {"forward", "reverse", "shuffled"};  // in the order of emulation::Order

emulation::Order order_of(const std::string& name) {
    for (size_t order = 0; order < kOrders.size(); ++order) {
        if (name == kOrders[order]) return emulation::Order(order);
    }
    throw std::invalid_argument("order must be one of 'forward', 'reverse', 'shuffled', got '" + name + "'");
}

void configure(int architecture, int multiprocessors, const std::string& order, uint64_t seed, bool check_races) {
    const emulation::Settings settings{architecture, multiprocessors, order_of(order), seed, check_races};
    if (emulation::configure(settings) != capsroute::Status::ok) {
        throw std::invalid_argument(capsroute::cuda_error_detail());
    }
}

py::dict settings() {
    const emulation::Settings now = emulation::settings();
    return py::dict("architecture"_a = now.architecture, "multiprocessors"_a = now.multiprocessors,
                    "order"_a = kOrders[size_t(now.order)], "seed"_a = now.seed, "check_races"_a = now.check_races);
}

py::dict counters() {
    const emulation::Counters now = emulation::counters();
    return py::dict("launches"_a = now.launches, "faults"_a = now.faults, "threads"_a = now.threads,
                    "barriers"_a = now.barriers, "warp_operations"_a = now.warp_operations, "mma"_a = now.mma);
}

}  // namespace

PYBIND11_MODULE(_emulated, m, py::mod_gil_not_used()) {
    m.doc() = "The CUDA kernels of capsroute on an emulated device, for tests: see capsroute.testing.";
    auto problem = capsroute::bindings::bind_routing<capsroute::bindings::CudaKernels>(m);
    capsroute::bindings::bind_cuda(m, problem);
    m.def("configure", &configure, "architecture"_a, "multiprocessors"_a, "order"_a, "seed"_a, "check_races"_a);
    m.def("settings", &settings);
    m.def("counters", &counters);
}
