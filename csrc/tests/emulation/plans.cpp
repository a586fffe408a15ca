// How the CUDA side divides problems.
#include <string.h>

#include "cuda/plan.h"
#include "tests/core.h"
#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

alignas(64) uint8_t any[64];  // stands for every pointer; nothing is read from it

void expect_status(const std::string& what, Status got, Status wanted, Failures& failures) {
    if (got != wanted) failures.add(what + " gave: " + status_text(got));
}

Status status_of(int64_t bytes) {
    return bytes < 0 ? Status(-bytes) : Status::ok;
}

// The fused kernels, were they asked, would have a plan for it too.
void check_fused_plan_of_empty_batch(Failures& failures) {
    RoutingProblem p = small_problem(any);
    p.batch = 0;
    cuda::Device device;
    expect_status("device 0", cuda::device_of(0, device), Status::ok, failures);
    for (cuda::Direction direction : {cuda::Direction::forward, cuda::Direction::backward}) {
        cuda::Plan plan;
        const int64_t bytes = plan_fused(p, device, direction, {}, nullptr, plan);
        expect_status("a plan of nothing for nobody", status_of(bytes), Status::ok, failures);
    }
}

// Sizes that no memory holds, or that a plan could not count in 32 bits.
void check_large_sizes(Failures& failures) {
    RoutingProblem p = small_problem(any);
    p.iterations = INT64_MAX;
    expect_status("a forward pass of more iterations than can be counted",
                  status_of(routing_on_cuda.forward_pass.workspace(p, {}, {})), Status::too_large, failures);

    // The weights of one input take more than 2^31 bytes of shared memory, so the last pass must divide its outputs.
    p = small_problem(any);
    p.inputs = p.weight_inputs = 1;
    p.outputs = 1 << 15;
    p.output_size = 64;
    p.input_size = 1 << 8;
    cuda::Device device;
    cuda::Plan plan;
    expect_status("device 0", cuda::device_of(0, device), Status::ok, failures);
    const int64_t bytes = plan_fused(p, device, cuda::Direction::backward, {.x = true}, nullptr, plan);
    if (bytes > 0 && (plan.last_shared_bytes < 1 || plan.last_shared_bytes > device.shared_bytes)) {
        failures.add("a large weight has a plan for " + std::to_string(plan.last_shared_bytes) + " bytes");
    }
    if (bytes <= 0) failures.add("a large weight has no plan");
}

// Whatever is asked of the division, there is a plan that fits the device, or a status.
void check_asked_divisions(Failures& failures) {
    RoutingProblem p = small_problem(any);
    p.batch = 100;
    p.cuda_kernel = CudaKernel::fused;
    cuda::Device device;
    expect_status("device 0", cuda::device_of(0, device), Status::ok, failures);
    constexpr int32_t figures[] = {INT32_MIN, -1, 0, 1, 3, 8, INT32_MAX};
    for (int32_t tiles : figures) {
        for (int32_t last_outputs : figures) {
            for (int32_t last_warps : figures) {
                cuda_division_choose({tiles, last_outputs, last_warps});
                cuda::Plan plan;
                const int64_t bytes = plan_fused(p, device, cuda::Direction::backward, {.weight = true}, nullptr, plan);
                const bool possible = tiles <= 1 || tiles == 8;
                expect_status("a division into " + std::to_string(tiles) + " tiles", status_of(bytes),
                              possible ? Status::ok : Status::no_kernel, failures);
                if (bytes < 0) continue;
                if (tiles > 0 && plan.tile_warps != tiles) failures.add("a plan has other tiles than asked for");
                if (plan.shared_bytes > device.shared_bytes || plan.last_shared_bytes > device.shared_bytes)
                    failures.add("a plan asks for more shared memory than there is");
            }
        }
    }
    cuda_division_choose({});
}

// What is said of a problem goes where there is room for it, and nowhere else.
void check_descriptions(Failures& failures) {
    const RoutingProblem p = small_problem(any);
    char text[8] = "1234567";
    expect_status("a description in 4 bytes", cuda_describe(p, 0, text, 4), Status::ok, failures);
    if (strlen(text) != 3 || memcmp(text + 4, "567", 4)) failures.add("a description is longer than its room");
    for (int bytes : {0, -1, INT32_MIN}) {
        expect_status("a description without room", cuda_describe(p, 0, text, bytes), Status::missing_pointer,
                      failures);
    }
    expect_status("a description for nobody", cuda_describe(p, 0, nullptr, 8), Status::missing_pointer, failures);
}

}  // namespace

void check_plans(Failures& failures) {
    emulation::configure({});
    check_fused_plan_of_empty_batch(failures);
    check_large_sizes(failures);
    check_asked_divisions(failures);
    check_descriptions(failures);
}

}  // namespace capsroute::tests
