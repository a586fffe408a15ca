"""Paths are text, pathlib's, or anything that stands for one, wherever the laboratory takes one."""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import pkgutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from capsroute.inference import read_image, read_network
from capsroute.training import TrainConfig
from capsroute.training.datasets import load_dataset
from capsroute.training.run import train
from capsroute.training.storage.checkpoint import load_checkpoint
from capsroute.training.storage.weights import load_network

LABORATORY = ("training", "inference", "bench", "experiments")
# What makes a record of a path that was taken already, and what is called within a run.
WITHIN = {"Checkpoint", "StoredNetwork", "InputImage", "FileNotWritten", "resume_command", "failures_named", "prepare"}
WITHIN |= {
    "remove_leftovers",
    "save_weights",
    "read_labelled",
    "smallnorb_facts",
    "CardFacts",
    "Context",
    "Saver",
}  # the latter says str itself
WITHIN |= {f"datasets.{name}" for name in ("known", "locate", "streams", "trees", "pictures", "layout")}  # of readers


class Named:
    """Stands for a path."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def _public(module):
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            methods = vars(value).items() if inspect.isclass(value) else [(name, value)]
            for method, function in methods:
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function) and (not method.startswith("_") or method == "__init__"):
                    yield name, method, function


def test_no_function_insists_on_a_kind():
    for package in LABORATORY:
        root = importlib.import_module(f"capsroute.{package}")
        for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            for name, method, function in _public(importlib.import_module(found.name)):
                kinds = [str(each.annotation) for each in inspect.signature(function).parameters.values()]
                narrow = [kind for kind in kinds if "Path" in kind and "AnyPath" not in kind and "PathLike" not in kind]
                allowed = {name, method, found.name.removeprefix("capsroute.training.")} & WITHIN
                assert not narrow or allowed, f"{found.name}.{name} takes {narrow}: let it take AnyPath"


def test_a_run_by_its_paths(tmp_path):
    out = tmp_path / "run"
    config = TrainConfig(epochs=1, batch_size=512, iterations=1, reconstruction=False)
    train(config, str(out), device="cpu")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for name, number in itertools.product("ab", range(5)):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * number + ord(name)).save(tmp_path / "images" / name / f"{number}.png")
    for kind in (str, Path, Named):
        for read in (read_network, load_network):
            assert read(kind(out / "model.safetensors"))
        assert load_checkpoint(kind(out / "checkpoint.pt")).path == out / "checkpoint.pt"
        assert len(load_dataset("folder", kind(tmp_path / "images")).test) > 0
        assert torch.equal(read_image(kind(tmp_path / "a.png"), (1, 8, 8)).pixels, torch.zeros(1, 8, 8))


@pytest.mark.parametrize("wrong", [None, 3, b"bytes"])
def test_what_is_no_path(wrong):
    for called, name in (
        (lambda: read_network(wrong), "path"),
        (lambda: load_checkpoint(wrong), "path"),
        (lambda: read_image(wrong, (1, 8, 8)), "path"),
        (lambda: train(TrainConfig(), wrong, device="cpu"), "out"),
    ):
        with pytest.raises(TypeError, match=f"^{name} must be a path, as a str or an os.PathLike, got "):
            called()
    assert isinstance(Named("a"), os.PathLike)
