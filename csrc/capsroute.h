// The core of capsroute: its whole interface. No torch, no Python, no allocation.
//
// Plain structs of pointers, sizes and options go in, a status comes back. All memory, workspace included, comes from
// the caller. Tensors are contiguous unless strides are given; strides count elements. The "accumulation type" is
// double for float64 problems and float for all others. docs/maths.md derives what is computed.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/option_table.h"

namespace capsroute {

enum class DType : int32_t { float32 = 0, float64 = 1, bfloat16 = 2, float16 = 3 };

enum class Status : int32_t {
    ok = 0,
    bad_size,         // a size is below its minimum, or sizes do not fit each other
    bad_option,       // an option out of its range, or options that do not go together
    missing_pointer,  // a buffer that the problem needs is null
    misaligned,       // a workspace is not on a multiple of 64 bytes, or a buffer on none of the size of its elements
    small_workspace,  // workspace_bytes is less than the workspace function asks for
    too_large,        // a buffer would pass 2^52 bytes; or the votes, by their strides
    no_device,        // no CUDA device of that index, or a driver older than the CUDA that this was built with
    not_built,        // nothing was built for the architecture of this device
    no_kernel,        // the kernel that was asked for cannot run this problem on this device
    launch_failed,    // the CUDA runtime refused a call; cuda_error_detail() says why
    fault,            // only in the emulation: a kernel broke a rule; cuda_error_detail() says which
    many_threads,     // more than kMostThreads
};

// One sentence, in static storage.
const char* status_text(Status status);

// How the fused kernels divide a problem, where a test or a measurement does not want the model's choice; what is not
// above 0 leaves it. A problem that cannot be divided so is not for them.
struct CudaDivision {
    int32_t tiles;         // of 16 samples that a block of the passes takes: 1, 2, 4 or 8
    int32_t last_outputs;  // whose weights a warp of backward's last pass holds at once; all, if there are fewer
    int32_t last_warps;    // of the last pass for each multiprocessor, as far as work and memory divide
};

// How the CPU kernels get at the votes in each pass: made again, kept in the cache of a core for a tile of samples, or
// kept in the caches of all cores for a wave of samples. Results agree within rounding.
enum class CpuVotes : int32_t { automatic = 0, made, tile, wave };

// More than a machine has processors. Beyond what the system gives, OpenMP ends the process.
constexpr int kMostThreads = 4096;

// What is routed, the same for forward and backward, with the options of capsroute/routing/options.py. Votes come
// either from x and weight or from votes. With coupling_given `logits` are the coupling coefficients, and T = 1.
struct RoutingProblem : RoutingOptions {
    int64_t batch;          // B >= 0; all other sizes are at least 1
    int64_t inputs;         // I
    int64_t outputs;        // J
    int64_t input_size;     // d; unused with votes
    int64_t output_size;    // D
    int64_t weight_inputs;  // I_w, a divisor of I: input i uses weight i mod I_w; unused with votes

    DType dtype;
    int32_t threads;  // 1 to kMostThreads; CPU only

    const void* x;               // [B, I, d]
    const void* weight;          // [I_w, J, D, d]
    const void* votes;           // [B, I, J, D]
    int64_t vote_strides[4];     // any, also below 0
    const void* bias;            // [J, D] or null
    const void* logits;          // [I, J] or [B, I, J], or null
    bool logits_per_sample;      // [B, I, J]
    const void* input_weight;    // [B, I] or null; multiplies the coupling after the softmax
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
    void* grad_x;             // [B, I, d] or null when not needed, as all below; only of what is given
    void* grad_weight;        // [I_w, J, D, d]
    void* grad_votes;         // [B, I, J, D]
    void* grad_bias;          // [J, D]
    void* grad_logits;        // as logits
    void* grad_input_weight;  // [B, I]
    void* workspace;
    int64_t workspace_bytes;
};

// The inner product of each vote with a vector of its sample and output. Of the problem only sizes, dtype, x, weight or
// votes, and what chooses a kernel count.
struct RoutingAgreement {
    const void* query;  // [B, J, D], accumulation type
    void* agreement;    // [B, I, J], accumulation type
    void* workspace;    // 64-byte aligned
    int64_t workspace_bytes;
};

// The passes over the inputs one by one, for a caller who holds a part of the inputs only and adds up between them what
// all parts come to. Nothing is kept from one to the next. What is light, the bias, the squash and the next query, is
// the caller's; docs/maths.md says what Q, a and these sums are. All but the gradients are of the accumulation type.
// Votes are made in every pass.

// sum over the inputs of coupling times votes, in iteration t.
struct RoutingForwardPass {
    int64_t iteration;  // t, 1 .. T
    const void* query;  // Q^t: [B, J, D]; not read at t = 1
    void* sum;          // [B, J, D]
    void* normaliser;   // [B, 2, J]; of the softmax over these inputs, as in RoutingForward; null where there is none
    void* workspace;    // 64-byte aligned, as below
    int64_t workspace_bytes;
};

// What the query of iteration t is asked for: the sum over the inputs of the gradients of the logits times the votes.
struct RoutingBackwardPass {
    int64_t iteration;       // t, 2 .. T
    const void* query;       // Q^t: [B, J, D]
    const void* slope;       // a^t: [B, J, D], the gradient with respect to the sum of all parts
    const void* normaliser;  // [B, 2, J], of all parts; softmax over inputs, as the next
    const void* mean;        // [B, J]: the sum over the inputs of all parts of c p, which is (sum of all parts) . a
    void* sum;               // [B, J, D]
    void* workspace;
    int64_t workspace_bytes;
};

// The gradients of the arguments; that of the bias is the whole one.
struct RoutingLastPass {
    const void* query;          // [T, B, J, D]; what is there for t = 1 is not used
    const void* slope;          // [T, B, J, D]; what is there for iterations that take no part is not used
    const void* normaliser;     // [T, B, 2, J], of all parts; softmax over inputs, as the next
    const void* mean;           // [T, B, J]
    RoutingBackward gradients;  // the gradients that are needed, and the workspace
};

// How Q^{t+1} follows: keep times Q^t and add times v^t. At t = 1 there is nothing to keep.
struct QueryUpdate {
    double keep, add;
};

// Where a problem runs: the index of a CUDA device and a cudaStream_t of it. On the CPU neither counts.
struct Place {
    int device;
    void* stream;
};

// One of the calls below, which takes those buffers.
template <class Buffers>
struct Call {
    // Bytes of workspace, or a negative Status. They depend on sizes, options, the number of threads and, for backward
    // and the last pass, on which gradients are needed (non-null pointers). No pointer is read.
    int64_t (*workspace)(const RoutingProblem& problem, const Buffers& buffers, Place place);
    Status (*run)(const RoutingProblem& problem, const Buffers& buffers, Place place);
};

struct RoutingCalls {
    Call<RoutingForward> forward;
    Call<RoutingBackward> backward;
    Call<RoutingAgreement> agreement;
    Call<RoutingForwardPass> forward_pass;
    Call<RoutingBackwardPass> backward_pass;
    Call<RoutingLastPass> last_pass;
};

extern const RoutingCalls routing_on_cpu;
// Pointers are of the device. Nothing is allocated, nothing waits, and the calls can be captured in a CUDA graph once
// they have run outside of one.
extern const RoutingCalls routing_on_cuda;

// Of iteration t, 1 .. T. Both are NaN for another t, or where there are too few or too many temperatures. Nothing else
// of the problem is checked.
QueryUpdate routing_query_update(const RoutingProblem& problem, int64_t iteration);

// Whether kernels can run on this device: ok, or no_device, not_built.
Status cuda_usable(int device);
// Which kernel a problem takes on a device and how its passes follow each other; one line into `text`, as much of it as
// there is room for.
Status cuda_describe(const RoutingProblem& problem, int device, char* text, int text_bytes);
// The division of all problems from now on. Workspace and call of a problem must see the same one.
void cuda_division_choose(const CudaDivision& division);
CudaDivision cuda_division();
int cuda_arch_count();     // architectures that were built; 0 without CUDA
int cuda_arch(int index);  // 90 for sm_90
// What the CUDA runtime or the emulation said to the last call of this thread that failed; one line.
const char* cuda_error_detail();

// Instruction sets of the CPU kernels, from the plainest to the widest: "baseline", "avx2", "avx512" on x86-64.
int cpu_isa_count();                    // built
const char* cpu_isa_name(int isa);      // null when out of range
bool cpu_isa_usable(int isa);           // by the CPU that runs this
const char* cpu_isa();                  // the chosen one: the widest usable, or CAPSROUTE_CPU_ISA
bool cpu_isa_choose(const char* name);  // false, and nothing changed, when unknown or not usable
bool built_with_openmp();

// For tests and measurements: the CpuVotes that all problems take which can, by name; "automatic" is the start.
const char* cpu_votes_name(int votes);                    // null when out of range
const char* cpu_votes();                                  // the chosen one
bool cpu_votes_choose(const char* name);                  // false, and nothing changed, when unknown
const char* cpu_votes_of(const RoutingProblem& problem);  // what a problem takes, in words; null for a bad problem

// Runs `rounds` rounds of nothing but multiply-adds in registers, of the chosen instruction set, on each of
// `threads` threads; none where either is below 1. Returns the operations done, two per multiply-add; with the time
// taken, they are the peak.
int64_t cpu_multiply_adds(int64_t rounds, int threads, bool float64);

}  // namespace capsroute
