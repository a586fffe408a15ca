"""Damage to files, drawn from a seed: to their bytes, and to the values in them."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch

_NUMBERS = (
    *(0, 1, 2, 127, 128, 255, 2**15, 2**16),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2.5, 2**31, 2**64, float("nan"), float("inf")),
    *("", "digits", "\0\ud800", [], [[1, 2], [3, 4]], {}, {"a": {"b": 1}}),
)
TENSORS = (
    torch.zeros(()),
    torch.zeros(3),
    torch.zeros(0, 2**31),
    torch.zeros(1).expand(2**40),
    torch.zeros(2, 2, dtype=torch.complex64),
    torch.full((2, 3), torch.nan),
    torch.eye(2).to_sparse(),
    torch.zeros(4, dtype=torch.float8_e4m3fn),
)


def damaged(contents: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four kinds of damage."""
    data = bytearray(contents)
    for _ in range(draw.randint(1, 4)):
        draw.choice(_DAMAGES)(data, draw)
    return bytes(data)


def _place(data: bytearray, draw: random.Random) -> int:
    """Anywhere; half of the time near the beginning, where the headers are."""
    return draw.randrange(min(len(data), 64) if draw.random() < 0.5 else len(data)) if data else 0


def _flip(data: bytearray, draw: random.Random) -> None:
    if data:
        data[_place(data, draw)] ^= 1 << draw.randrange(8)


def _overwrite(data: bytearray, draw: random.Random) -> None:
    at, size = _place(data, draw), draw.choice((1, 2, 4, 8))
    number = draw.choice(_NUMBERS) % 256**size
    data[at : at + size] = number.to_bytes(size, draw.choice(("big", "little")))


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[_place(data, draw) :]


def _remove(data: bytearray, draw: random.Random) -> None:
    at = _place(data, draw)
    del data[at : at + draw.randint(1, 64)]


def _repeat(data: bytearray, draw: random.Random) -> None:
    at, size = _place(data, draw), draw.randint(1, 64)
    data[at:at] = data[at : at + size]


def _insert(data: bytearray, draw: random.Random) -> None:
    at = _place(data, draw)
    data[at:at] = draw.randbytes(draw.randint(1, 64))


def _append(data: bytearray, draw: random.Random) -> None:
    data += draw.randbytes(draw.randint(1, 4096))


_DAMAGES = (_flip, _flip, _overwrite, _overwrite, _cut, _remove, _repeat, _insert, _append)


def replace_value(contents: Any, draw: random.Random, *, tensors: bool = False) -> None:
    """Put something else in the place of one value of nested dicts and lists, or take it away, or add one."""
    holder, key = draw.choice(list(_places(contents)))
    values = (*_VALUES, *(TENSORS if tensors else ()))
    action = draw.randrange(8)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[draw.choice(("other", "", "0", "epoch"))] = copy.deepcopy(draw.choice(values))
    elif action == 2 and isinstance(holder, dict) and tensors:
        holder[draw.choice((0, None, (1, 2)))] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(draw.choice(values))


def _places(contents: Any) -> list[tuple[Any, Any]]:
    """Every holder with every key."""
    if isinstance(contents, dict):
        own = [(contents, key) for key in contents]
    elif isinstance(contents, list):
        own = [(contents, index) for index in range(len(contents))]
    else:
        return []
    return own + [place for holder, key in own for place in _places(holder[key])]
