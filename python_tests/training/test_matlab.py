"""MATLAB's files beside scipy's reading of them, and files on which that one fails."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy
import pytest
import scipy.io

from capsroute.training import TrainingError
from capsroute.training.datasets.matlab import read_matlab, whole_numbers
from python_tests.training import formats

KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def saved(contents, **options):
    file = io.BytesIO()
    scipy.io.savemat(file, contents, **options)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_as_scipy_reads_them(tmp_path, compressed):
    arrays = {kind: numpy.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype(kind) for kind in KINDS}
    inner = {"deep": {"wanted": numpy.arange(6.0).reshape(2, 3), "text": "no number"}, "none": numpy.zeros((0, 3))}
    cells = numpy.empty((2, 2), object)
    cells[:] = [[1.0, "text"], [numpy.arange(3), 2j]]
    contents = {"cells": cells, **arrays, "struct": inner, "last": numpy.array([[7]])}
    path = tmp_path / "file.mat"
    scipy.io.savemat(path, contents, do_compression=compressed)
    right = scipy.io.loadmat(path)
    found = read_matlab(path, [*KINDS, "struct.deep.wanted", "struct.none", "last", "absent", "struct.absent"])
    assert found.keys() == {*KINDS, "struct.deep.wanted", "struct.none", "last"}
    for name in (*KINDS, "last"):
        assert numpy.array_equal(found[name], right[name])
    assert numpy.array_equal(found["struct.deep.wanted"], right["struct"]["deep"][0, 0]["wanted"][0, 0])
    assert found["struct.none"].size == 0


def element(kind, contents):
    return struct.pack(">2I", kind, len(contents)) + contents + bytes(-len(contents) % 8)


def array(contents, name=b"", kind=6, sizes=(1, 1)):
    shape = struct.pack(f">{len(sizes)}i", *sizes)
    return element(14, element(6, struct.pack(">2I", kind, 0)) + element(5, shape) + element(1, name) + contents)


def big_endian(*arrays):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI" + b"".join(arrays)


def test_a_file_of_a_big_endian_machine(tmp_path):
    values = numpy.arange(12, dtype=">f8")
    path = tmp_path / "file.mat"
    path.write_bytes(big_endian(array(element(9, values.tobytes()), b"x", sizes=(3, 4))))
    assert numpy.array_equal(read_matlab(path, ["x"])["x"], values.reshape(3, 4, order="F"))
    assert numpy.array_equal(read_matlab(path, ["x"])["x"], scipy.io.loadmat(path)["x"])


def nested(depth):
    """Arrays in arrays in arrays, at which scipy's reader ends the process."""
    lengths = [0]
    for _ in range(depth):
        lengths.append(lengths[-1] + 56)
    head = element(6, struct.pack(">2I", 1, 0)) + element(5, struct.pack(">2i", 1, 1))
    return b"".join(struct.pack(">2I", 14, length) + head + element(1, b"") for length in reversed(lengths[1:]))


X = saved({"X": formats.pixels(20, 30)})
PACKED = saved({"X": formats.pixels(20, 30)}, do_compression=True)


BAD = (
    (b"", "is not a file of MATLAB 5 to 7: it starts with nothing"),
    (b"MATLAB 7.3 MAT-file".ljust(512), "is a file of MATLAB 7.3, which is HDF5: save it again with -v7"),
    (X[:200], "is truncated: it ends inside a variable"),
    (X[:132], "is truncated: it ends inside the tag"),
    (PACKED[:-30], "is truncated: it ends inside a compressed variable"),
    (PACKED[:-4] + bytes(4), "is damaged: Error -3 while decompressing data: incorrect data check"),
    (saved({"X": "text"}), "holds X as something else than a full array of real numbers"),
    (saved({"X": numpy.eye(2) * 1j}), "holds X as something else than a full array"),
    (saved({"X": numpy.array([[1, "a"]], object)}), "holds X as something else than a full array"),
    (big_endian(array(element(2, b"abc"), b"X", 9, (2, 2))), r"X has 3 numbers where \[2, 2\] needs 4"),
    (big_endian(array(element(2, b""), b"X", 9, (2**31 - 1,) * 9)), "X has 0 numbers where"),
    (big_endian(array(struct.pack(">2I", 2, 2**32 - 1), b"X", 9)), "is truncated: it ends inside a variable"),
    (big_endian(struct.pack(">2I", 14, 2**32 - 1)), "is truncated: it ends inside a variable"),
    (big_endian(element(3, bytes(8))), "a variable is an element of the type 3, not 14"),
    (big_endian(array(nested(20_000), b"X", 1)), "holds X as something else than a full array"),
)


def test_bad_files_are_refused_in_little_memory(tmp_path):
    path = tmp_path / "file.mat"
    for contents, message in BAD:
        path.write_bytes(contents)
        tracemalloc.start()
        with pytest.raises(TrainingError, match=message) as caught:
            read_matlab(path, ["X"])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert peak < 8 << 20


def test_what_unpacks_to_much_and_what_nobody_asked_for_take_no_memory(tmp_path):
    path = tmp_path / "file.mat"
    packed = zlib.compress(array(element(2, bytes(64 << 20)), b"other", 9, (1 << 13, 1 << 13)))
    path.write_bytes(big_endian(struct.pack(">2I", 15, len(packed)) + packed, array(nested(20_000), b"cells", 1)))
    tracemalloc.start()
    assert read_matlab(path, ["X"]) == {}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_labels_that_are_none():
    for values, message in (
        ([[1, 2], [3, 4]], r"y is an array \[2, 2\], not labels"),
        ([[]], r"y is an array \[1, 0\], not labels"),
        ([[1, 2.5]], r"y holds the label 2.5, not one from 1 to 10"),
        ([[0]], r"y holds the label 0, not one from 1 to 10"),
        ([[1, float("nan")]], r"y holds the label nan"),
    ):
        with pytest.raises(TrainingError, match=message):
            whole_numbers(numpy.array(values), "y", range(1, 11))
