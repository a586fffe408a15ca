"""Errors that mean: no memory is left."""

from __future__ import annotations

import errno
import re

__all__ = ["sentence_of"]

# torch has no class of its own for this on the CPU. These are its allocators, and what a C++ library lets through.
_SIGNS = ("can't allocate memory", "out of memory", "bad_alloc", "Cannot allocate memory")
_AMOUNT = re.compile(r"tried to allocate ([\d.]+ (?:bytes|[KMGT]iB))", re.IGNORECASE)


def sentence_of(error: BaseException) -> str | None:
    """What the user is told, in half a sentence, where an error means that memory has run out; None for others."""
    text = str(error)
    ran_out = isinstance(error, MemoryError)
    ran_out |= isinstance(error, OSError) and error.errno == errno.ENOMEM
    ran_out |= isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
    if not ran_out:
        return None
    amount = _AMOUNT.search(text)
    missing = f"{amount[1]} more could not be had" if amount else "no more could be had"
    return f"there is not enough memory: {missing}"
