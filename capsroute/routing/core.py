"""Floor 5: the compiled modules, and what torch's own switches mean to them."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from .. import _native


def emulated() -> Any:
    """The module with the CUDA kernels compiled for the CPU.

    Raises:
        ImportError: It was not built.
    """
    return importlib.import_module("capsroute._emulated")


def emulation_missing() -> str | None:
    """Why there is no emulation, or None where there is."""
    try:
        emulated()
    except ModuleNotFoundError:
        return "this build of capsroute has no emulated CUDA kernels: build it with CAPSROUTE_EMULATION=1"
    except ImportError as error:
        return f"the emulated CUDA kernels cannot be loaded ({error}): build them again with CAPSROUTE_EMULATION=1"
    return None


# Newer torch refuses to read the older name after the newer one was set; the newer one tells both.
_HAS_PRECISION = hasattr(torch.backends.cuda.matmul, "fp32_precision")


def tf32_allowed() -> bool:
    """What torch's own switch says: whether matrix products in float32 may round their operands to TF32."""
    switch = torch.backends.cuda.matmul
    return bool(switch.fp32_precision == "tf32" if _HAS_PRECISION else switch.allow_tf32)


def build_info() -> dict[str, Any]:
    """What was compiled, and what of it is in use.

    Returns:
        A dict of ``"version"`` (str), ``"cpu_isas"`` (list of str: instruction sets built), ``"cpu_isa"`` (str: the one
        in use), ``"cuda_archs"`` (list of int: 90 for sm_90), ``"emulation"`` (bool: whether the CUDA kernels can run
        on the CPU), ``"openmp"`` (bool), ``"compiler"`` (str).
    """
    return {**_native.build_info(), "cpu_isa": _native.cpu_isa(), "emulation": emulation_missing() is None}
