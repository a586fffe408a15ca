// The module capsroute._emulated: the CUDA kernels as the CPU runs them, and what can be set on the emulated device.
#include "../bindings/cuda.h"
#include "../bindings/routing.h"
#include "../cuda/device.cuh"
#include "../cuda/host.h"
#include "config.h"

namespace capsroute::cuda {

struct Nothing {
    int unused;
};

CAPSROUTE_KERNEL(32, 1) read_what_nobody_wrote(CAPSROUTE_PARAMETER Nothing) {
    shared_memory(32).load(thread_index());
}

// Breaks a rule in a kernel, or already at its launch, so that tests can see what Python makes of it.
void break_rule(bool at_launch) {
    const Kernel kernel = kernel_of(read_what_nobody_wrote, "read_what_nobody_wrote", 32, 1);
    const Shape shape{1, at_launch ? 64 : 32, 128};
    const Nothing nothing{};
    Device device;
    bindings::raise_on_failure(device_of(0, device));
    int blocks;
    bindings::raise_on_failure(resident_blocks(device, kernel, shape, blocks));
    bindings::raise_on_failure(launch(device, kernel, shape, nullptr, &nothing, sizeof nothing));
}

}  // namespace capsroute::cuda

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
    const auto calls_of = [](const auto&) -> const capsroute::RoutingCalls& { return capsroute::routing_on_cuda; };
    capsroute::bindings::bind_routing(m, calls_of, capsroute::bindings::describe_cuda);
    capsroute::bindings::bind_cuda(m);
    m.def("configure", &configure, "architecture"_a, "multiprocessors"_a, "order"_a, "seed"_a, "check_races"_a);
    m.def("break_rule", &capsroute::cuda::break_rule, "at_launch"_a);
    m.def("settings", &settings);
    m.def("counters", &counters);
}
