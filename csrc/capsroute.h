// The core of capsroute: its whole interface. No torch, no Python, no allocation.
//
// Plain structs of pointers, sizes and options go in, a status comes back. All memory, workspace included, comes from
// the caller. Tensors are contiguous unless strides are given; strides count elements. The "accumulation type" is
// double for float64 problems and float for all others. docs/maths.md derives what is computed.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace capsroute {

enum class DType : int32_t { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };

enum class Status : int32_t {
    ok = 0,
    bad_size,         // a size is below its minimum, or sizes do not fit each other
    bad_option,       // iterations < 1, an unknown dtype, leaky with a softmax over inputs
    missing_pointer,  // a buffer that the problem needs is null
    small_workspace,  // workspace_bytes is less than the workspace function asks for
    too_large,        // a buffer would pass 2^62 bytes
};

// One sentence, in static storage.
const char* status_text(Status status);

// What is routed, the same for forward and backward. Votes come either from x and weight or from votes.
struct RoutingProblem {
    int64_t batch;          // B >= 0
    int64_t inputs;         // I
    int64_t outputs;        // J
    int64_t input_size;     // d; unused with votes
    int64_t output_size;    // D
    int64_t weight_inputs;  // I_w, a divisor of I: input i uses weight i mod I_w; unused with votes
    int64_t iterations;     // T

    DType dtype;
    bool softmax_over_inputs;
    bool leaky;
    bool gradient_last;  // backward only: "last" instead of "all"
    double eps;
    int32_t threads;  // at least 1

    const void* x;       // [B, I, d]
    const void* weight;  // [I_w, J, D, d]
    const void* votes;   // [B, I, J, D]
    int64_t vote_strides[4];
    const void* bias;            // [J, D] or null
    const void* logits;          // [I, J] or [B, I, J], or null
    bool logits_per_sample;      // [B, I, J]
    const uint8_t* input_mask;   // [B, I] or null; 0 = absent
    const uint8_t* output_mask;  // [B, J] or null; 0 = absent
};

struct RoutingForward {
    void* output;      // [B, J, D]
    void* pre_squash;  // [T, B, J, D], accumulation type, before the bias; null when no backward will come
    void* normaliser;  // [T, B, 2, J], accumulation type; only with softmax_over_inputs, null like pre_squash:
                       // the largest logit, and 1 / sum of exp(logit - largest)
    void* workspace;   // 64-byte aligned
    int64_t workspace_bytes;
};

struct RoutingBackward {
    const void* grad_output;  // [B, J, D]
    const void* pre_squash;   // from forward
    const void* normaliser;   // from forward
    void* grad_x;             // [B, I, d] or null when not needed, as all below
    void* grad_weight;        // [I_w, J, D, d]
    void* grad_votes;         // [B, I, J, D]
    void* grad_bias;          // [J, D]
    void* grad_logits;        // as logits
    void* workspace;
    int64_t workspace_bytes;
};

// Bytes of workspace, or a negative Status. They depend on sizes, options, the number of threads and, for backward,
// on which gradients are needed (non-null pointers; the pointers are not read).
int64_t routing_forward_workspace_cpu(const RoutingProblem& problem);
int64_t routing_backward_workspace_cpu(const RoutingProblem& problem, const RoutingBackward& buffers);

Status routing_forward_cpu(const RoutingProblem& problem, const RoutingForward& buffers);
Status routing_backward_cpu(const RoutingProblem& problem, const RoutingBackward& buffers);

// Instruction sets of the CPU kernels, from the plainest to the widest: "baseline", "avx2", "avx512" on x86-64.
int cpu_isa_count();                    // built
const char* cpu_isa_name(int isa);      // null when out of range
bool cpu_isa_usable(int isa);           // by the CPU that runs this
const char* cpu_isa();                  // the chosen one: the widest usable, or CAPSROUTE_CPU_ISA
bool cpu_isa_choose(const char* name);  // false, and nothing changed, when unknown or not usable
bool built_with_openmp();

}  // namespace capsroute
