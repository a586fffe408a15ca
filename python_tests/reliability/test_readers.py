"""Damaged files are refused by a sentence or read right, and none of them runs code or takes memory."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tracemalloc

import pytest
import torch

from capsroute.cli import main
from capsroute.inference import read_network
from capsroute.training import TrainingError
from capsroute.training.datasets.idx import read_idx
from capsroute.training.reporting.metrics import read_metrics
from capsroute.training.storage.checkpoint import load_checkpoint
from python_tests.reliability import results
from python_tests.reliability.readers import __main__ as command
from python_tests.reliability.readers import files


@pytest.mark.filterwarnings("ignore")  # torch's, of values that it will refuse one day
@pytest.mark.parametrize("number", [20, pytest.param(300, marks=pytest.mark.nightly)])
def test_damage_to_files_of_every_kind(number, tmp_path):
    failures = []
    for kind in files.kinds(tmp_path):
        row = command.read_many(kind, tmp_path / "damaged", number, 7, failures)
        assert row["refused"] > number / 8, (kind.name, row)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sizes", [(2**31, 28, 28), (2**32 - 1,) * 3, (0, 2**32 - 1, 2**32 - 1), (60_000, 28, 28)])
def test_a_header_of_huge_sizes_takes_no_memory(sizes, packed, tmp_path):
    raw = struct.pack(">4I", 0x803, *sizes) + bytes(100)
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    _refused_in_little_memory(path, r"images is (truncated|longer than its header says)")


def _refused_in_little_memory(path, sentence):
    tracemalloc.start()
    with pytest.raises(TrainingError, match=sentence):
        read_idx(path, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_sizes_of_nothing(tmp_path):
    """Which torch's strides overflow at."""
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">4I", 0x803, 0, 2**32 - 1, 2**32 - 1))
    with pytest.raises(TrainingError, match=r"images is damaged: it has no data for"):
        read_idx(path, 3)


def test_a_small_file_that_unpacks_to_much_takes_no_memory(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 1, 2, 3) + bytes(64 << 20)))
    _refused_in_little_memory(path, r"longer than its header says: 67,108,864 bytes")


def test_changed_weights_in_a_checkpoint_are_seen(tmp_path):
    """Torch itself does not compare the check sums that it writes."""
    raw, contents = files._checkpoint()
    weight = bytes(contents["trainer"]["model"]["classes.weight"].untyped_storage()[:64])
    at = raw.index(weight) + 5
    path = tmp_path / "c.pt"
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    assert torch.load(path, weights_only=True)["trainer"].keys() == contents["trainer"].keys()
    with pytest.raises(TrainingError, match=r"c\.pt is not a checkpoint of capsroute train, or it is damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b'{"kind": "step"}', b"[1]", b'{"kind": "epoch", "step": 1}', b"[" * 10**5]
)
def test_metrics_of_something_else(line, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"kind": "step", "step": 1}\n' + line + b"\n")
    with pytest.raises(TrainingError, match=r"metrics\.jsonl is damaged: line 2 is no record of a run"):
        read_metrics(path)


class Attack:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _containers(attack):
    """Every form that torch.load has ever read."""
    archive, former = io.BytesIO(), io.BytesIO()
    contents = {"format": "capsroute-train-1", "config": attack, "trainer": {}, "rng": {}}
    torch.save(contents, archive)
    torch.save(contents, former, _use_new_zipfile_serialization=False)
    return {"archive": archive.getvalue(), "former": former.getvalue(), "pickle": pickle.dumps(contents)}


@pytest.mark.parametrize("name", ["checkpoint.pt", "model.safetensors"])
@pytest.mark.parametrize("container", ["archive", "former", "pickle"])
def test_no_code_in_a_file_runs(container, name, tmp_path, capsys):
    """By no function that reads it, and no command."""
    sign, path = tmp_path / "it ran", tmp_path / name
    path.write_bytes(_containers(Attack(sign))[container])
    for read in (load_checkpoint, read_network):
        with pytest.raises(TrainingError, match=name):
            read(path)
    for command_line in (
        ["predict", "image.png", "--checkpoint", str(path)],
        ["train", "--resume", str(path), "--out", str(tmp_path / "run")],
    ):
        assert main(command_line) != 0
        assert name in capsys.readouterr().err
    assert not sign.exists()


def test_the_attack_works(tmp_path):
    """Or its failing would prove nothing."""
    sign = tmp_path / "it ran"
    torch.load(io.BytesIO(_containers(Attack(sign))["archive"]), weights_only=False)
    assert sign.is_dir()


def test_the_command(tmp_path, monkeypatch, capsys):
    """With a kind whose reader raises what it must not."""

    def read(path):
        raise KeyError(path)

    broken = files.Kind("idx", lambda path, draw: path.write_bytes(draw.randbytes(9)), read, lambda path, found: None)
    monkeypatch.setattr(command, "kinds", lambda folder: [broken])
    assert command.main(["--files", "3", "--json", str(tmp_path / "f.json")]) == 1
    found = results.read(tmp_path / "f.json")
    assert found["kinds"]["idx"]["failed"] == len(found["failures"]) == 3
    assert "3 failures" in capsys.readouterr().out
