// How the tests launch kernels on the emulated device.
#pragma once

#include <string>

#include "cuda/device.cuh"
#include "cuda/host.h"
#include "emulation/config.h"
#include "tests/failures.h"

namespace capsroute::tests {

using emulation::Order;
using emulation::Settings;

constexpr Settings kOrders[] = {
    {.order = Order::forward},
    {.order = Order::reverse},
    {.order = Order::shuffled, .seed = 1},
    {.order = Order::shuffled, .seed = 2},
};
const char* name_of(Order order);

struct Outcome {
    Status status;
    std::string detail;  // when the status is not ok
};

// Announces the shape and launches. The kernel's bounds are (threads of a block, blocks per multiprocessor).
struct Bounds {
    int threads = 256;
    int blocks_per_multiprocessor = 1;
};
template <class Parameters>
Outcome launch(void (*function)(Parameters), const char* name, const cuda::Shape& shape, const Parameters& parameters,
               Bounds bounds = {}) {
    const cuda::Kernel kernel = cuda::kernel_of(function, name, bounds.threads, bounds.blocks_per_multiprocessor);
    cuda::Device device;
    int blocks = 0;
    Status status = cuda::device_of(0, device);
    if (status == Status::ok) status = cuda::resident_blocks(device, kernel, shape, blocks);
    if (status == Status::ok) status = cuda::launch(device, kernel, shape, nullptr, &parameters, sizeof parameters);
    return {status, status == Status::ok ? "" : cuda::error_detail()};
}

// A kernel of the tests, with what it reads and writes.
struct Program {
    void (*body)(const Program& p, const cuda::Shared& memory);
    const float* in;
    float* out;
    bool wrong;  // whether it breaks its rule
    int shared_floats;
};
using Body = decltype(Program::body);

// Runs it as a kernel of that name. All shared memory of the launch is given to its body.
Outcome run(const char* name, const cuda::Shape& shape, Body body, const float* in, float* out, bool wrong = false);

// A failure unless the outcome is a refusal or fault whose detail contains the text.
void expect(const std::string& what, const Outcome& outcome, Status status, const std::string& text,
            Failures& failures);

// The groups of tests.
void check_programs(Failures& failures);
void check_rules(Failures& failures);
void check_limits(Failures& failures);
void check_mma(Failures& failures);
void check_numbers(Failures& failures);
void check_plans(Failures& failures);
void check_hostile_problems(Failures& failures);
void print_times();

}  // namespace capsroute::tests
