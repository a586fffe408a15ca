"""Beside all floors: kinds of values that an option can have, how they are checked and packed, and single checks.

Each failure is a TypeError (wrong kind) or a ValueError (wrong value) that names the argument, what was given and what
was expected.
"""

from __future__ import annotations

import math
import operator
import reprlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

Plain = TypeVar("Plain", int, float)

_MOST_BITS = 256
_LARGEST = sys.float_info.max
_NO_NUMBERS = ("bool", "complex", "datetime", "timedelta", "object", "<U", "|S")  # how such dtypes begin


def choice(name: str, value: object, known: Sequence[str]) -> str:
    """One of the known strings."""
    expected = f"{name} must be one of {', '.join(map(repr, known))}"
    if not isinstance(value, str):
        raise TypeError(f"{expected}, got {kind_of(value)}")
    if value not in known:
        raise ValueError(f"{expected}, got {value!r}")
    return value if type(value) is str else str(value)


def shown(value: float) -> str:
    """A number for a message; of a huge int only its size, since Python refuses to write some of them."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"an int of {value.bit_length()} bits"
    return str(value)


def kind_of(value: object) -> str:
    """The type of a value for a message, with its package where two have one name; of a tensor its dtype and shape."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    name = kind.__qualname__ if package == "builtins" else f"{package}.{kind.__qualname__}"
    dtype, axes = getattr(value, "dtype", None), _axes_of(value)
    if dtype is None or axes is None or (axes == () and name.endswith(f".{dtype}")):  # numpy.float32 says it all
        return name
    return f"{name} of dtype {str(dtype).removeprefix('torch.')} and shape {axes}"


def _axes_of(value: object) -> tuple[int, ...] | None:
    """The shape of a tensor or array; None for what has none, and for a nested tensor, which refuses to say it."""
    try:
        return tuple(getattr(value, "shape"))  # noqa: B009  # of an object of any kind
    except (AttributeError, TypeError, RuntimeError):
        return None


def number(
    name: str, value: Any, expected: str, *, above: float = 0, or_equal: bool = False, infinite: bool = False
) -> float:
    """A number above a limit, as a plain int or float: what it was, or what its ``__float__`` says."""
    if type(value) is not float and type(value) is not int:
        value = plain(name, value, expected, float)
    # An int may be larger than any float and yet below infinity; false for NaN too.
    if not (above < value <= _LARGEST or (or_equal and value == above) or (infinite and value == math.inf)):
        raise ValueError(f"{name} must be {expected}, got {shown(value)}")
    return value


def whole(name: str, value: Any, *, least: int = 1, below: int = 2**31) -> int:
    """An int within its bounds, as a plain one: what it was, or what its ``__index__`` says."""
    if type(value) is not int:
        value = plain(name, value, f"an int of at least {least}", operator.index)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {shown(value)}")
    if value >= below:
        raise ValueError(f"{name} must be below 2**{below.bit_length() - 1}, got {shown(value)}")
    return value


def flag(name: str, value: Any, expected: str = "a bool") -> bool:
    """A bool, as Python's own; NumPy's, and a tensor or array that holds nothing but one, are as good."""
    if type(value) is bool:
        return value
    if _dtype_of(value) != "bool" or _axes_of(value) != () or _is_meta(value):
        raise TypeError(f"{name} must be {expected}, got {kind_of(value)}")
    return bool(value)


def at_least_one(**sizes: Any) -> tuple[int, ...]:
    """Sizes of a module, by the names of its arguments; returns them in this order."""
    return tuple(whole(name, value) for name, value in sizes.items())


def listed(value: Any) -> list[Any] | None:
    """The members of a sequence, or of a tensor or array with one axis; None where it is something else."""
    if isinstance(value, Sequence):
        return None if isinstance(value, str | bytes | bytearray) else list(value)
    axes = _axes_of(value)
    if axes is None or len(axes) != 1 or not hasattr(value, "tolist") or _is_meta(value) or _learned(value):
        return None
    return list(value.tolist())


def wholes(name: str, value: object, *, least: int = 1) -> tuple[int, ...]:
    """Ints of a sequence, tensor or array with one axis."""
    values = listed(value)
    if values is None:
        raise TypeError(f"{name} must be a sequence of ints, got {kind_of(value)}")
    return tuple(whole(f"{name}[{place}]", each, least=least) for place, each in enumerate(values))


def per_axis(name: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """One int for each axis, from one for all or from a sequence.

    Raises:
        TypeError: Not an int and not a sequence of ints.
        ValueError: The wrong number of them, or one below ``least``.
    """
    values = listed(value)
    expected = f"an int or a sequence of {axes} ints"
    if values is None:
        if type(value) is not int:
            value = plain(name, value, expected, operator.index)
        return (whole(name, value, least=least),) * axes
    if len(values) != axes:
        raise ValueError(f"{name} must be {expected}, got {reprlib.repr(tuple(values))}")
    return wholes(name, values, least=least)


def plain(name: str, value: Any, expected: str, convert: Callable[[Any], Plain]) -> Plain:
    """A plain number of what says itself that it is one: NumPy's, a fraction, a tensor that holds nothing but one."""
    if not _is_number(value) or not hasattr(type(value), "__index__" if convert is operator.index else "__float__"):
        raise TypeError(f"{name} must be {expected}, got {kind_of(value)}{_advice(value, convert)}")
    if _learned(value):
        raise TypeError(
            f"{name} must be {expected}, got a {kind_of(value)} that requires grad, which no gradient would reach: "
            "give it by .item()"
        )
    try:
        return convert(value)
    except OverflowError as error:
        raise ValueError(f"{name} must be {expected}, got a {kind_of(value)} beyond the largest float") from error
    except (TypeError, ValueError, RuntimeError) as error:  # a float tensor in the place of an int, a NaN of decimals
        raise TypeError(f"{name} must be {expected}, got {kind_of(value)}{_advice(value, convert)}") from error


def _is_number(value: object) -> bool:
    """Whether it may be taken for a real number; what its type can do says the rest."""
    if isinstance(value, bool) or _dtype_of(value).startswith(_NO_NUMBERS) or _is_meta(value):
        return False
    return _axes_of(value) in (None, ())


def _advice(value: Any, convert: Callable[[Any], object]) -> str:
    """The way out for a float that is a whole number where an int is wanted."""
    if convert is not operator.index or not _is_number(value) or not hasattr(type(value), "__float__"):
        return ""
    number = float(value)
    return f": give int({number})" if number.is_integer() else ""


def _dtype_of(value: object) -> str:
    return str(getattr(value, "dtype", "")).removeprefix("torch.")


def _is_meta(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_meta


def _learned(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def check(self, name: str, value: object) -> Any:
        """The value as a plain one; see the head of this file, as for the other kinds."""
        return flag(name, value)

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

    def check(self, name: str, value: object) -> Any:
        """See :class:`Flag`."""
        return choice(name, value, self.names)

    def pack(self, value: Any) -> int:
        """See :class:`Flag`."""
        return self.names.index(value)

    def unpack(self, packed: int) -> Any:
        """See :class:`Flag`."""
        return self.names[packed]


@dataclass(frozen=True)
class Count:
    """An int of at least 1 and below 2**31."""

    def check(self, name: str, value: object) -> Any:
        """See :class:`Flag`."""
        return whole(name, value)

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

    def check(self, name: str, value: object) -> Any:
        """See :class:`Flag`."""
        limit = self.above if self.above is not None else self.least
        return number(
            name, value, self.expected, above=-_LARGEST if limit is None else limit, or_equal=self.above is None
        )
