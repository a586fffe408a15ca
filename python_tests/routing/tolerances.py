"""How far a result may be from the truth: the one rule that all tests of kernels use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .rounding import ALL, FEW

_HALF = (torch.float16, torch.bfloat16)


def ulp(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Distance of neighbouring numbers of ``dtype`` at each of ``values``, in float64."""
    info = torch.finfo(dtype)
    magnitude = values.detach().double().abs().clamp_min(info.tiny)
    return torch.exp2(torch.floor(torch.log2(magnitude))) * info.eps


def assert_faithful(
    actual: Tensor,
    truth: Tensor,
    plain: Callable[[int], Sequence[Tensor]],
    *,
    name: str,
    terms: float = 0.0,
    amplified: bool = False,
) -> None:
    """Check a result in any dtype against the truth.

    * float64: error ≤ 1e-13·max|truth|.
    * float32: error ≤ 2 × the error of plain PyTorch in float32 + 1e-6·max|truth|.
    * float16, bfloat16: ≤ 2 units in the last place from the float32 result on the same rounded inputs, where the
      float32 result is itself known only as well as the line above says.

    A bound relative to the largest element lets a small gradient be lost altogether, so the relative error in the L2
    norm is bounded too, and no slice along any axis may be zero where the truth is not.

    Args:
        actual: The result under test, any shape and dtype.
        truth: The same in float64, from the same (rounded) inputs.
        plain: So many results of what plain PyTorch may compute, in float32 for half types and in the dtype of
            ``actual`` otherwise, see :mod:`.rounding`. The largest error of all counts. Most results are close enough
            without, or with a few, and then no more are asked for.
        name: What it is, for the message.
        terms: Magnitude of terms that cancel exactly in theory (0 if none do): their rounding is no error.
        amplified: The problem itself amplifies rounding, as many iterations of routing do, until float64 is no truth
            for float64: what plain PyTorch may compute differs from it as well, and twice that is allowed.

    Raises:
        AssertionError: If the result is further from the truth than the rule allows.
    """
    assert actual.shape == truth.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(truth.shape)}"
    assert truth.dtype == torch.float64, f"{name}: the truth is {truth.dtype}, not float64"
    assert torch.isfinite(truth).all(), f"{name}: the truth is not finite"
    if truth.numel() == 0:
        return
    assert torch.isfinite(actual).all(), f"{name}: {int((~torch.isfinite(actual)).sum())} elements are not finite"
    lost = _lost(actual, truth, terms)
    assert not lost, f"{name} {actual.dtype}: {lost}"
    plain_error, problem = torch.zeros_like(truth), ""
    for count in (0, FEW, ALL):
        if count:
            plain_error = torch.stack([(result.double() - truth).abs() for result in plain(count)]).amax(0)
        problem = _too_far(actual, truth, plain_error, terms, amplified)
        if not problem:
            return
    raise AssertionError(f"{name} {actual.dtype}: {problem}")


def _compute_type(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in _HALF else dtype


def _noise(dtype: torch.dtype, terms: float) -> float:
    return 4 * torch.finfo(_compute_type(dtype)).eps * terms


def _too_far(actual: Tensor, truth: Tensor, plain_error: Tensor, terms: float, amplified: bool) -> str:
    """Which bound does not hold, or nothing."""
    dtype = actual.dtype
    error = (actual.double() - truth).abs()
    scale, noise = float(truth.abs().max()), _noise(dtype, terms)
    rounding = 2 * ulp(truth, dtype) if dtype in _HALF else torch.zeros_like(truth)
    relative = 1e-13 if dtype == torch.float64 else 1e-6
    allowed_error = float(plain_error.max()) if amplified or dtype != torch.float64 else 0.0
    bound = rounding + 2 * allowed_error + relative * scale + noise
    if not (error <= bound).all():
        worst = int((error - bound).argmax())
        where = tuple(int(k) for k in torch.unravel_index(torch.tensor(worst), error.shape))
        found, limit, got, true = (float(t.flatten()[worst]) for t in (error, bound, actual, truth))
        return (
            f"error {found:.3e} at {where} is above {limit:.3e}; got {got:.9e}, truth {true:.9e}, "
            f"max|truth| {scale:.3e}, plain PyTorch errs by {float(plain_error.max()):.3e}"
        )
    allowed = (
        10 * relative * float(truth.norm())
        + 2 * float(plain_error.norm())
        + float(rounding.norm())
        + noise * truth.numel() ** 0.5
    )
    distance = float(error.norm())
    return "" if distance <= allowed else f"L2 error {distance:.3e} is above {allowed:.3e}"


def _lost(actual: Tensor, truth: Tensor, terms: float) -> str:
    """Which slices are all zero where the truth is not, or nothing."""
    dtype = actual.dtype
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # the smallest subnormal number
    visible = max(smallest, 1e-12 * float(truth.abs().max()), _noise(dtype, terms))
    for axis in range(truth.dim()):
        others = [k for k in range(truth.dim()) if k != axis]
        expected = truth.abs().amax(dim=others) if others else truth.abs()
        found = actual.abs().amax(dim=others) if others else actual.abs()
        lost = torch.nonzero((expected > visible) & (found == 0)).flatten().tolist()
        if lost:
            return f"all zero at indices {lost} of axis {axis}, where the truth is not"
    return ""
