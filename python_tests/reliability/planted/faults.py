"""The faults that are planted: each a text of the sources that stands there once, and what it is replaced with."""

from __future__ import annotations

from dataclasses import dataclass

ASAN = r"ERROR: AddressSanitizer: \S+"
UBSAN = r"runtime error: "
TSAN = r"WARNING: ThreadSanitizer: data race"
DEVICE = r"an emulated CUDA kernel broke a rule"
TESTS = r"FAILED: .*"


@dataclass(frozen=True)
class Fault:
    """One fault, and who must notice it."""

    name: str
    file: str
    text: str
    replacement: str
    build: str  # address, thread, or plain: no sanitizer
    driver: str  # of csrc/tests, by the name of its program
    says: str  # what its output must match


FAULTS = (
    Fault(
        "the workspace is counted without room for each thread",
        "csrc/cpu/plan.cpp",
        "state.scratch = arena.take<T>(true, {int64_t{p.threads}, state.scratch_size});",
        "state.scratch = arena.take<T>(true, {1});",
        "address",
        "core_tests",
        ASAN,
    ),
    Fault(
        "the workspace of a wave is counted without room for each thread",
        "csrc/cpu/inputs_in_lanes/plan.cpp",
        "state.scratch = arena.take<T>(true, {int64_t{p.threads}, state.scratch_size});",
        "state.scratch = arena.take<T>(true, {1});",
        "address",
        "core_tests",
        ASAN,
    ),
    Fault(
        "a gradient is written one output too far",
        "csrc/cpu/driver.h",
        "for_each(team, state, p.outputs, [&](int64_t output, T*) { k.finish_bias",
        "for_each(team, state, p.outputs + 1, [&](int64_t output, T*) { k.finish_bias",
        "address",
        "core_tests",
        ASAN,
    ),
    Fault(
        "a kernel reads one sample behind the last",
        "csrc/cpu/samples_in_lanes/forward.h",
        "for (int64_t n = 0; n < samples; ++n) lanes[n] = read<T>(dtype, from, offset + n * stride);",
        "for (int64_t n = 0; n <= samples; ++n) lanes[n] = read<T>(dtype, from, offset + n * stride);",
        "address",
        "core_tests",
        ASAN,
    ),
    Fault(
        "an emulated CUDA kernel writes one element behind a gradient",
        "csrc/cuda/finish.cuh",
        "thread_index(); k < count; k += threads) {",
        "thread_index(); k <= count; k += threads) {",
        "address",
        "emulation_tests",
        ASAN,
    ),
    Fault(
        "sizes are multiplied without looking for an overflow",
        "csrc/shared/problem.cpp",
        "if (__builtin_mul_overflow(product, size, &product) || product > kLargest) return false;",
        "if ((product *= size) > kLargest) return false;",
        "address",
        "core_tests",
        UBSAN + "signed integer overflow",
    ),
    Fault(
        "pieces of the workspace are not rounded up to whole lines",
        "csrc/shared/problem.cpp",
        "bytes = divide_up(bytes, alignment_) * alignment_;",
        "bytes = bytes + 2;",
        "address",
        "core_tests",
        UBSAN + ".*misaligned address",
    ),
    Fault(
        "a thread that comes to a barrier publishes nothing",
        "csrc/cpu/team.h",
        "arrived_.fetch_add(1, std::memory_order_acq_rel)",
        "arrived_.fetch_add(1, std::memory_order_relaxed)",
        "thread",
        "thread_tests",
        TSAN,
    ),
    Fault(
        "a thread that leaves a barrier has not seen what others wrote",
        "csrc/cpu/team.h",
        "phase_.load(std::memory_order_acquire) == phase;",
        "phase_.load(std::memory_order_relaxed) == phase;",
        "thread",
        "thread_tests",
        TSAN,
    ),
    Fault(
        "the phases of a wave do not wait for each other",
        "csrc/cpu/team.h",
        "work(item, int(thread));\n        meet();",
        "work(item, int(thread));",
        "thread",
        "thread_tests",
        TSAN,
    ),
    Fault(
        "all threads of a call use the scratch of the first",
        "csrc/cpu/driver.h",
        "work(item, state.scratch + thread * state.scratch_size);",
        "work(item, state.scratch + 0 * thread);",
        "thread",
        "thread_tests",
        TSAN,
    ),
    Fault(
        "a barrier after shared memory was filled is missing",
        "csrc/cuda/sweep.cuh",
        "wait_for_copies();\n            block_sync();",
        "wait_for_copies();",
        "plain",
        "emulation_tests",
        DEVICE,
    ),
    Fault(
        "padding of shared memory is read that nobody has written",
        "csrc/cuda/stage.cuh",
        "            to.store(at, there ? read_float(dtype, from, offset + element) : 0.0f);",
        "            if (there) to.store(at, read_float(dtype, from, offset + element));",
        "plain",
        "emulation_tests",
        DEVICE,
    ),
    Fault(
        "copies to shared memory are not waited for",
        "csrc/cuda/stage.cuh",
        "        if (loads) {\n            wait_for_copies();",
        "        if (loads) {",
        "plain",
        "emulation_tests",
        DEVICE,
    ),
    Fault(
        "the squash is another one",
        "csrc/shared/squash.h",
        "const V under_root = n + eps, inverse = one / (one + n);",
        "const V under_root = n + eps, inverse = one / (one + n + eps + Ops::of(1e-3));",
        "plain",
        "core_tests",
        TESTS,
    ),
    Fault(
        "how sums are divided depends on the number of threads",
        "csrc/cpu/plan.cpp",
        "const int64_t chunks = std::clamp<int64_t>(wanted, 1, divide_up(p.inputs, 8));",
        "const int64_t chunks = std::clamp<int64_t>(p.threads, 1, divide_up(p.inputs, 8));",
        "plain",
        "core_tests",
        TESTS,
    ),
    Fault(
        "a gradient is written one output too far, and no sanitizer looks",
        "csrc/cpu/driver.h",
        "for_each(team, state, p.outputs, [&](int64_t output, T*) { k.finish_bias",
        "for_each(team, state, p.outputs + 1, [&](int64_t output, T*) { k.finish_bias",
        "plain",
        "core_tests",
        TESTS + "written beside a buffer",
    ),
)
