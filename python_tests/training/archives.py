"""Small archives in the forms in which CIFAR-10 comes, and a mirror that has files of a data set."""

from __future__ import annotations

import io
import struct
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import torch

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")


def random_pixels(count, seed=0):
    """Rows as the python version of CIFAR-10 has them, ``[count, 3072]``, uint8."""
    return torch.randint(256, (count, 3072), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def python2_batch(pixels, labels, *, code=b"u1", by_columns=False):
    """The pickle that Python 2 and the numpy of its time make of a batch, opcode by opcode."""
    contents = (pixels.T if by_columns else pixels).contiguous().numpy().tobytes()
    shape = b"".join(_int(length) for length in pixels.shape)
    dtype = (
        b"cnumpy\ndtype\n(" + _string(code) + b"K\x00K\x01tR(K\x03" + _string(b"|") + b"NNN" + _int(-1) * 2 + b"K\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + _string(b"b") + b"tR"
    state = b"(K\x01(" + shape + b"t" + dtype + (b"\x88" if by_columns else b"\x89") + _string(contents) + b"tb"
    listed = b"](" + b"".join(_int(int(label)) for label in labels) + b"e"
    labelled = _string(b"batch_label") + _string(b"batch 1 of 1") + _string(b"labels") + listed
    items = labelled + _string(b"data") + array + state
    return b"\x80\x02}(" + items + b"u."


def _int(value):
    return b"J" + struct.pack("<i", value)


def _string(value):
    return b"T" + struct.pack("<i", len(value)) + value


def cifar10_members(train=4, test=6):
    """Names and pickles of an archive: five batches of ``train`` images and one of ``test``, random."""
    members = {}
    for number, name in enumerate(BATCHES):
        count = test if name == "test_batch" else train
        labels = (torch.arange(count) + number) % 10
        members[f"cifar-10-batches-py/{name}"] = python2_batch(random_pixels(count, number), labels)
    return members


def write_tar(path, members):
    """A gzipped tar of members by name."""
    with tarfile.open(path, "w:gz") as archive:
        for name, contents in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))


def image_file(file_format="PNG", size=(32, 32), mode="RGB", seed=0):
    """A random image as a file's contents."""
    from PIL import Image

    channels = len(mode)
    values = torch.randint(256, (size[0] * size[1] * channels,), generator=torch.Generator().manual_seed(seed))
    file = io.BytesIO()
    Image.frombytes(mode, size, bytes(values.tolist())).save(file, file_format)
    return file.getvalue()


def pixels_of(contents):
    """What pillow sees in an image file, ``[channels, H, W]``."""
    import numpy
    from PIL import Image

    values = torch.from_numpy(numpy.asarray(Image.open(io.BytesIO(contents))).copy())
    return values.unsqueeze(0) if values.dim() == 2 else values.permute(2, 0, 1)


def class_folders(count=2, classes=CLASSES, file_format="PNG"):
    """Members of a zip file with a folder per class, as paths and contents."""
    suffix = {"PNG": "png", "JPEG": "jpg"}[file_format]
    return {
        f"{name}/{number:04d}.{suffix}": image_file(file_format, seed=10 * place + number)
        for place, name in enumerate(classes)
        for number in range(count)
    }


def write_zip(path, members):
    """A zip file of members by name; a name that ends with a slash is a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)


@contextmanager
def mirror_of(folder):
    """A local server that offers the files of a folder; yields its address."""
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
