"""The IDX format of MNIST: a big-endian header, then unsigned bytes; plain or gzipped."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["read_idx"]

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_PART = 1 << 20  # bytes that are read at a time
_MOST_OF_NOTHING = 1 << 20  # along an axis of an array without elements; torch's strides go by them


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """A file as it is, or unpacked where it is gzipped, whatever its name says."""
    try:
        with path.open("rb") as raw:
            if raw.peek(2)[:2] != _GZIP_MAGIC:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked
    except EOFError:
        raise TrainingError(f"{path} is truncated: its gzip stream ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TrainingError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error


def _rest(file: BufferedIOBase, expected: int) -> tuple[bytearray, int]:
    """What follows, but no more of it than expected, and how much there is. Memory goes by what the file has."""
    data, count = bytearray(), 0
    while part := file.read(_PART):
        data += part[: max(expected - count, 0)]
        count += len(part)
    return data, count


def read_idx(path: AnyPath, dimensions: int) -> Tensor:
    """An IDX file of unsigned bytes, plain or gzipped, as uint8 of so many dimensions: 3 for images, 1 for labels.

    Raises:
        TrainingError: The file cannot be read, is no such IDX file, or is shorter or longer than its header says.
    """
    path = as_path("path", path)
    magic, sizes = bytes((0, 0, _UNSIGNED_BYTE, dimensions)), 4 * dimensions
    with _opened(path) as file:
        beginning, header = file.read(4), file.read(sizes)
        if beginning != magic:
            raise TrainingError(
                f"{path} is not an IDX file of unsigned bytes with {dimensions} dimension(s): it starts with "
                f"{beginning.hex(' ') or 'nothing'} instead of {magic.hex(' ')}"
            )
        if len(header) < sizes:
            raise TrainingError(f"{path} is truncated: it ends inside its header")
        shape = struct.unpack(f">{dimensions}I", header)
        expected = prod(shape)
        data, found = _rest(file, expected)  # writable, as torch wants its memory
    if found != expected:
        problem = "truncated" if found < expected else "longer than its header says"
        raise TrainingError(f"{path} is {problem}: {found:,} bytes of data where {list(shape)} needs {expected:,}")
    if not data and max(shape) > _MOST_OF_NOTHING:
        raise TrainingError(f"{path} is damaged: it has no data for {list(shape)}")
    return torch.frombuffer(data, dtype=torch.uint8).reshape(shape) if data else torch.empty(shape, dtype=torch.uint8)
