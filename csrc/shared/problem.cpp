#include "problem.h"

#include <algorithm>
#include <limits>

#include "options.h"

namespace capsroute {
namespace {

// Bytes of a buffer: more than any machine has, and so few that no product of sizes that are planned with overflows.
constexpr int64_t kLargest = int64_t{1} << 52;
constexpr int64_t kWorkspaceAlignment = 64;
constexpr int64_t kPadding = 127;  // to whole tiles, at most

// Sizes multiply without passing kLargest.
bool multiply(int64_t& product, std::initializer_list<int64_t> sizes) {
    product = 1;
    for (const int64_t size : sizes) {
        if (__builtin_mul_overflow(product, size, &product) || product > kLargest) return false;
    }
    return true;
}

// Whether the tensors, padded to whole tiles, and what is between the first vote and the last stay below kLargest, in
// the widest type.
bool fits(const RoutingProblem& p) {
    if (p.batch > kLargest) return false;
    const int64_t batch = p.batch + kPadding, size = p.votes ? 1 : p.input_size;
    int64_t product;
    if (!multiply(product, {batch, p.inputs, p.outputs, p.output_size, 8}) ||
        !multiply(product, {batch, p.inputs, size, 8}) ||
        !multiply(product, {p.iterations, batch, p.outputs, p.output_size, 8}) ||
        !multiply(product, {p.inputs, p.outputs, p.output_size, size, 8})) {
        return false;
    }
    const int64_t axes[] = {p.batch, p.inputs, p.outputs, p.output_size};
    for (int axis = 0; p.votes && axis < 4; ++axis) {
        const int64_t stride = p.vote_strides[axis];
        if (stride < -kLargest || stride > kLargest) return false;
        if (!multiply(product, {axes[axis] + kPadding, stride < 0 ? -stride : stride, 8})) return false;
    }
    return true;
}

// Gradients of what was not given. An empty batch has no votes and no x to point to.
bool asks_for_nothing(const RoutingProblem& problem, const RoutingBackward& buffers) {
    const bool made = !problem.votes, given = problem.votes || problem.batch == 0;
    return (buffers.grad_x && !made) || (buffers.grad_weight && !(made && problem.weight)) ||
           (buffers.grad_votes && !given) || (buffers.grad_bias && !problem.bias) ||
           (buffers.grad_logits && !problem.logits) || (buffers.grad_input_weight && !problem.input_weight);
}

// Null is aligned: whether a buffer may be missing is another question.
bool are_aligned(std::initializer_list<const void*> buffers, int64_t bytes) {
    return std::all_of(buffers.begin(), buffers.end(), [bytes](const void* buffer) {
        return reinterpret_cast<uintptr_t>(buffer) % uint64_t(bytes) == 0;
    });
}

int64_t element_bytes(const RoutingProblem& problem) {
    return problem.dtype == DType::float64 ? 8 : problem.dtype == DType::float32 ? 4 : 2;
}

int64_t accumulator_bytes(const RoutingProblem& problem) {
    return problem.dtype == DType::float64 ? 8 : 4;
}

// What is read of the problem itself; of x and the weight nothing is where votes are given.
bool is_aligned(const RoutingProblem& p) {
    const int64_t bytes = element_bytes(p);
    return are_aligned({p.votes, p.bias, p.logits, p.input_weight}, bytes) &&
           (p.votes || are_aligned({p.x, p.weight}, bytes));
}

// A workspace, the buffers of the accumulation type and those of the problem's own.
Status check_alignment(const RoutingProblem& problem, const void* workspace,
                       std::initializer_list<const void*> accumulated, std::initializer_list<const void*> stored) {
    const bool aligned = are_aligned({workspace}, kWorkspaceAlignment) &&
                         are_aligned(accumulated, accumulator_bytes(problem)) &&
                         are_aligned(stored, element_bytes(problem));
    return aligned ? Status::ok : Status::misaligned;
}

// The workspace of a backward, the gradients that are asked for, and what else is of the accumulation type.
Status check_gradients(const RoutingProblem& problem, const RoutingBackward& buffers,
                       std::initializer_list<const void*> accumulated) {
    return check_alignment(problem, buffers.workspace, accumulated,
                           {buffers.grad_x, buffers.grad_weight, buffers.grad_votes, buffers.grad_bias,
                            buffers.grad_logits, buffers.grad_input_weight});
}

bool has_iteration(const RoutingProblem& problem, int64_t iteration, int64_t first) {
    return first <= iteration && iteration <= problem.iterations;
}

}  // namespace

void* Arena::take_bytes(std::initializer_list<int64_t> sizes, int64_t element) {
    int64_t bytes = 0;
    if (overflow_ || !multiply(bytes, sizes) || !multiply(bytes, {bytes, element})) {
        overflow_ = true;
        return nullptr;
    }
    bytes = divide_up(bytes, alignment_) * alignment_;
    // An address even where the sizes are zero or only the total is wanted: null means "not there".
    void* piece = (memory_ ? memory_ : reinterpret_cast<char*>(alignment_)) + used_;
    used_ += bytes;
    overflow_ = used_ > kLargest;
    return piece;
}

Status check(const RoutingProblem& p) {
    if (p.batch < 0 || p.inputs < 1 || p.outputs < 1 || p.output_size < 1) return Status::bad_size;
    if (!p.votes && (p.input_size < 1 || p.weight_inputs < 1 || p.inputs % p.weight_inputs != 0)) {
        return Status::bad_size;
    }
    if (!in_range(p) || p.threads < 1) return Status::bad_option;
    if (int32_t(p.dtype) < 0 || p.dtype > DType::float16) return Status::bad_option;
    if ((p.squash == Squash::shifted || p.squash == Squash::power) && !(p.squash_constant > 0)) {
        return Status::bad_option;
    }
    if (p.leaky && p.softmax_over_inputs) return Status::bad_option;
    if (p.coupling_given && (p.iterations != 1 || p.softmax_over_inputs || p.leaky)) return Status::bad_option;
    if (p.coupling_given && !p.logits) return Status::missing_pointer;
    if (p.batch > 0 && !p.votes && (!p.x || !p.weight)) return Status::missing_pointer;
    if (!is_aligned(p)) return Status::misaligned;
    if (p.threads > kMostThreads) return Status::many_threads;
    return fits(p) ? Status::ok : Status::too_large;
}

RoutingProblem without_idle_iterations(RoutingProblem problem) {
    if (problem.batch == 0) problem.iterations = 1;
    return problem;
}

Status check(const RoutingProblem& problem, const RoutingForward& buffers) {
    const Status status = check(problem);
    if (status != Status::ok) return status;
    if (!buffers.output || !buffers.workspace) return Status::missing_pointer;
    return check_alignment(problem, buffers.workspace, {buffers.pre_squash, buffers.normaliser}, {buffers.output});
}

Status check_wanted(const RoutingProblem& problem, const RoutingBackward& buffers) {
    const Status status = check(problem);
    if (status != Status::ok) return status;
    return asks_for_nothing(problem, buffers) ? Status::missing_pointer : Status::ok;
}

Status check(const RoutingProblem& problem, const RoutingBackward& buffers) {
    const Status status = check_wanted(problem, buffers);
    if (status != Status::ok) return status;
    if (!buffers.grad_output || !buffers.pre_squash || !buffers.workspace) return Status::missing_pointer;
    if (problem.softmax_over_inputs && !buffers.normaliser) return Status::missing_pointer;
    if (!are_aligned({buffers.grad_output}, element_bytes(problem))) return Status::misaligned;
    return check_gradients(problem, buffers, {buffers.pre_squash, buffers.normaliser});
}

Status check(const RoutingProblem& problem, const RoutingAgreement& buffers) {
    const Status status = check(problem);
    if (status != Status::ok) return status;
    if (!buffers.query || !buffers.agreement || !buffers.workspace) return Status::missing_pointer;
    return check_alignment(problem, buffers.workspace, {buffers.query, buffers.agreement}, {});
}

Status check(const RoutingProblem& problem, const RoutingForwardPass& buffers) {
    const Status status = check(problem);
    if (status != Status::ok) return status;
    if (!has_iteration(problem, buffers.iteration, 1)) return Status::bad_option;
    if (!buffers.sum || !buffers.workspace) return Status::missing_pointer;
    if (buffers.iteration > 1 && !buffers.query) return Status::missing_pointer;
    if (problem.softmax_over_inputs && !buffers.normaliser) return Status::missing_pointer;
    return check_alignment(problem, buffers.workspace, {buffers.query, buffers.sum, buffers.normaliser}, {});
}

Status check(const RoutingProblem& problem, const RoutingBackwardPass& buffers) {
    const Status status = check(problem);
    if (status != Status::ok) return status;
    if (!has_iteration(problem, buffers.iteration, 2)) return Status::bad_option;
    if (!buffers.query || !buffers.slope || !buffers.sum || !buffers.workspace) return Status::missing_pointer;
    const bool normalised = buffers.normaliser && buffers.mean;
    if (problem.softmax_over_inputs && !normalised) return Status::missing_pointer;
    return check_alignment(problem, buffers.workspace,
                           {buffers.query, buffers.slope, buffers.sum, buffers.normaliser, buffers.mean}, {});
}

Status check(const RoutingProblem& problem, const RoutingLastPass& buffers) {
    const Status status = check_wanted(problem, buffers.gradients);
    if (status != Status::ok) return status;
    if (!buffers.query || !buffers.slope || !buffers.gradients.workspace) return Status::missing_pointer;
    const bool normalised = buffers.normaliser && buffers.mean;
    if (problem.softmax_over_inputs && !normalised) return Status::missing_pointer;
    return check_gradients(problem, buffers.gradients,
                           {buffers.query, buffers.slope, buffers.normaliser, buffers.mean});
}

QueryUpdate routing_query_update(const RoutingProblem& problem, int64_t iteration) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    if (!in_range(problem) || !has_iteration(problem, iteration, 1)) return {kNone, kNone};
    const int64_t t = std::min<int64_t>(iteration, kTemperatures);  // later iterations have the same temperature
    return {t == 1 ? 0 : query_keep(problem, t), query_add(problem, t)};
}

}  // namespace capsroute
