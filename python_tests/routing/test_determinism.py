"""Bit-identical results for any number of threads and any run."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..covering import covering
from ..kernels import each_kernel
from .cases import ENTRIES, Case
from .compare import assert_bitwise_equal, fused

CASES = [
    Case((37, 300, 5, 7, 12), iterations=4),
    Case((1, 1152, 8, 10, 16)),
    # Several tiles or waves where votes are kept, each of several chunks; so do the first and the fifth of these.
    Case((37, 130, 8, 7, 12), softmax="inputs", bias=True, logits="shared"),
    Case((2, 257, 8, 33, 9), softmax="inputs", bias=True, logits="shared"),
    Case((65, 50, 17, 4, 33), softmax="leaky", gradient="last", logits="sample", input_mask=True, output_mask=True),
    Case((33, 64, 4, 10, 16), weights="shared", bias=True),
    Case((3, 20, 64, 4, 64), weights="half", softmax="inputs"),
    Case((37, 130, 8, 7, 12), bias=True, input_weight=True, gradient="detached_votes", temperature="falling"),
    Case((65, 50, 17, 4, 33), logits="shared", given=True, iterations=1, input_weight=True, squash="exponential"),
]


@covering(case=CASES, entry=ENTRIES, dtype=[torch.float32, torch.float64, torch.bfloat16])
@each_kernel
def test_threads_and_runs(case: Case, entry: str, dtype: torch.dtype, kernel: str) -> None:
    tensors, grad = replace(case, entry=entry).arguments(dtype), case.output_gradient(dtype)
    torch.set_num_threads(1)
    expected = fused(tensors, case.options(), grad)
    for threads in (1, 2, 3, 2):
        torch.set_num_threads(threads)
        assert_bitwise_equal(fused(tensors, case.options(), grad), expected)
