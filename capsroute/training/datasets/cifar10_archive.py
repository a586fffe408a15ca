"""CIFAR-10 as its authors give it out: pickles, read without running any code from them, or the binary version.

Either comes as a gzipped tar, or unpacked in a folder.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from capsroute import no_memory
from capsroute.training.datasets.imageset import ImageSet
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["CIFAR10_BATCHES", "read_cifar10_archive", "read_cifar10_folder"]

_FOLDERS = {"": "cifar-10-batches-py", ".bin": "cifar-10-batches-bin"}
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)
CIFAR10_BATCHES = _TRAIN + _TEST
"""Files of the python version; those of the binary version end in ``.bin``."""
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_CLASSES = 10
# A batch has 31 MB; what claims to be far larger is no batch, and is not unpacked.
_LARGEST = 2**26


def read_cifar10_archive(path: AnyPath) -> tuple[ImageSet, ImageSet]:
    """Training and test images of ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz``, which are not unpacked.

    Raises:
        TrainingError: The file cannot be read, is damaged, or lacks a batch, or a batch is not what it should be.
    """
    path = as_path("path", path)
    path = as_path("path", path)
    try:
        members = _read_members(path)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TrainingError(f"{path} is not a gzipped tar archive, or it is damaged: {_one_line(error)}") from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
    ending = ".bin" if any(name.endswith(".bin") for name in members) else ""

    def read(batch: str) -> tuple[str, bytes]:
        name = f"{_FOLDERS[ending]}/{batch}{ending}"
        if name not in members:
            raise TrainingError(f"{path} holds no {name}: it is not the python version of CIFAR-10, nor the binary one")
        return f"{path}: {name}", members[name]

    return _both(read, ending)


def read_cifar10_folder(folder: AnyPath, ending: str = "") -> tuple[ImageSet, ImageSet]:
    """The same of the unpacked batches in a folder, whose names end so.

    Raises:
        TrainingError: As for an archive.
    """
    folder = as_path("folder", folder)

    def read(batch: str) -> tuple[str, bytes]:
        path = folder / f"{batch}{ending}"
        try:
            if path.stat().st_size > _LARGEST:
                raise TrainingError(f"{path} is no file of at most {_LARGEST:,} bytes")
            return str(path), path.read_bytes()
        except OSError as error:
            raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error

    return _both(read, ending)


def _both(read: Callable[[str], tuple[str, bytes]], ending: str) -> tuple[ImageSet, ImageSet]:
    decode = _records if ending else _pickled
    parts = [[decode(*read(batch)) for batch in batches] for batches in (_TRAIN, _TEST)]
    train, test = (
        ImageSet(torch.cat([images for images, _ in part]), torch.cat([labels for _, labels in part])) for part in parts
    )
    return train, test


def _read_members(path: Path) -> dict[str, bytes]:
    """Contents of the batches that an archive holds, by name."""
    wanted = {f"{folder}/{name}{ending}" for ending, folder in _FOLDERS.items() for name in CIFAR10_BATCHES}
    contents = {}
    # As a stream: the batches are in no particular order, and going back would unpack the archive again and again.
    with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.name not in wanted:
                continue
            file = archive.extractfile(member) if member.isreg() else None
            if file is None or member.size > _LARGEST:
                raise TrainingError(f"{path}: {member.name} is no file of at most {_LARGEST:,} bytes")
            contents[member.name] = file.read()
        while stream.read(2**20):  # only the end of the stream holds the sum that shows damage
            pass
    return contents


def _records(where: str, contents: bytes) -> tuple[Tensor, Tensor]:
    """Images ``[N, 3, 32, 32]``, uint8, and labels ``[N]``, int64, of a batch of the binary version."""
    if not contents or len(contents) % (1 + _PIXELS):
        raise TrainingError(f"{where} has {len(contents):,} bytes, not {1 + _PIXELS:,} for each image")
    rows = torch.frombuffer(bytearray(contents), dtype=torch.uint8).reshape(-1, 1 + _PIXELS)
    labels = rows[:, 0].to(torch.int64)
    if int(labels.max()) >= _CLASSES:
        raise TrainingError(f"{where} holds the label {int(labels.max())}, above {_CLASSES - 1}")
    return rows[:, 1:].reshape(-1, *_SHAPE), labels


def _pickled(where: str, contents: bytes) -> tuple[Tensor, Tensor]:
    """The same of a batch of the python version."""
    values = _unpickle(io.BytesIO(contents), where)
    if not isinstance(values, dict) or not {b"data", b"labels"} <= set(values):
        raise TrainingError(f"{where} is not a dictionary with data and labels")
    return _checked(values[b"data"], values[b"labels"], where)


def _checked(data: Any, labels: Any, where: str) -> tuple[Tensor, Tensor]:
    pixels = data.pixels() if isinstance(data, _Array) else None
    if pixels is None:
        raise TrainingError(f"{where}: data is not an array of unsigned bytes")
    if pixels.dim() != 2 or pixels.shape[1] != _PIXELS or len(pixels) == 0:
        raise TrainingError(
            f"{where}: data has the shape {list(pixels.shape)}, not [images, {_PIXELS}] with at least one image"
        )
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < _CLASSES for label in labels):
        raise TrainingError(f"{where}: labels is not a list of whole numbers from 0 to {_CLASSES - 1}")
    if len(labels) != len(pixels):
        raise TrainingError(f"{where} holds {len(pixels):,} images, but {len(labels):,} labels")
    return pixels.reshape(-1, *_SHAPE), torch.tensor(labels, dtype=torch.int64)


class _Dtype:
    """Stands in for ``numpy.dtype``: remembers what it was made of."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code.decode("latin-1") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like, which bytes do not have."""


class _Array:
    """Stands in for ``numpy.ndarray``: remembers the state that an array would be restored from."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def pixels(self) -> Tensor | None:
        """The values as uint8, or None where this is no whole array of unsigned bytes."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        _, shape, dtype, by_columns, contents = self.state
        if not isinstance(dtype, _Dtype) or dtype.code != "u1" or not isinstance(contents, bytes):
            return None
        if not _is_shape_of(shape, len(contents)):
            return None
        if not contents:
            return torch.empty(shape, dtype=torch.uint8)
        values = torch.frombuffer(bytearray(contents), dtype=torch.uint8)  # writable, as torch wants its memory
        if by_columns:
            return values.reshape(shape[::-1]).permute(*reversed(range(len(shape)))).contiguous()
        return values.reshape(shape)


def _is_shape_of(shape: Any, size: int) -> bool:
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        return False
    return prod(shape) == size


def _reconstruct(*_: Any) -> _Array:
    """Stands in for numpy's function that makes an empty array, whose state follows."""
    return _Array()


class _Unpickler(pickle.Unpickler):
    """Knows the names that an array of bytes needs, and has stand-ins for them; any other name is refused."""

    _STAND_INS: dict[str, Any] = {"_reconstruct": _reconstruct, "ndarray": _Array, "dtype": _Dtype}  # noqa: RUF012
    _MODULES: Sequence[str] = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")

    def find_class(self, module: str, name: str) -> Any:
        if module in self._MODULES and name in self._STAND_INS:
            return self._STAND_INS[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _unpickle(file: IO[bytes], where: str) -> Any:
    try:
        # Python 2 wrote the original: its strings are bytes.
        return _Unpickler(file, encoding="bytes").load()
    except Exception as error:  # a foreign or damaged pickle raises anything
        if sentence := no_memory.sentence_of(error):
            raise TrainingError(f"cannot read {where}: {sentence}") from error
        raise TrainingError(f"{where} is no pickled batch of CIFAR-10, or it is damaged: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
