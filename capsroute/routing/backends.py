"""Floor 2: which kernel a call takes, and why. The limits of every backend are stated here and nowhere else."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from .. import _native
from . import core
from .options import BACKENDS, CUDA_FUSIONS, CUDA_KERNELS


class Choice(NamedTuple):
    """A backend by name, the sentence that says why it was chosen, and what is forced of its CUDA kernels."""

    name: str
    reason: str
    forced: bool = False
    cuda_kernel: str = CUDA_KERNELS[0]
    cuda_fusion: str = CUDA_FUSIONS[0]


class _Forced(threading.local):
    """What this thread forces: a backend or None, and the CUDA kernel with its fusion."""

    name: str | None = None
    kernel: str = CUDA_KERNELS[0]
    fusion: str = CUDA_FUSIONS[0]


_forced = _Forced()

_CPU = Choice("cpu", "tensors on 'cpu' take the CPU kernels")
_META = Choice("cpu", "tensors on 'meta' have sizes alone, which every kernel's op derives in the same way")
_ONNX = Choice("reference", "an ONNX exporter is tracing, and it knows PyTorch's own operators only", forced=True)
# Nothing to warn of: it is what was asked for, and no other backend has it.
FORWARD_MODE = Choice("reference", "tangents of forward mode are those of the definition", forced=True)
_warned: set[str] = set()


@contextmanager
def force(name: str) -> Iterator[None]:
    """See :func:`capsroute.testing.backend`."""
    _check_name("backend", name, BACKENDS)
    before = _forced.name
    _forced.name = name
    try:
        yield
    finally:
        _forced.name = before


@contextmanager
def force_cuda_kernel(kernel: str, fusion: str) -> Iterator[None]:
    """See :func:`capsroute.testing.cuda_kernel`."""
    _check_name("kernel", kernel, CUDA_KERNELS)
    _check_name("fusion", fusion, CUDA_FUSIONS)
    before = _forced.kernel, _forced.fusion
    _forced.kernel, _forced.fusion = kernel, fusion
    try:
        yield
    finally:
        _forced.kernel, _forced.fusion = before


def _check_name(argument: str, name: object, known: Sequence[str]) -> None:
    expected = f"{argument} must be one of {', '.join(map(repr, known))}"
    if not isinstance(name, str):
        raise TypeError(f"{expected}, got {type(name).__name__}")
    if name not in known:
        raise ValueError(f"{expected}, got {name!r}")


# What the build can be told to compile for, and what of it runs on no other, as in cmake/CapsrouteOptions.cmake.
_ARCHS = (75, 80, 86, 87, 88, 89, 90, 100, 110, 120)
_ON_CHIP = (87, 88, 110)


def _what_to_build(architecture: int) -> str:
    """What serves a GPU of an architecture such as 86 that a build has no kernels for."""
    if architecture < _ARCHS[0]:
        return f"none has any for it, they need {_ARCHS[0]} or newer"
    # A GPU runs what was compiled for its major version and a minor version up to its own.
    others = [arch for arch in _ARCHS if arch not in _ON_CHIP and arch // 10 == architecture // 10]
    fitting = [architecture] if architecture in _ON_CHIP else [arch for arch in others if arch <= architecture]
    if fitting:
        return f"build it with CAPSROUTE_CUDA_ARCHS={fitting[-1]} or all"
    return "build it with CAPSROUTE_CUDA_ARCHS=all, which holds PTX that the driver compiles for newer ones"


def _cuda_missing(index: int) -> str | None:
    """Why the CUDA kernels cannot run on the device of that index, or None when they can."""
    built = ", ".join(map(str, _native.cuda_archs()))
    if not built:
        return "this build of capsroute has no CUDA kernels: build it with CAPSROUTE_CUDA=1, which needs nvcc"
    problem = _native.cuda_unusable(index)
    if problem == "not_built":
        major, minor = torch.cuda.get_device_capability(index)
        return (
            f"cuda:{index} has architecture {major}{minor} and this build of capsroute has kernels for {built} only: "
            + _what_to_build(10 * major + minor)
        )
    if problem:
        return (
            f"the CUDA of this build of capsroute cannot use cuda:{index} ({problem}): "
            "update the driver, or build capsroute with an nvcc that is not newer than the driver"
        )
    return None


_answers: dict[tuple[str, str, int], str | None] = {}


@torch.compiler.assume_constant_result
def _unusable(name: str, kind: str, index: int) -> str | None:
    """Why backend ``name`` cannot take tensors on device ``kind:index``, or None when it can; asked for once."""
    asked = (name, kind, index)
    if asked not in _answers:
        _answers[asked] = _find_unusable(name, kind, index)
    return _answers[asked]


def _find_unusable(name: str, kind: str, index: int) -> str | None:
    if name == "cpu":
        return None if kind == "cpu" else f"the CPU kernels take tensors on 'cpu', got {kind!r}"
    if name == "cuda":
        if kind == "cuda":
            return _cuda_missing(index)
        return f"the CUDA kernels take tensors on 'cuda', got {kind!r}" if _native.cuda_archs() else _cuda_missing(0)
    if name == "cuda_emulated":
        if kind == "cpu":
            return core.emulation_missing()
        return f"the emulated CUDA kernels take tensors on 'cpu', got {kind!r}"
    return None


@torch.compiler.assume_constant_result
def _in_onnx_export() -> bool:
    return torch.onnx.is_in_onnx_export()


def in_onnx_export() -> bool:
    """Whether an ONNX exporter is tracing, of whichever kind."""
    return (torch.compiler.is_compiling() or torch._C._is_tracing()) and _in_onnx_export()


def choose(device: torch.device) -> Choice:
    """The backend for tensors on ``device``.

    Raises:
        ValueError: A backend is forced that has no kernel for this device.
    """
    kind, name = device.type, _forced.name
    if (torch.compiler.is_compiling() or torch._C._is_tracing()) and _in_onnx_export():
        return _ONNX
    if name is None and kind == "cpu":
        return _CPU
    if name != "reference" and kind == "meta":
        return _META
    problem = _unusable(name or "cuda", kind, device.index or 0) if name or kind == "cuda" else None
    if name is not None:
        if problem is not None:
            raise ValueError(f"backend {name!r} was forced but cannot be used: {problem}")
        reason = f"backend {name!r} is forced by capsroute.testing.backend"
        return Choice(name, reason, True, _forced.kernel, _forced.fusion)
    if kind != "cuda":
        return Choice("reference", f"there is no kernel for device type {kind!r} in this build")
    if problem is not None:
        return Choice("reference", problem)
    return Choice("cuda", "tensors on 'cuda' take the CUDA kernels", False, _forced.kernel, _forced.fusion)


def warn_once(choice: Choice) -> None:
    """Say once per reason that a call falls back to the plain reference, unless that is forced."""
    if not choice.forced and not torch.compiler.is_compiling() and choice.reason not in _warned:
        _warned.add(choice.reason)
        text = f"capsroute falls back to the plain PyTorch reference: {choice.reason}"
        warnings.warn(text, RuntimeWarning, stacklevel=6)
