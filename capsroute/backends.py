"""Which kernel a call takes, and why: the limits of every backend are stated here and nowhere else."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from . import _native
from .options import BACKENDS


class Choice(NamedTuple):
    """A backend by name, and the sentence that says why it was chosen."""

    name: str
    reason: str


_forced = threading.local()
_warned: set[str] = set()


def forced() -> str | None:
    """The backend that this thread forces, or None."""
    return getattr(_forced, "name", None)


@contextmanager
def force(name: str) -> Iterator[None]:
    """See :func:`capsroute.testing.backend`."""
    if not isinstance(name, str):
        raise TypeError(f"backend must be one of {', '.join(map(repr, BACKENDS))}, got {type(name).__name__}")
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(map(repr, BACKENDS))}, got {name!r}")
    before = forced()
    _forced.name = name
    try:
        yield
    finally:
        _forced.name = before


def _unusable(name: str, device: torch.device) -> str | None:
    """Why backend ``name`` cannot take tensors on ``device``, or None when it can."""
    if name == "reference":
        return None
    if name == "cpu":
        return None if device.type == "cpu" else f"the CPU kernels take tensors on 'cpu', got {str(device)!r}"
    if name == "cuda":
        return "this build of capsroute has no CUDA kernels"
    return "this build of capsroute has no emulated CUDA kernels"


def choose(device: torch.device) -> Choice:
    """The backend for tensors on ``device``.

    Raises:
        ValueError: A backend is forced that has no kernel for this device.
    """
    name = forced()
    if name is not None:
        problem = _unusable(name, device)
        if problem is not None:
            raise ValueError(f"backend {name!r} was forced but cannot be used: {problem}")
        return Choice(name, f"backend {name!r} is forced by capsroute.testing.backend")
    if device.type == "cpu":
        return Choice("cpu", "tensors on 'cpu' take the CPU kernels")
    return Choice("reference", f"there is no kernel for device type {device.type!r} in this build")


def build_info() -> dict[str, Any]:
    """What was compiled, and what of it is in use.

    Returns:
        A dict: ``"version"`` (str), ``"cpu_isas"`` (list of str: instruction sets built), ``"cpu_isa"`` (str: the one
        in use), ``"cuda_archs"`` (list of int), ``"emulation"`` (bool), ``"openmp"`` (bool), ``"compiler"`` (str).
    """
    return {**_native.build_info(), "cpu_isa": _native.cpu_isa()}


def warn_once(reason: str) -> None:
    """Say once per reason that a call falls back to the plain reference."""
    if not torch.compiler.is_compiling() and reason not in _warned:
        _warned.add(reason)
        warnings.warn(f"capsroute falls back to the plain PyTorch reference: {reason}", RuntimeWarning, stacklevel=4)
