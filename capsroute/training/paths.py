"""Paths as people have them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["AnyPath", "as_path", "optional_path"]

AnyPath = str | os.PathLike[str]


def as_path(name: str, value: AnyPath) -> Path:
    """A path from text or from whatever stands for one.

    Args:
        name: Of the argument, for the message.
        value: What was given.

    Raises:
        TypeError: It is neither.
    """
    try:
        return Path(value)
    except TypeError:
        raise TypeError(f"{name} must be a path, as a str or an os.PathLike, got {type(value).__name__}") from None


def optional_path(name: str, value: AnyPath | None) -> Path | None:
    """The same, and None for None."""
    return None if value is None else as_path(name, value)
