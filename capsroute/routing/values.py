"""Beside all floors: kinds of values that an option can have, how they are checked and packed, and single checks.

Each failure is a TypeError (wrong kind) or a ValueError (wrong value) that names the argument, what was given and what
was expected.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_MOST_BITS = 256
_LARGEST = sys.float_info.max


def choice(name: str, value: object, known: Sequence[str]) -> None:
    """One of the known strings."""
    expected = f"{name} must be one of {', '.join(map(repr, known))}"
    if not isinstance(value, str):
        raise TypeError(f"{expected}, got {type(value).__name__}")
    if value not in known:
        raise ValueError(f"{expected}, got {value!r}")


def shown(value: float) -> str:
    """A number for a message; of a huge int only its size, since Python refuses to write some of them."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"an int of {value.bit_length()} bits"
    return str(value)


def number(name: str, value: object, expected: str, *, above: float = 0, or_equal: bool = False) -> None:
    """A finite int or float above a limit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}")
    # An int may be larger than any float and yet below infinity; false for NaN too.
    if not (above < value <= _LARGEST or (or_equal and value == above)):
        raise ValueError(f"{name} must be {expected}, got {shown(value)}")


def at_least_one(**sizes: int) -> None:
    """Sizes of a module, by the names of its arguments."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def check(self, name: str, value: object) -> None:
        """See the head of this file, as for the other kinds."""
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be a bool, got {type(value).__name__}")

    def pack(self, value: Any) -> int:
        """As an int."""
        return int(value)

    def unpack(self, packed: int) -> Any:
        """The inverse."""
        return bool(packed)


@dataclass(frozen=True)
class OneOf:
    """One of some names, packed as its number; in C++ an enum of them, or whether it is the second of two."""

    names: tuple[Any, ...]

    def check(self, name: str, value: object) -> None:
        """See :class:`Flag`."""
        choice(name, value, self.names)

    def pack(self, value: Any) -> int:
        """See :class:`Flag`."""
        return self.names.index(value)

    def unpack(self, packed: int) -> Any:
        """See :class:`Flag`."""
        return self.names[packed]


@dataclass(frozen=True)
class Count:
    """An int of at least 1 and below 2**31."""

    def check(self, name: str, value: object) -> None:
        """See :class:`Flag`."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int of at least 1, got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {shown(value)}")
        if value >= 2**31:
            raise ValueError(f"{name} must be below 2**31, got {shown(value)}")

    def pack(self, value: Any) -> int:
        """See :class:`Flag`."""
        return int(value)

    def unpack(self, packed: int) -> Any:
        """See :class:`Flag`."""
        return packed


@dataclass(frozen=True)
class Real:
    """A finite number: any, one of at least 0, or one above 0."""

    least: float | None = None
    above: float | None = None

    @property
    def expected(self) -> str:
        """In words."""
        bound = f" of at least {self.least}" if self.least is not None else ""
        return f"a finite number{bound}" + (f" above {self.above}" if self.above is not None else "")

    def check(self, name: str, value: object) -> None:
        """See :class:`Flag`."""
        limit = self.above if self.above is not None else self.least
        number(name, value, self.expected, above=-_LARGEST if limit is None else limit, or_equal=self.above is None)
