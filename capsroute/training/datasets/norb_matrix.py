"""The binary matrices of NORB: a little-endian header, then numbers of one type; plain or gzipped.

Their names end in ``.mat``, but they are no files of MATLAB.
"""

import struct

from torch import Tensor

from capsroute.training.datasets.streams import opened, read_array
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["TYPES", "read_norb_matrix"]

TYPES = {
    0x1E3D4C51: "<f4",
    0x1E3D4C53: "<f8",
    0x1E3D4C54: "<i4",
    0x1E3D4C55: "<u1",
    0x1E3D4C56: "<i2",
}
"""Types of the elements by the first four bytes, as numpy has them; there are no files with packed ones."""
_MOST_DIMENSIONS = 8
_LEAST_SIZES = 3  # so many stand in a header, also where there are fewer dimensions


def read_norb_matrix(path: AnyPath, dimensions: int) -> Tensor:
    """A binary matrix, plain or gzipped, whatever its name says.

    Args:
        path: The file.
        dimensions: How many it must have: 4 for images, 1 for categories, 2 for what is known of the images.

    Returns:
        Its array, in the type that it has there: uint8, int16, int32, float32 or float64.

    Raises:
        TrainingError: The file cannot be read, is none, has another number of dimensions, or is shorter or longer than
            its header says.
    """
    path = as_path("path", path)
    with opened(path) as file:
        beginning = file.read(8)
        magic, found = struct.unpack("<II", beginning) if len(beginning) == 8 else (0, 0)
        if magic not in TYPES or not 1 <= found <= _MOST_DIMENSIONS:
            raise TrainingError(
                f"{path} is not a binary matrix of NORB: it starts with {beginning.hex(' ') or 'nothing'} instead of "
                f"51 to 56 4c 3d 1e and the number of dimensions"
            )
        if found != dimensions:
            raise TrainingError(f"{path} holds an array of {found} dimension(s), not of {dimensions}")
        count = max(found, _LEAST_SIZES)
        header = file.read(4 * count)
        if len(header) < 4 * count:
            raise TrainingError(f"{path} is truncated: it ends inside its header")
        return read_array(file, path, struct.unpack(f"<{count}I", header)[:found], TYPES[magic])
