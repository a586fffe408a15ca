// The module capsroute._native: pointers, sizes and options in, an exception out. Python checks the arguments and owns
// all memory.
#include <cstdlib>
#include <cstring>

#include "bindings/cuda.h"
#include "bindings/routing.h"

#if !defined(CAPSROUTE_VERSION)
#error "CAPSROUTE_VERSION is set by CMakeLists.txt"
#endif

namespace {

namespace py = pybind11;
using namespace py::literals;
using capsroute::Status;
using capsroute::bindings::PlacedProblem;

const capsroute::RoutingCalls& calls_of(const PlacedProblem& placed) {
    return placed.place.device < 0 ? capsroute::routing_on_cpu : capsroute::routing_on_cuda;
}

std::string describe(const PlacedProblem& placed) {
    if (placed.place.device >= 0) return capsroute::bindings::describe_cuda(placed);
    const char* votes = capsroute::cpu_votes_of(placed.problem);
    if (!votes) capsroute::bindings::raise_on_failure(Status::bad_size);
    return std::string("instruction set '") + capsroute::cpu_isa() + "', " + votes;
}

std::vector<std::string> isa_names(bool usable_only) {
    std::vector<std::string> names;
    for (int isa = 0; isa < capsroute::cpu_isa_count(); ++isa) {
        if (!usable_only || capsroute::cpu_isa_usable(isa)) names.push_back(capsroute::cpu_isa_name(isa));
    }
    return names;
}

void choose_votes(const std::string& name) {
    if (capsroute::cpu_votes_choose(name.c_str())) return;
    std::string known;
    for (int votes = 0; capsroute::cpu_votes_name(votes); ++votes) {
        known += (known.empty() ? "'" : ", '") + std::string(capsroute::cpu_votes_name(votes)) + "'";
    }
    throw std::invalid_argument("votes must be one of " + known + ", got '" + name + "'");
}

void choose_isa(const std::string& name) {
    if (capsroute::cpu_isa_choose(name.c_str())) return;
    std::string known;
    for (const std::string& usable : isa_names(true)) known += (known.empty() ? "'" : ", '") + usable + "'";
    throw std::invalid_argument("instruction set must be one that is built and that this CPU runs: " + known +
                                ", got '" + name + "'");
}

int64_t multiply_adds(int64_t rounds, int threads, bool float64) {
    if (rounds < 1 || threads < 1) throw std::invalid_argument("rounds and threads must be at least 1");
    return capsroute::bindings::unlocked([&] { return capsroute::cpu_multiply_adds(rounds, threads, float64); });
}

py::dict build_info() {
    py::dict info;
    info["version"] = CAPSROUTE_VERSION;
    info["cpu_isas"] = isa_names(false);
    info["cuda_archs"] = capsroute::bindings::cuda_archs();
    info["openmp"] = capsroute::built_with_openmp();
    info["compiler"] = __VERSION__;
    return info;
}

}  // namespace

PYBIND11_MODULE(_native, m, py::mod_gil_not_used()) {
    m.doc() = "The compiled core of capsroute: addresses and sizes only; use the functions of capsroute instead.";
    capsroute::bindings::bind_routing(m, calls_of, describe);
    capsroute::bindings::bind_cuda(m);
    m.def("build_info", &build_info);
    m.def("cpu_isa", &capsroute::cpu_isa);
    m.def("usable_cpu_isas", [] { return isa_names(true); });
    m.def("choose_cpu_isa", &choose_isa, "name"_a);
    m.def("cpu_votes", &capsroute::cpu_votes);
    m.def("choose_cpu_votes", &choose_votes, "name"_a);
    m.def("cpu_multiply_adds", &multiply_adds, "rounds"_a, "threads"_a, "float64"_a);

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
