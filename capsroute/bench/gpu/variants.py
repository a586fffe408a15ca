"""The kernels of the package that are looked at, beside the one that it takes by itself."""

from __future__ import annotations

import contextlib

from capsroute import testing
from capsroute.bench.contenders import OURS

AUTOMATIC = "automatic"
PLAIN = "plain"  # the simplest kernel, which takes any size
FUSIONS = ("grid", "cluster", "launches")  # how a fused kernel gets from one pass to the next
_REFUSAL = "cannot run this problem"
REFUSED = "does not take this problem on this device"


def forced(variant: str) -> contextlib.AbstractContextManager[None]:
    """Context in which calls take one of the kernels named above."""
    if variant == AUTOMATIC:
        return contextlib.nullcontext()
    if variant == PLAIN:
        return testing.cuda_kernel("plain")
    return testing.cuda_kernel("fused", fusion=variant)


def contender(variant: str) -> str:
    """The name of a variant in a table."""
    return OURS if variant == AUTOMATIC else f"{OURS} {variant}"


def is_refusal(error: BaseException) -> bool:
    """Whether an error says that a forced kernel does not take this problem on this device, which is no fault."""
    return _REFUSAL in str(error)
