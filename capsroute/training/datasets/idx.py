"""The IDX format of MNIST: a big-endian header, then unsigned bytes; plain or gzipped."""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from capsroute.training.errors import TrainingError

__all__ = ["read_idx"]

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def _contents(path: Path) -> bytes:
    """Bytes of a file, unpacked where it is gzipped, whatever its name says."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == _GZIP_MAGIC else raw
    except EOFError:
        raise TrainingError(f"{path} is truncated: its gzip stream ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TrainingError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from None


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Reads an IDX file of unsigned bytes.

    Args:
        path: File, plain or gzipped.
        dimensions: Rank that the data must have: 3 for images, 1 for labels.

    Returns:
        uint8, of the shape that the header gives.

    Raises:
        TrainingError: The file cannot be read, is no such IDX file, or is shorter or longer than its header says.
    """
    contents = _contents(path)
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if contents[:4] != magic:
        raise TrainingError(
            f"{path} is not an IDX file of unsigned bytes with {dimensions} dimension(s): it starts with "
            f"{contents[:4].hex(' ') or 'nothing'} instead of {magic.hex(' ')}"
        )
    header = 4 + 4 * dimensions
    if len(contents) < header:
        raise TrainingError(f"{path} is truncated: it ends inside its header")
    shape = struct.unpack(f">{dimensions}I", contents[4:header])
    expected, found = prod(shape), len(contents) - header
    if found != expected:
        problem = "truncated" if found < expected else "longer than its header says"
        raise TrainingError(f"{path} is {problem}: {found:,} bytes of data where {list(shape)} needs {expected:,}")
    data = bytearray(contents[header:])  # writable, as torch wants its memory
    return torch.frombuffer(data, dtype=torch.uint8).reshape(shape) if data else torch.empty(shape, dtype=torch.uint8)
