// Calls of the core, whatever device it is for.
#pragma once

#include <string>

#include "tests/buffer.h"
#include "tests/failures.h"

namespace capsroute::tests {

struct Core {
    const RoutingCalls& calls;
    bool (*described)(const RoutingProblem&);  // whether there is something to say of it
};

// A small problem that is right, with the same memory for its x and its weight.
inline RoutingProblem small_problem(const void* memory) {
    RoutingProblem p{};
    p.batch = 3;
    p.inputs = 6;
    p.weight_inputs = 3;
    p.outputs = 5;
    p.input_size = 4;
    p.output_size = 8;
    p.iterations = 3;
    p.eps = 1e-8;
    p.squash_constant = p.agreement_factor = p.inverse_temperature[0] = 1;
    p.temperatures = p.threads = 1;
    p.x = p.weight = memory;
    return p;
}

inline void check_guards(const std::string& name, std::initializer_list<Buffer*> buffers, Failures& failures) {
    for (Buffer* buffer : buffers)
        if (!buffer->guard_is_whole()) failures.add(name + ": something was written beside a buffer");
}

template <class Buffers>
void set_workspace(Buffers& buffers, void* workspace, int64_t bytes) {
    if constexpr (requires { buffers.gradients; }) {
        set_workspace(buffers.gradients, workspace, bytes);
    } else {
        buffers.workspace = workspace;
        buffers.workspace_bytes = bytes;
    }
}

// Calls with a workspace of exactly the size that is asked for; false, and a failure, when the core refuses.
template <class Buffers>
bool run(const Call<Buffers>& call, const RoutingProblem& problem, Buffers buffers, const std::string& name,
         Failures& failures) {
    const int64_t bytes = call.workspace(problem, buffers, {});
    Buffer space(bytes < 0 ? 0 : bytes);
    set_workspace(buffers, space.data(), space.bytes());
    const Status status = bytes < 0 ? Status(-bytes) : call.run(problem, buffers, {});
    if (status != Status::ok) failures.add(name + " refused: " + status_text(status));
    check_guards(name, {&space}, failures);
    return status == Status::ok;
}

}  // namespace capsroute::tests
