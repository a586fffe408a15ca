"""Small files in the forms in which the field's data sets come, written without any code of their readers."""

from __future__ import annotations

import gzip
import struct

import numpy
import scipy.io

TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
NORB_TYPES = {"f4": 0x1E3D4C51, "f8": 0x1E3D4C53, "i4": 0x1E3D4C54, "u1": 0x1E3D4C55, "i2": 0x1E3D4C56}
NORB = "smallnorb-5x46789x9x18x6x2x96x96-{part}ing-{kind}.mat"


def pixels(*shape, seed=0):
    return numpy.random.RandomState(seed).randint(0, 256, shape).astype("u1")


def idx(values):
    """IDX of a numpy array of any type."""
    code = TYPES[values.dtype.str[1:]]
    header = struct.pack(f">4B{values.ndim}I", 0, 0, code, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def norb(values):
    """A binary matrix: at least three sizes stand in its header."""
    sizes = (*values.shape, 1, 1)[: max(3, values.ndim)]
    header = struct.pack(f"<2I{len(sizes)}I", NORB_TYPES[values.dtype.str[1:]], values.ndim, *sizes)
    return header + values.astype(values.dtype.newbyteorder("<")).tobytes()


def write_idx_set(folder, names, *, train=20, test=10, classes=10, first=0, seed=0, labels=None, ending=""):
    """Four IDX files by their names; returns their arrays in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for place, name in enumerate(names):
        count = train if place < 2 else test
        values = pixels(count, 28, 28, seed=seed + place)
        if place % 2:
            values = (numpy.arange(count) % classes + first).astype("u1") if labels is None else labels(count)
        written.append(values)
        path = folder / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(idx(values), mtime=0) if ending.lower() == ".gz" else idx(values))
    return written


def emnist_names(split):
    return [
        f"emnist-{split}-{part}-{kind}-ubyte" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")
    ]


def emnist_matlab(arrays):
    """A struct of structs; images are rows that MATLAB takes apart by columns."""
    parts = {
        part: {"images": arrays[n].reshape(len(arrays[n]), -1), "labels": arrays[n + 1][:, None].astype("f8")}
        for n, part in ((0, "train"), (2, "test"))
    }
    for part in parts.values():
        part["writers"] = numpy.ones((len(part["images"]), 1), "u2")
    return {"dataset": {**parts, "mapping": numpy.arange(20.0).reshape(10, 2)}}


def write_svhn(folder, train=12, test=6):
    for seed, (part, count) in enumerate((("train", train), ("test", test))):
        labels = (numpy.arange(count) % 10 + 1).astype("u1")[:, None]
        contents = {"X": pixels(32, 32, 3, count, seed=seed), "y": labels}
        scipy.io.savemat(folder / f"{part}_32x32.mat", contents, do_compression=True)


def affnist(count, seed=0, **changes):
    labels = (numpy.arange(count) % 10).astype("u1")
    return {
        "affNISTdata": {
            "affine_params": numpy.zeros((6, count)),
            "human_readable_transform": numpy.zeros((7, count)),
            "image": pixels(1600, count, seed=seed),
            "label_one_of_n": (labels == numpy.arange(10)[:, None]).astype("u1"),
            "label_int": labels[None],
            **changes,
        }
    }


def write_norb(folder, viewpoints, *, packed=False):
    """Six files; ``viewpoints`` has rows of elevation and azimuth for ``"train"`` and ``"test"``."""
    for seed, (part, rows) in enumerate(viewpoints.items()):
        count = len(rows)
        toys = numpy.array([4, 6, 7, 8, 9] if part == "train" else [0, 1, 2, 3, 5])
        info = numpy.column_stack([toys[numpy.arange(count) % 5], numpy.array(rows), numpy.arange(count) % 6])
        arrays = {
            "dat": pixels(count, 2, 96, 96, seed=seed),
            "cat": (numpy.arange(count) % 5).astype("i4"),
            "info": info.astype("i4"),
        }
        for kind, values in arrays.items():
            name = NORB.format(part=part, kind=kind)
            contents = norb(values)
            (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(contents) if packed else contents)
