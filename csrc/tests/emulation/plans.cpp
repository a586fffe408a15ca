// Workspaces that the CUDA side plans, and problems that it must answer with a status.
#include <math.h>
#include <string.h>

#include <vector>

#include "cuda/plan.h"
#include "tests/buffer.h"
#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

alignas(64) uint8_t any[64];  // stands for every pointer; nothing is read from it

RoutingProblem small_problem() {
    RoutingProblem p{};
    p.batch = 3;
    p.inputs = 6;
    p.outputs = 5;
    p.input_size = 4;
    p.output_size = 8;
    p.weight_inputs = 3;
    p.iterations = 3;
    p.eps = 1e-8;
    p.agreement_factor = 1;
    p.inverse_temperature[0] = 1;
    p.temperatures = 1;
    p.threads = 1;
    p.x = p.weight = any;
    return p;
}

RoutingProblem with_votes(RoutingProblem p) {
    p.x = p.weight = nullptr;
    p.votes = any;
    const int64_t strides[] = {p.inputs * p.outputs * p.output_size, p.outputs * p.output_size, p.output_size, 1};
    memcpy(p.vote_strides, strides, sizeof strides);
    return p;
}

void expect_status(const std::string& what, Status got, Status wanted, Failures& failures) {
    if (got != wanted) failures.add(what + " gave: " + status_text(got));
}

Status status_of(int64_t bytes) {
    return bytes < 0 ? Status(-bytes) : Status::ok;
}

// An empty batch has a plan, whichever kernels and gradients are asked for.
void check_empty_batch(Failures& failures) {
    RoutingProblem made = small_problem();
    made.batch = 0;
    const RoutingProblem problems[] = {made, with_votes(made)};
    for (RoutingProblem p : problems) {
        for (int kernel = 0; kernel <= int(CudaKernel::fused); ++kernel) {
            for (int fusion = 0; fusion <= int(CudaFusion::launches); ++fusion) {
                p.cuda_kernel = CudaKernel(kernel);
                p.cuda_fusion = CudaFusion(fusion);
                RoutingLastPass pass{};
                for (bool wanted : {false, true}) {
                    RoutingBackward& buffers = pass.gradients;
                    if (wanted) (p.votes ? buffers.grad_votes : buffers.grad_x) = any;
                    for (int64_t bytes :
                         {routing_forward_workspace_cuda(p, 0), routing_backward_workspace_cuda(p, buffers, 0),
                          routing_agreement_workspace_cuda(p, 0), routing_forward_pass_workspace_cuda(p, 0),
                          routing_backward_pass_workspace_cuda(p, 0), routing_last_pass_workspace_cuda(p, pass, 0)}) {
                        expect_status("a workspace for an empty batch", status_of(bytes), Status::ok, failures);
                    }
                }
            }
        }
    }
}

// The fused kernels, were they asked, would have a plan for it too.
void check_fused_plan_of_empty_batch(Failures& failures) {
    RoutingProblem p = small_problem();
    p.batch = 0;
    cuda::Device device;
    expect_status("device 0", cuda::device_of(0, device), Status::ok, failures);
    for (cuda::Direction direction : {cuda::Direction::forward, cuda::Direction::backward}) {
        cuda::Plan plan;
        const int64_t bytes = plan_fused(p, device, direction, {}, nullptr, plan);
        expect_status("a plan of nothing for nobody", status_of(bytes), Status::ok, failures);
    }
}

// An empty batch, of which nobody knows whether its votes were given or made of a weight.
void check_empty_batch_without_weight(Failures& failures) {
    for (int kernel = 0; kernel <= int(CudaKernel::fused); ++kernel) {
        RoutingProblem p = small_problem();
        p.batch = 0;
        p.cuda_kernel = CudaKernel(kernel);
        p.x = p.weight = nullptr;
        std::vector<float> logits(size_t(p.inputs * p.outputs)), gradient(logits.size(), NAN);
        p.logits = logits.data();
        RoutingBackward buffers{};
        buffers.grad_logits = gradient.data();
        const int64_t bytes = routing_backward_workspace_cuda(p, buffers, 0);
        expect_status("a workspace for an empty batch without a weight", status_of(bytes), Status::ok, failures);
        Buffer space(bytes < 0 ? 0 : bytes);
        RoutingForward forward{any, nullptr, nullptr, space.data(), bytes};
        expect_status("forward of an empty batch without a weight", routing_forward_cuda(p, forward, 0, nullptr),
                      Status::ok, failures);
        buffers.grad_output = buffers.pre_squash = any;
        buffers.workspace = space.data();
        buffers.workspace_bytes = bytes;
        expect_status("backward of an empty batch without a weight", routing_backward_cuda(p, buffers, 0, nullptr),
                      Status::ok, failures);
        for (float number : gradient) {
            if (number != 0) return failures.add("an empty batch has a gradient of its logits");
        }
    }
}

// Of what is not there, neither the gradient nor a workspace for it.
void check_unasked_gradients(Failures& failures) {
    const auto expect_missing = [&](const RoutingProblem& p, const char* what, void* RoutingBackward::* gradient) {
        RoutingLastPass pass{any, any, any, any, {}};
        pass.gradients.*gradient = pass.gradients.workspace = any;
        pass.gradients.grad_output = pass.gradients.pre_squash = any;
        const std::string text = std::string("a gradient of ") + what;
        for (Status got :
             {status_of(routing_backward_workspace_cuda(p, pass.gradients, 0)),
              status_of(routing_last_pass_workspace_cuda(p, pass, 0)),
              routing_backward_cuda(p, pass.gradients, 0, nullptr), routing_last_pass_cuda(p, pass, 0, nullptr)}) {
            expect_status(text, got, Status::missing_pointer, failures);
        }
    };
    const RoutingProblem made = small_problem(), given = with_votes(made);
    expect_missing(made, "votes that were made", &RoutingBackward::grad_votes);
    expect_missing(given, "no x", &RoutingBackward::grad_x);
    expect_missing(given, "no weight", &RoutingBackward::grad_weight);
    expect_missing(made, "no bias", &RoutingBackward::grad_bias);
    expect_missing(made, "no logits", &RoutingBackward::grad_logits);
    expect_missing(made, "no input weights", &RoutingBackward::grad_input_weight);
}

// Sizes that no memory holds, or that a plan could not count in 32 bits.
void check_large_sizes(Failures& failures) {
    RoutingProblem p = small_problem();
    p.iterations = INT64_MAX;
    expect_status("a forward pass of more iterations than can be counted",
                  status_of(routing_forward_pass_workspace_cuda(p, 0)), Status::too_large, failures);

    // The weights of one input take more than 2^31 bytes of shared memory, so the last pass must divide its outputs.
    p = small_problem();
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
    RoutingProblem p = small_problem();
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
    const RoutingProblem p = small_problem();
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
    check_empty_batch(failures);
    check_fused_plan_of_empty_batch(failures);
    check_empty_batch_without_weight(failures);
    check_unasked_gradients(failures);
    check_large_sizes(failures);
    check_asked_divisions(failures);
    check_descriptions(failures);
}

}  // namespace capsroute::tests
