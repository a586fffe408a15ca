"""MATLAB's files of version 5 to 7 (``.mat``): the numeric arrays that are asked for, in bounded memory.

Read here and not by scipy: its reader takes what memory a header claims, and ends the process at arrays that are nested
deeply. The format is in MathWorks' "MAT-File Format". In tests scipy is the other reader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from math import prod
from typing import Protocol

import numpy
import torch
from torch import Tensor

from capsroute.training.datasets.streams import opened
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["read_matlab", "whole_numbers"]

_PART = 1 << 20  # bytes that are read at a time
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCT = 2
_NUMERIC = range(6, 16)  # classes of arrays, from double to uint64
_COMPLEX = 0x800
# Types of the elements in a file, which may be smaller than those of the array.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}

_Names = tuple[str, ...]
_Found = Iterator[tuple[str, numpy.ndarray]]


class _Damaged(Exception):
    """What is wrong with a file, as the end of a sentence."""


class _Source(Protocol):
    def read(self, count: int, /) -> bytes:
        """At most so many bytes; nothing at the end."""


def read_matlab(path: AnyPath, names: Sequence[str]) -> dict[str, numpy.ndarray]:
    """Numeric arrays of a file.

    Args:
        path: The file.
        names: Of variables, or of fields in structs of one element: ``"X"``, ``"dataset.train.images"``.

    Returns:
        Those of the arrays that the file has, by name: in MATLAB's shape, in the type that they have in the file, which
        may be smaller than the type of the array.

    Raises:
        TrainingError: The file cannot be read, is none of MATLAB of version 5 to 7, or is damaged; or one of the names
            is something other than a full array of real numbers.
    """
    path = as_path("path", path)
    wanted = [tuple(name.split(".")) for name in names]
    with opened(path) as file:
        try:
            return dict(_variables(file, wanted))
        except _Damaged as error:
            raise TrainingError(f"{path} {error}") from None


def whole_numbers(values: numpy.ndarray, where: str, allowed: range) -> Tensor:
    """Labels, which MATLAB often keeps as numbers with a fraction: ``[N]``, int64.

    Args:
        values: Of any shape with at most one axis longer than 1.
        where: What is named in the message.
        allowed: Which ones there may be.

    Raises:
        TrainingError: There are none, they lie in more than one column, or one is no whole number or not allowed.
    """
    if values.size != max(values.shape) or values.size == 0:
        raise TrainingError(f"{where} is an array {list(values.shape)}, not labels [N, 1] or [1, N]")
    numbers = values.reshape(-1)
    wrong = ~((numbers >= allowed[0]) & (numbers <= allowed[-1]) & (numbers == numpy.floor(numbers)))
    if wrong.any():
        raise TrainingError(
            f"{where} holds the label {numbers[wrong][0]:g}, not one from {allowed[0]} to {allowed[-1]}"
        )
    return torch.from_numpy(numbers.astype(numpy.int64))


def _variables(file: _Source, wanted: list[_Names]) -> _Found:
    header = bytes(_upto(file, _HEADER))
    order = {b"IM": "<", b"MI": ">"}.get(header[126:])
    if header.startswith(b"MATLAB 7.3"):
        raise _Damaged("is a file of MATLAB 7.3, which is HDF5: save it again with -v7")
    if order is None or not header.startswith(b"MATLAB"):
        raise _Damaged(f"is not a file of MATLAB 5 to 7: it starts with {header[:8].hex(' ') or 'nothing'}")
    while tag := _upto(file, 8):
        if len(tag) < 8:
            raise _Damaged("is truncated: it ends inside the tag of a variable")
        kind, size = struct.unpack(f"{order}II", tag)
        whole = _Part(file, size, order)
        if kind == _COMPRESSED:
            unpacked = _Unpacked(whole)
            kind, size = struct.unpack(f"{order}II", _exactly(unpacked, 8))
            yield from _variable(_Part(unpacked, size, order), kind, wanted)
            unpacked.finish()
        else:
            yield from _variable(whole, kind, wanted)
        whole.skip()


def _variable(part: _Part, kind: int, wanted: list[_Names]) -> _Found:
    if kind != _MATRIX:
        raise _Damaged(f"is damaged: a variable is an element of the type {kind}, not {_MATRIX}")
    yield from part.matrix(wanted, ())
    part.skip()


class _Unpacked:
    """A compressed element, unpacked as it is asked for."""

    def __init__(self, packed: _Source) -> None:
        self._source = packed
        self._stream = zlib.decompressobj()
        self._packed = b""

    def read(self, count: int, /) -> bytes:
        while count and not self._stream.eof:  # zlib takes 0 for no limit
            self._packed = self._packed or self._source.read(_PART)
            if not self._packed:
                raise _Damaged("is truncated: it ends inside a compressed variable")
            found = self._stream.decompress(self._packed, count)
            self._packed = self._stream.unconsumed_tail
            if found:
                return found
        return b""

    def finish(self) -> None:
        """Reads to the end, where the sum stands that shows damage."""
        while self.read(_PART):
            pass


class _Part:
    """An element and what lies in it: nothing is read past its end."""

    def __init__(self, source: _Source, size: int, order: str) -> None:
        self._source = source
        self._left = size
        self._order = order

    def read(self, count: int, /) -> bytes:
        part = self._source.read(min(count, self._left))
        self._left -= len(part)
        return part

    def skip(self) -> None:
        """Goes to its end."""
        while self._left:
            if not self.read(_PART):
                raise _Damaged("is truncated: it ends inside a variable")

    def matrix(self, wanted: list[_Names], path: _Names) -> _Found:
        """What is wanted of an array of any class; its path is that of the field, or () for a variable."""
        if not self._left:  # an empty field
            return
        flags, sizes = self._numbers("flags", 16), self._numbers("sizes", 128)
        letters = self._numbers("name", 4096)
        path = path or (_text(letters),)
        if not any(names[: len(path)] == path for names in wanted):
            return
        name = ".".join(path)
        if not len(flags) or len(sizes) < 2 or sizes.min() < 0:
            raise _Damaged(f"is damaged: {name} has no sizes")
        kind, shape = int(flags[0]) & 0xFF, tuple(map(int, sizes))
        if path not in wanted and kind == _STRUCT and prod(shape) == 1:
            yield from self._fields(wanted, path)
        elif path not in wanted or kind not in _NUMERIC or int(flags[0]) & _COMPLEX:
            expected = "a full array of real numbers" if path in wanted else "a struct of one element"
            raise _Damaged(f"holds {name} as something else than {expected}")
        else:
            values = self._numbers(name)
            if len(values) != prod(shape):
                needed = f"{list(shape)} needs {prod(shape):,}"
                raise _Damaged(f"is damaged: {name} has {len(values):,} numbers where {needed}")
            # Sizes of nothing may be larger than numpy's strides can be.
            yield name, values.reshape(shape if len(values) else (0,) * len(shape), order="F")

    def _fields(self, wanted: list[_Names], path: _Names) -> _Found:
        lengths, letters = self._numbers("length of the fields' names", 16), self._numbers("fields' names", 1 << 16)
        length = int(lengths[0]) if len(lengths) else 0
        if length < 1 or len(letters) % length:
            raise _Damaged(f"is damaged: the fields of {'.'.join(path)} have no names")
        for start in range(0, len(letters), length):
            kind, size, short = self._tag()
            if kind != _MATRIX or short is not None:
                raise _Damaged(f"is damaged: a field of {'.'.join(path)} is no array")
            field = _Part(self, size, self._order)
            yield from field.matrix(wanted, (*path, _text(letters[start : start + length])))
            field.skip()

    def _numbers(self, what: str, most: int | None = None) -> numpy.ndarray:
        """The numbers of the next element, of at most so many bytes."""
        kind, size, contents = self._tag()
        if kind not in _TYPES:
            raise _Damaged(f"is damaged: {what} is an element of the type {kind}, which holds no numbers")
        dtype = numpy.dtype(self._order + _TYPES[kind])
        if size % dtype.itemsize or (most is not None and size > most):
            raise _Damaged(f"is damaged: {what} has {size:,} bytes")
        if contents is None:
            contents = _exactly(self, size)
            _exactly(self, min(-size % 8, self._left))  # elements begin at every eighth byte
        return numpy.frombuffer(contents, dtype)

    def _tag(self) -> tuple[int, int, bytearray | None]:
        """Type and bytes of the next element, and its contents where they stand in the tag itself."""
        tag = _exactly(self, 8)
        kind, size = struct.unpack(f"{self._order}II", tag)
        if kind < 1 << 16:
            return kind, size, None
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise _Damaged("is damaged: a tag holds more than it can")
        return kind, size, tag[4 : 4 + size]


def _upto(source: _Source, count: int) -> bytearray:
    """So many bytes, or what there is, which is what it takes of memory."""
    data = bytearray()
    while len(data) < count and (part := source.read(min(_PART, count - len(data)))):
        data += part
    return data


def _exactly(source: _Source, count: int) -> bytearray:
    data = _upto(source, count)
    if len(data) < count:
        raise _Damaged("is truncated: it ends inside a variable")
    return data


def _text(letters: numpy.ndarray) -> str:
    return letters.astype(numpy.uint8).tobytes().split(b"\0")[0].decode("latin-1")
