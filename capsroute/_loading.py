"""Loads the compiled module after torch, and says what is missing where the system cannot load it."""

from __future__ import annotations

import warnings

# First: the compiled module takes the OpenMP library that torch has loaded, and wheels bring none.
from torch.jit import TracerWarning  # type: ignore[attr-defined]

# What a trace finds our checks to decide from sizes is not lost to it; torch ignores these warnings of its own modules.
warnings.filterwarnings("ignore", category=TracerWarning, module=r"capsroute\.(?!nn\.conv)")

try:
    from . import _native  # noqa: F401
except ImportError as error:
    if "libgomp.so.1" not in str(error):
        raise
    raise ImportError(
        "capsroute needs libgomp.so.1, which this torch does not bring and the system does not have: install it "
        f"(Debian and Ubuntu: apt install libgomp1; Fedora and RHEL: dnf install libgomp; {error})"
    ) from error
