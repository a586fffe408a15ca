// The passes of the op one by one on a CUDA device: the phases of the fused kernels, each a launch of its own, between
// copies from natural layout to fragments and back. The light step that follows a forward pass adds its chunks up; the
// rest of what it does nobody reads.
#include "choice.h"
#include "elements.cuh"
#include "step.cuh"

namespace capsroute {
namespace cuda {
namespace {

struct VectorParameters {
    Plan plan;
    const float* query;  // [iterations, B, J, D] or null, as the next three
    const float* slope;
    const float* mean;  // [iterations, B, J]
    float* sum;         // [B, J, D]
    int first;          // of the plan's vectors, the iteration that the first ones here are of; from 0
    int64_t count;      // of elements
};

// Where component k of output j of a sample stands among the fragments [tiles, width] of an iteration.
CAPSROUTE_DEVICE int64_t place_in_fragments(const Plan& plan, int64_t b, int64_t j, int64_t k) {
    const int64_t row = b % kRows, column = k % kColumns;
    const int64_t tile = b / kRows * plan.width + j * plan.output_tiles + k / kColumns;
    return tile * kFragment + (row % 8 * 4 + column / 2) * 4 + row / 8 * 2 + column % 2;
}

// Queries and slopes to fragments, zeros past the batch and past D. Element (iteration, sample of all tiles, j,
// component of all column tiles).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
load_vectors(CAPSROUTE_PARAMETER VectorParameters parameters) {
    const Plan& plan = parameters.plan;
    const RoutingProblem& p = plan.problem;
    const int64_t padded = int64_t{plan.output_tiles} * kColumns, samples = int64_t{plan.tiles} * kRows;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t k = at % padded, j = at / padded % p.outputs, b = at / padded / p.outputs % samples;
        const int64_t n = at / padded / p.outputs / samples;
        const bool there = b < p.batch && k < p.output_size;
        const int64_t from = ((n * p.batch + b) * p.outputs + j) * p.output_size + k;
        const int64_t to =
            (parameters.first + n) * plan.tiles * plan.width * kFragment + place_in_fragments(plan, b, j, k);
        if (parameters.query) plan.query[to] = there ? parameters.query[from] : 0.0f;
        if (parameters.slope) plan.slope[to] = there ? parameters.slope[from] : 0.0f;
    });
}

// Element (iteration, b, j).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
load_means(CAPSROUTE_PARAMETER VectorParameters parameters) {
    const Plan& plan = parameters.plan;
    const RoutingProblem& p = plan.problem;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t j = at % p.outputs, b = at / p.outputs % p.batch, n = at / p.outputs / p.batch;
        const int t = parameters.first + int(n) + 1;
        plan.mean[mean_index(plan, t, int(b / kRows), int(j), int(b % kRows))] = parameters.mean[at];
    });
}

// The chunks of a backward pass, added up in their order; element (b, j, k).
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
store_chunks(CAPSROUTE_PARAMETER VectorParameters parameters) {
    const Plan& plan = parameters.plan;
    const RoutingProblem& p = plan.problem;
    const int64_t fragments = int64_t{plan.tiles} * plan.width * kFragment;
    for_each_element(parameters.count, [&](int64_t at) {
        const int64_t k = at % p.output_size, j = at / p.output_size % p.outputs, b = at / p.output_size / p.outputs;
        const int64_t place = place_in_fragments(plan, b, j, k);
        float sum = 0.0f;
        for (int chunk = 0; chunk < plan.chunks; ++chunk) sum += plan.partial[chunk * fragments + place];
        parameters.sum[at] = sum;
    });
}

Status launch_elements(const Device& device, void (*kernel)(VectorParameters), const char* name, void* stream,
                       VectorParameters parameters, int64_t count) {
    if (count == 0) return Status::ok;
    parameters.count = count;
    const Shape shape{blocks_of_elements(count, device), kThreadsOfElements, 0};
    return launch_on(device, kernel_of(kernel, name, kThreadsOfElements, 1), shape, stream, parameters);
}

// Vectors and means of so many iterations.
Status load(const Device& device, void* stream, const VectorParameters& parameters, int64_t iterations) {
    const Plan& plan = parameters.plan;
    const RoutingProblem& p = plan.problem;
    const int64_t vectors = iterations * plan.tiles * kRows * plan.width * kColumns;
    const Status status = launch_elements(device, load_vectors, "load_vectors", stream, parameters, vectors);
    if (status != Status::ok || !plan.mean) return status;
    return launch_elements(device, load_means, "load_means", stream, parameters, iterations * p.batch * p.outputs);
}

// The kernels find what is saved of iteration t behind that of those before; a pass has iteration t alone.
float* as_if_before(void* of_iteration, int64_t iteration, int64_t per_iteration) {
    if (!of_iteration) return nullptr;
    return reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(of_iteration) -
                                    sizeof(float) * uintptr_t((iteration - 1) * per_iteration));
}

Status fused_forward_pass(const Plan& plan, const RoutingForwardPass& pass, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    const int t = int(pass.iteration);
    RoutingForward buffers{};
    buffers.pre_squash = as_if_before(pass.sum, t, p.batch * p.outputs * p.output_size);
    if (p.softmax_over_inputs) buffers.normaliser = as_if_before(pass.normaliser, t, p.batch * 2 * p.outputs);
    Status status = Status::ok;
    if (t > 1) {
        const auto* query = static_cast<const float*>(pass.query);
        status = load(device, stream, {plan, query, nullptr, nullptr, nullptr, 0, 0}, 1);
    }
    for (int phase : {kSweep, kPass, kStep}) {
        if (status != Status::ok || !forward_phase_exists(plan, t, phase)) continue;
        status = launch_phase(device, forward_kernel_for(plan), stream, ForwardParameters{plan, buffers, 0, 0},
                              3 * (t - 1) + phase);
    }
    return status;
}

// A sweep or a pass of backward.
Status launch_backward_phase(const Plan& plan, int t, int phase, const Device& device, void* stream) {
    if (!backward_phase_exists(plan, t, phase)) return Status::ok;
    return launch_phase(device, backward_kernel_for(plan), stream, BackwardParameters{plan, {}, 0, 0},
                        1 + 3 * (int(plan.problem.iterations) - t) + phase);
}

Status fused_backward_pass(Plan plan, const RoutingBackwardPass& pass, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    const int t = int(pass.iteration);
    plan.normaliser = as_if_before(const_cast<void*>(pass.normaliser), t, p.batch * 2 * p.outputs);
    const VectorParameters vectors{plan,
                                   static_cast<const float*>(pass.query),
                                   static_cast<const float*>(pass.slope),
                                   static_cast<const float*>(pass.mean),
                                   static_cast<float*>(pass.sum),
                                   t - 1,
                                   0};
    Status status = load(device, stream, vectors, 1);
    for (int phase : {kSweep, kPass}) {
        if (status == Status::ok) status = launch_backward_phase(plan, t, phase, device, stream);
    }
    if (status != Status::ok) return status;
    return launch_elements(device, store_chunks, "store_chunks", stream, vectors, p.batch * p.outputs * p.output_size);
}

Status fused_last_pass(Plan plan, const RoutingLastPass& pass, const Device& device, void* stream) {
    const RoutingProblem& p = plan.problem;
    plan.normaliser = static_cast<const float*>(pass.normaliser);
    plan.last_alone = true;
    const VectorParameters vectors{plan,
                                   plan.query ? static_cast<const float*>(pass.query) : nullptr,
                                   static_cast<const float*>(pass.slope),
                                   static_cast<const float*>(pass.mean),
                                   nullptr,
                                   0,
                                   0};
    Status status = load(device, stream, vectors, p.iterations);
    for (int t = int(first_iteration(p)); t <= p.iterations && status == Status::ok; ++t) {
        status = launch_backward_phase(plan, t, kSweep, device, stream);
    }
    return status == Status::ok ? end_backward(plan, pass.gradients, device, stream) : status;
}

// The problems that are planned for passes, of problems that were checked. A forward pass is never the last one, whose
// step would squash and store.
RoutingProblem in_launches(RoutingProblem problem) {
    problem.cuda_fusion = CudaFusion::launches;
    return problem;
}
RoutingProblem for_forward_pass(RoutingProblem problem) {
    ++problem.iterations;
    return in_launches(problem);
}
RoutingProblem for_backward_pass(RoutingProblem problem) {
    problem.gradient = Gradient::all;  // which of its gradients anybody wants does not change a pass
    return in_launches(problem);
}

}  // namespace

int64_t workspace(const RoutingProblem& problem, const RoutingForwardPass&, Place place) {
    return chosen_workspace(problem, for_forward_pass, Direction::forward, {}, place.device);
}

int64_t workspace(const RoutingProblem& problem, const RoutingBackwardPass&, Place place) {
    return chosen_workspace(problem, for_backward_pass, Direction::backward, {}, place.device);
}

int64_t workspace(const RoutingProblem& problem, const RoutingLastPass& pass, Place place) {
    return chosen_workspace(problem, in_launches, Direction::backward, pass.gradients, place.device);
}

Status run(const RoutingProblem& problem, const RoutingForwardPass& pass, Place place) {
    return run_chosen(problem, for_forward_pass, pass, Direction::forward, {}, {pass.workspace, pass.workspace_bytes},
                      place, fused_forward_pass, plain_forward_pass);
}

Status run(const RoutingProblem& problem, const RoutingBackwardPass& pass, Place place) {
    return run_chosen(problem, for_backward_pass, pass, Direction::backward, {}, {pass.workspace, pass.workspace_bytes},
                      place, fused_backward_pass, plain_backward_pass);
}

Status run(const RoutingProblem& problem, const RoutingLastPass& pass, Place place) {
    return run_chosen(problem, in_launches, pass, Direction::backward, pass.gradients,
                      {pass.gradients.workspace, pass.gradients.workspace_bytes}, place, fused_last_pass,
                      plain_last_pass);
}

}  // namespace cuda
}  // namespace capsroute
