"""Files that are read as a stream, plain or gzipped, in memory that goes by what they hold, not by what they claim."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from math import prod
from pathlib import Path

import numpy
import torch
from torch import Tensor

from capsroute import no_memory
from capsroute.training.errors import TrainingError

__all__ = ["as_tensor", "opened", "read_array"]

_GZIP_MAGIC = b"\x1f\x8b"
_PART = 1 << 20  # bytes that are read at a time
_MOST_OF_NOTHING = 1 << 20  # along an axis of an array without elements; torch's strides go by them


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """A file as it is, or unpacked where it is gzipped, whatever its name says.

    Raises:
        TrainingError: It cannot be read, or its gzip stream is damaged.
    """
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
    except (OSError, MemoryError) as error:
        problem = no_memory.sentence_of(error) or getattr(error, "strerror", None) or error
        raise TrainingError(f"cannot read {path}: {problem}") from error


def read_array(file: BufferedIOBase, path: Path, shape: tuple[int, ...], dtype: str) -> Tensor:
    """The rest of a file as an array.

    Args:
        file: Stands behind the header.
        path: Of the file, for the messages.
        shape: As the header has it.
        dtype: As numpy has it, with the order of the bytes: ``">i4"``.

    Raises:
        TrainingError: The rest is shorter or longer than the array.
    """
    kind = numpy.dtype(dtype)
    expected = prod(shape) * kind.itemsize
    data, found = _rest(file, expected)
    if found != expected:
        problem = "truncated" if found < expected else "longer than its header says"
        raise TrainingError(f"{path} is {problem}: {found:,} bytes of data where {list(shape)} needs {expected:,}")
    if not data and max(shape) > _MOST_OF_NOTHING:
        raise TrainingError(f"{path} is damaged: it has no data for {list(shape)}")
    return as_tensor(numpy.frombuffer(data, kind)).reshape(shape)


def as_tensor(values: numpy.ndarray) -> Tensor:
    """Numbers in the order of this machine's bytes, in the memory where they lie; of the type next above for torch."""
    if not values.dtype.isnative:
        values = values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))
    return torch.from_numpy(values)


def _rest(file: BufferedIOBase, expected: int) -> tuple[bytearray, int]:
    """What follows, but no more of it than expected, and how much there is. It is writable, as torch wants it."""
    data, count = bytearray(), 0
    while part := file.read(_PART):
        data += part[: max(expected - count, 0)]
        count += len(part)
    return data, count
