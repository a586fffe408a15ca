"""The IDX format of MNIST: a big-endian header, then numbers of one type; plain or gzipped."""

import struct

from torch import Tensor

from capsroute.training.datasets.streams import opened, read_array
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["TYPES", "read_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Types of the elements by the third byte of a file, as numpy has them."""
_MOST_DIMENSIONS = 32


def read_idx(path: AnyPath, dimensions: int | None = None) -> Tensor:
    """An IDX file, plain or gzipped, whatever its name says.

    Args:
        path: The file.
        dimensions: How many it must have: 3 for images, 1 for labels, 2 for the labels of QMNIST. None for any number.

    Returns:
        Its array, in the type that it has there: uint8, int8, int16, int32, float32 or float64.

    Raises:
        TrainingError: The file cannot be read, is no IDX file, has another number of dimensions, or is shorter or
            longer than its header says.
    """
    path = as_path("path", path)
    with opened(path) as file:
        beginning = file.read(4)
        if len(beginning) < 4 or beginning[:2] != b"\0\0" or beginning[2] not in TYPES:
            raise TrainingError(
                f"{path} is not an IDX file: it starts with {beginning.hex(' ') or 'nothing'} instead of 00 00, a type "
                f"from 08 to 0e and the number of dimensions"
            )
        found = beginning[3]
        if dimensions not in (None, found) or found > _MOST_DIMENSIONS:
            wanted = f"at most {_MOST_DIMENSIONS}" if dimensions is None else dimensions
            raise TrainingError(f"{path} holds an array of {found} dimension(s), not of {wanted}")
        header = file.read(4 * found)
        if len(header) < 4 * found:
            raise TrainingError(f"{path} is truncated: it ends inside its header")
        return read_array(file, path, struct.unpack(f">{found}I", header), TYPES[beginning[2]])
