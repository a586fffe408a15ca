"""How far the kernels are from float64 under stress, beside plain PyTorch, and what the rule of the tolerances says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from capsroute import testing

from ..kernels import cuda_backends, in_force, usable_cpu_isas
from ..routing.compare import Expected, expected, fused, plain
from .stress import Stress

PLAIN = "cuda_emulated-plain"


@dataclass(frozen=True)
class Line:
    """One stress with one softmax, dtype and kernel, as :func:`kernels` names it.

    Errors are the largest, of the output and of the worst gradient, relative to the largest true number; infinite where
    a result is not finite, None where float64 has nothing that the dtype could hold.
    """

    stress: str
    softmax: str
    dtype: str
    kernel: str
    output: float | None
    gradients: float | None
    plain_output: float | None  # of plain PyTorch in the dtype
    plain_gradients: float | None
    problem: str  # why the rule of the tolerances does not hold; empty where it does


def kernels(stress: Stress, dtype: torch.dtype) -> list[str]:
    """The kernels that a stress runs on: the widest and the plainest instruction set, each with every way to the votes,
    and the emulated CUDA kernels, with the plain ones where another would be taken."""
    isas = usable_cpu_isas()
    names = [f"{isa}-{votes}" for isa in dict.fromkeys((isas[-1], isas[0])) for votes in ("made", "tile", "wave")]
    if "cuda_emulated" in cuda_backends() and not stress.large:
        names += ["cuda_emulated", *([PLAIN] if dtype != torch.float64 else [])]
    return names


@contextmanager
def forced(kernel: str) -> Iterator[None]:
    """Context in which calls take one of :func:`kernels`."""
    backend = "cuda_emulated" if kernel == PLAIN else kernel
    with in_force(backend), testing.cuda_kernel("plain") if kernel == PLAIN else nullcontext():
        yield


def measure(stress: Stress, softmax: str, dtype: torch.dtype, names: Sequence[str]) -> list[Line]:
    """Run one stress on these kernels."""
    tensors, options, grad = stress.arguments(softmax, dtype)
    known = expected(tensors, options, grad)
    own = plain(tensors, options, grad, dtype)
    plain_errors = _errors(own, known)
    lines = []
    for name in names:
        with forced(name):
            actual = fused(tensors, options, grad)
        try:
            known.check(actual, amplified=stress.amplified)
            problem = ""
        except AssertionError as error:
            problem = str(error)
        errors = _errors(actual, known)
        lines.append(Line(stress.name, softmax, str(dtype)[6:], name, *errors, *plain_errors, problem))
    return lines


def _errors(actual: dict[str, Tensor], known: Expected) -> tuple[float | None, float | None]:
    """Of the output, and of the worst gradient."""
    errors = {name: _error(actual[name], truth) for name, truth in known.truth.items()}
    output = errors.pop("output")
    return output, max((error for error in errors.values() if error is not None), default=None)


def _error(actual: Tensor, truth: Tensor) -> float | None:
    info = torch.finfo(actual.dtype)
    scale = float(truth.abs().max())
    if scale < info.smallest_normal * info.eps:
        return None
    error = float((actual.double() - truth).abs().max()) / scale
    return error if error == error else float("inf")
