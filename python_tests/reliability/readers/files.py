"""Right files of each kind that capsroute reads, what reads them, and what the damaged ones may be taken for."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import scipy.io
import torch
from torch import Tensor

from capsroute.experiments.record import Record
from capsroute.inference import read_network
from capsroute.training.datasets.idx import read_idx
from capsroute.training.datasets.matlab import read_matlab
from capsroute.training.datasets.norb_matrix import read_norb_matrix
from capsroute.training.errors import TrainingError
from capsroute.training.reporting.metrics import read_metrics
from capsroute.training.storage.checkpoint import load_checkpoint, write_checkpoint
from capsroute.training.storage.weights import _digest, save_weights
from python_tests.training import formats
from python_tests.training.trained import preset_network, preset_trainer

from .mutations import damaged, replace_value

Draw = random.Random


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str  # for the table
    damage: Callable[[Path, Draw], object]  # writes a damaged file
    read: Callable[[Path], Any]  # raises TrainingError where the file is not right
    check: Callable[[Path, Any], None]  # asserts that what was read is what the file says


def _damaged(contents: bytes) -> Callable[[Path, Draw], object]:
    return lambda path, draw: path.write_bytes(damaged(contents, draw))


def _same_array(found: Tensor, raw: bytes, dtype: str, shape: tuple[int, ...]) -> None:
    """Bit for bit, as floating-point numbers of a damaged file may be no numbers."""
    right = numpy.frombuffer(raw, dtype).reshape(shape)
    assert tuple(found.shape) == shape
    assert found.numpy().astype(dtype).tobytes() == right.tobytes()


def _check_idx(path: Path, found: Tensor) -> None:
    """By another reading of the same format."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = _unpacked(raw)
    dtype = next(name for name, code in formats.TYPES.items() if code == raw[2])
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    _same_array(found, raw[4 + 4 * raw[3] :], f">{dtype}", shape)


def _check_norb(path: Path, found: Tensor) -> None:
    raw = path.read_bytes()
    magic, dimensions = struct.unpack_from("<2I", raw)
    dtype = next(name for name, code in formats.NORB_TYPES.items() if code == magic)
    shape = struct.unpack_from(f"<{dimensions}I", raw, 8)
    _same_array(found, raw[8 + 4 * max(3, dimensions) :], f"<{dtype}", shape)


def _matlab(compressed: bool) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, {"y": [[1.0, 2.0]], **formats.affnist(2)}, do_compression=compressed)
    return file.getvalue()


_MATLAB_NAMES = ("y", "affNISTdata.image", "affNISTdata.label_int")


def _read_matlab(path: Path) -> dict[str, Any]:
    return read_matlab(path, _MATLAB_NAMES)


def _check_matlab(path: Path, found: dict[str, Any]) -> None:
    """What was read stands in the file as it was read. Scipy is not asked: damage of this kind ends its process."""
    raw = path.read_bytes()
    order, unpacked, at = "<" if raw[126:128] == b"IM" else ">", raw, 128
    while at < len(raw):
        kind, size = struct.unpack_from(f"{order}II", raw, at)
        if kind == 15:
            unpacked += zlib.decompressobj().decompress(raw[at + 8 : at + 8 + size])
        at += 8 + size
    assert all(values.tobytes("F") in unpacked for values in found.values())


def _damaged_inside(contents: bytes) -> Callable[[Path, Draw], object]:
    """The last variable is damaged before it is compressed."""

    def damage(path: Path, draw: Draw) -> None:
        start = 136 + struct.unpack_from("<I", contents, 132)[0]
        (size,) = struct.unpack_from("<I", contents, start + 4)
        packed = zlib.compress(damaged(zlib.decompress(contents[start + 8 : start + 8 + size]), draw), 1)
        path.write_bytes(contents[:start] + struct.pack("<2I", 15, len(packed)) + packed)

    return damage


def _unpacked(raw: bytes) -> bytes:
    """All members of a gzipped file."""
    contents = b""
    while raw.strip(b"\0"):
        member = zlib.decompressobj(31)
        # Flags that nobody has given a meaning, which zlib refuses and Python's gzip does not look at.
        contents += member.decompress(raw[:3] + bytes([raw[3] & 0x1F]) + raw[4:])
        raw = member.unused_data
    return contents


def _no_check(path: Path, found: Any) -> None:
    """Nothing but that it was read."""


def _checkpoint() -> tuple[bytes, dict[str, Any]]:
    file = io.BytesIO()
    write_checkpoint(file, preset_trainer(reconstruction=False))
    return file.getvalue(), torch.load(io.BytesIO(file.getvalue()), weights_only=True)


def _same_weights(right: dict[str, Tensor]) -> Callable[[Path, Any], None]:
    def check(path: Path, network: torch.nn.Module) -> None:
        found = network.state_dict()
        assert found.keys() == right.keys()
        assert all(torch.equal(found[name], right[name]) for name in right)

    return check


def _works(path: Path, network: torch.nn.Module) -> None:
    """Whatever was read is a network that takes images."""
    with torch.inference_mode():
        like = next(network.parameters())
        network(torch.zeros(1, 1, 8, 8, dtype=like.dtype))


def _read_network(path: Path) -> torch.nn.Module:
    stored = read_network(path)
    network = stored.build()
    assert len(stored.image_shape) == 3
    assert stored.step is None or f"{stored.step:,}"
    assert stored.epoch is None or f"{stored.epoch:,}"
    return network


def _resume(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    trainer = preset_trainer(reconstruction=False)
    before = torch.get_rng_state()
    try:
        checkpoint.restore(trainer)
    finally:
        torch.set_rng_state(before)


def _with_values(contents: dict[str, Any]) -> Callable[[Path, Draw], None]:
    def damage(path: Path, draw: Draw) -> None:
        changed = copy.deepcopy(contents)
        for _ in range(draw.randint(1, 2)):
            replace_value(changed, draw, tensors=True)
        torch.save(changed, path)

    return damage


def _weights(path: Path) -> tuple[bytes, torch.nn.Module]:
    config, network = preset_network(reconstruction=False)
    save_weights(path, network, config, epoch=3, step=4)
    return path.read_bytes(), network


def _with_metadata(contents: bytes) -> Callable[[Path, Draw], None]:
    """Texts of the metadata that are damaged, or whose values are; the sum of the weights is right."""
    from safetensors.torch import load, save

    tensors = load(contents)
    (size,) = struct.unpack_from("<Q", contents)
    metadata = json.loads(contents[8 : 8 + size])["__metadata__"]

    def damage(path: Path, draw: Draw) -> None:
        texts = dict(metadata)
        name = draw.choice(("config", "options", "classes", "trained", "sha256", "capsroute_format"))
        if draw.random() < 0.3:
            texts[name] = damaged(texts[name].encode(), draw).decode(errors="replace")
        elif name in ("sha256", "capsroute_format"):
            del texts[name]
        else:
            value = {"value": json.loads(texts[name])}
            if name == "options":
                value = {"value": {"image_size": 8, "decoder_sizes": None, "hidden_channels": 4}}
            replace_value(value, draw)
            texts[name] = draw.choice((json.dumps(value.get("value")), "[" * 100_000, "9" * 5000, '{"a":1e999}'))
        state = dict(tensors)
        if draw.random() < 0.2:
            key = draw.choice(sorted(state))
            state[key] = draw.choice((state[key].to(torch.float8_e5m2), state[key].to(torch.int8), torch.zeros(0)))
        if "sha256" in texts and name != "sha256":
            texts["sha256"] = _digest(state)
        path.write_bytes(save(state, texts))

    return damage


def _metrics() -> bytes:
    records = [{"kind": "run", "step": 0}, *({"kind": "step", "step": n, "loss": 0.5} for n in range(1, 9))]
    records.append({"kind": "epoch", "epoch": 1, "step": 8, "loss": 0.25})
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _check_metrics(path: Path, found: list[dict[str, Any]]) -> None:
    for record in found:
        assert isinstance(record["kind"], str)
        assert record["kind"] not in ("step", "epoch") or isinstance(record["step"], int)
        assert record["kind"] != "epoch" or isinstance(record["epoch"], int)


def kinds(folder: Path) -> list[Kind]:
    """All kinds of files; the folder is for files that are needed on the way."""
    raw, contents = _checkpoint()
    weights, network = _weights(folder / "right.safetensors")
    images, labels, state = (
        formats.idx(formats.pixels(3, 4, 5)),
        formats.idx(formats.pixels(70)),
        contents["trainer"]["model"],
    )
    numbers, norb = formats.idx(formats.pixels(9, 8).astype("i4")), formats.norb(formats.pixels(3, 4).astype("i4"))
    record = Path(__file__).parents[3] / "docs/experiments/results/affine.json"

    def damaged_and_gzipped(path: Path, draw: Draw) -> None:
        path.write_bytes(gzip.compress(damaged(images, draw), 1, mtime=0))

    def read_images(path: Path) -> Tensor:
        return read_idx(path, 3)

    return [
        Kind("IDX images", _damaged(images), read_images, _check_idx),
        Kind("IDX labels", _damaged(labels), lambda path: read_idx(path, 1), _check_idx),
        Kind("IDX numbers", _damaged(numbers), read_idx, _check_idx),
        Kind("IDX images, gzipped", _damaged(gzip.compress(images, mtime=0)), read_images, _check_idx),
        Kind("IDX images, damaged and then gzipped", damaged_and_gzipped, read_images, _check_idx),
        Kind("matrix of NORB", _damaged(norb), lambda path: read_norb_matrix(path, 2), _check_norb),
        Kind("MATLAB", _damaged(_matlab(compressed=False)), _read_matlab, _check_matlab),
        Kind("MATLAB, compressed", _damaged(_matlab(compressed=True)), _read_matlab, _check_matlab),
        Kind(
            "MATLAB, damaged and then compressed",
            _damaged_inside(_matlab(compressed=True)),
            _read_matlab,
            _check_matlab,
        ),
        Kind("checkpoint, its bytes", _damaged(raw), _read_network, _same_weights(state)),
        Kind("checkpoint, its values", _with_values(contents), _read_network, _works),
        Kind("checkpoint, its values, resumed", _with_values(contents), _resume, _no_check),
        Kind("safetensors, its bytes", _damaged(weights), _read_network, _same_weights(network.state_dict())),
        Kind("safetensors, its metadata and types", _with_metadata(weights), _read_network, _works),
        Kind("metrics.jsonl", _damaged(_metrics()), read_metrics, _check_metrics),
        Kind("results of an experiment", _damaged(record.read_bytes()), Record.read, _no_check),
    ]


def read_one(kind: Kind, path: Path) -> str:
    """Read a damaged file: ``"refused"`` by a sentence that names it, or ``"read"`` and as it says; else an error."""
    try:
        found = kind.read(path)
    except TrainingError as error:
        refusal = str(error)
    else:
        kind.check(path, found)
        return "read"
    assert str(path) in refusal, f"the file is not named: {refusal}"
    return "refused"
