"""Things looked up and put in order by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
T = TypeVar("T")


def check(what: str, names: Sequence[str], known: Collection[str]) -> None:
    """Raise a ValueError that lists the known names if one of these is unknown, or if there is none."""
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"{what} must be among {', '.join(known)}; got {', '.join(map(repr, unknown)) or 'none'}")


def grouped(items: Iterable[T], key: Callable[[T], KeyT]) -> dict[KeyT, list[T]]:
    """The items by a key, both in the order in which they come."""
    groups: dict[KeyT, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
