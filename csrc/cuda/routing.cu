// The ops on a CUDA device: which kernels a problem takes, in which launches.
#include <stdio.h>

#include "choice.h"

namespace capsroute {
namespace cuda {

// The one place that decides between the kernels: fused where they can run, else plain, unless one is asked for. An
// empty batch is for the plain ones in any case: they do nothing but to store its gradients, which are zeros, and
// unlike the others they do not look at a weight, without which it may come.
Choice choose(const RoutingProblem& problem, const Device& device, Direction direction, Wanted wanted,
              void* workspace) {
    Choice choice;
    if (problem.cuda_kernel != CudaKernel::plain && problem.batch > 0) {
        choice.bytes = plan_fused(problem, device, direction, wanted, workspace, choice.plan);
        choice.fused = choice.bytes != -int64_t(Status::no_kernel) || problem.cuda_kernel == CudaKernel::fused;
    }
    if (!choice.fused) {
        choice.bytes = plan_plain(problem, direction == Direction::backward, workspace, choice.plain);
    }
    return choice;
}

int64_t chosen_workspace(const RoutingProblem& problem, Planned planned, Direction direction,
                         const RoutingBackward& gradients, int index) {
    Device device;
    Status status = check_wanted(problem, gradients);
    if (status == Status::ok) status = device_of(index, device);
    if (status != Status::ok) return -int64_t(status);
    return choose(planned(problem), device, direction, wanted_of(gradients), nullptr).bytes;
}

namespace {

// All phases in one launch, or each that exists in a launch of its own.
template <class Parameters, class Exists>
Status launch_phases(const Device& device, const Kernel& kernel, void* stream, Parameters parameters, int phases,
                     Exists exists) {
    const Plan& plan = parameters.plan;
    if (plan.fusion != CudaFusion::launches) {
        parameters.first_phase = 0;
        parameters.end_phase = phases;
        return launch_on(device, kernel, shape_of_passes(plan), stream, parameters);
    }
    for (int phase = 0; phase < phases; ++phase) {
        if (!exists(phase)) continue;
        const Status status = launch_phase(device, kernel, stream, parameters, phase);
        if (status != Status::ok) return status;
    }
    return Status::ok;
}

Status fused_forward(const Plan& plan, const RoutingForward& buffers, const Device& device, void* stream) {
    return launch_phases(device, forward_kernel_for(plan), stream, ForwardParameters{plan, buffers, 0, 0},
                         3 * int(plan.problem.iterations),
                         [&](int phase) { return forward_phase_exists(plan, phase / 3 + 1, phase % 3); });
}

}  // namespace

Status end_backward(const Plan& plan, const RoutingBackward& buffers, const Device& device, void* stream) {
    const LastParameters parameters{plan, buffers};
    Status status = Status::ok;
    if (buffers.grad_x || buffers.grad_weight || buffers.grad_votes || buffers.grad_logits ||
        buffers.grad_input_weight) {
        const Shape shape{plan.last_blocks, plan.last_warps * kWarp, plan.last_shared_bytes};
        status = launch_on(device, last_kernel_for(plan), shape, stream, parameters);
    }
    if (status == Status::ok && (plan.part_weight || plan.part_logits || buffers.grad_bias)) {
        status = launch_on(device, finish_kernel(), {2 * device.multiprocessors, kThreads, 0}, stream, parameters);
    }
    return status;
}

namespace {

Status fused_backward(Plan plan, const RoutingBackward& buffers, const Device& device, void* stream) {
    plan.normaliser = static_cast<const float*>(buffers.normaliser);
    const int iterations = int(plan.problem.iterations);
    const auto exists = [&](int phase) {
        return phase == 0 || backward_phase_exists(plan, iterations - (phase - 1) / 3, (phase - 1) % 3);
    };
    const Status status = launch_phases(device, backward_kernel_for(plan), stream,
                                        BackwardParameters{plan, buffers, 0, 0}, 1 + 3 * iterations, exists);
    return status == Status::ok ? end_backward(plan, buffers, device, stream) : status;
}

const char* fusion_text(const Plan& plan) {
    switch (plan.fusion) {
        case CudaFusion::grid: return "all iterations in one cooperative launch";
        case CudaFusion::cluster:
            return plan.cluster > 1 ? "all iterations in one launch of clusters" : "all iterations in one launch";
        default: return "a launch per pass";
    }
}

}  // namespace

int64_t workspace(const RoutingProblem& problem, const RoutingForward&, Place place) {
    return chosen_workspace(problem, as_it_is, Direction::forward, {}, place.device);
}

int64_t workspace(const RoutingProblem& problem, const RoutingBackward& buffers, Place place) {
    return chosen_workspace(problem, as_it_is, Direction::backward, buffers, place.device);
}

Status run(const RoutingProblem& problem, const RoutingForward& buffers, Place place) {
    return run_chosen(problem, as_it_is, buffers, Direction::forward, {}, {buffers.workspace, buffers.workspace_bytes},
                      place, fused_forward, plain_forward);
}

Status run(const RoutingProblem& problem, const RoutingBackward& buffers, Place place) {
    return run_chosen(problem, as_it_is, buffers, Direction::backward, buffers,
                      {buffers.workspace, buffers.workspace_bytes}, place, fused_backward, plain_backward);
}

}  // namespace cuda

const RoutingCalls routing_on_cuda = {
    .forward = {cuda::workspace, cuda::run},
    .backward = {cuda::workspace, cuda::run},
    .agreement = {cuda::workspace, cuda::run},
    .forward_pass = {cuda::workspace, cuda::run},
    .backward_pass = {cuda::workspace, cuda::run},
    .last_pass = {cuda::workspace, cuda::run},
};

Status cuda_usable(int index) {
    cuda::Device device;
    const Status status = cuda::device_of(index, device);
    if (status != Status::ok) return status;
    const cuda::DeviceGuard guard(index);
    if (guard.status() != Status::ok) return guard.status();
    int resident;
    return cuda::resident_blocks(device, cuda::finish_kernel(), {1, cuda::kThreads, 0}, resident);
}

Status cuda_describe(const RoutingProblem& problem, int index, char* text, int text_bytes) {
    if (!text || text_bytes < 1) return Status::missing_pointer;
    Status status = check(problem);
    cuda::Device device;
    if (status == Status::ok) status = cuda::device_of(index, device);
    if (status != Status::ok) return status;
    const cuda::Choice choice = cuda::choose(problem, device, cuda::Direction::forward, {}, nullptr);
    if (choice.bytes < 0) return Status(-choice.bytes);
    if (!choice.fused) {
        snprintf(text, size_t(text_bytes), "plain kernels in float64");
        return Status::ok;
    }
    const cuda::Plan& plan = choice.plan;
    const char* products = problem.votes              ? "given votes"
                           : device.architecture < 80 ? "votes by multiply-adds"
                           : plan.split               ? "votes by 3xTF32 products"
                                                      : "votes by TF32 products";
    snprintf(text, size_t(text_bytes),
             "fused kernels for D up to %d, %s, %d blocks of %d tiles of 16 samples and %d outputs and %d inputs%s, %s",
             plan.output_tiles * cuda::kColumns, products, plan.items, plan.tile_warps, plan.block_outputs,
             plan.chunk_inputs, plan.resident ? " with resident weights" : "", cuda::fusion_text(plan));
    return Status::ok;
}

const char* cuda_error_detail() {
    return cuda::error_detail();
}

}  // namespace capsroute
