"""Every experiment, run small from its command."""

from __future__ import annotations

import importlib

import pytest

from capsroute.cli import main
from capsroute.experiments import EXPERIMENTS, load
from capsroute.experiments.record import Record
from python_tests.training.archives import cifar10_members, write_tar
from python_tests.training.doubles import write_mnist

# Sizes at which an experiment runs in a few seconds, where these are not enough.
ARGUMENTS = ["--images", "40", "--test-images", "20", "--epochs", "1", "--seeds", "2"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder)
    write_tar(folder / "cifar-10-python.tar.gz", cifar10_members(8, 20))
    return folder


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_from_its_command(name, data_dir, tmp_path, capsys):
    assert main(["experiment", name, *ARGUMENTS, "--data-dir", str(data_dir), "--out", str(tmp_path)]) == 0
    record = Record.read(tmp_path / f"{name}.json")
    assert record.experiment == name
    assert len(record.seeds) == 2
    assert (record.scale["images"], record.scale["test_images"]) == (40, 20)
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out.splitlines()
    begins = [line for line in printed if line.startswith("seed ")]
    steps = int(begins[0].split()[-1].rstrip(")"))
    assert begins[1] == f"seed 2 of 2 (step {steps // 2} of {steps})"  # as many steps as were declared
    for line in load(name).report(record):
        assert line in printed


def test_as_many_images_as_there_are(data_dir, tmp_path, capsys):
    """The record says how many images were used, not how many were asked for."""
    sizes = ["--images", "99999", "--test-images", "99999", "--epochs", "1", "--seeds", "1"]
    assert main(["experiment", "affine", *sizes, "--data-dir", str(data_dir), "--out", str(tmp_path)]) == 0
    record = Record.read(tmp_path / "affine.json")
    assert (record.scale["images"], record.scale["test_images"]) == (40, 20)
    assert "; 40 training images, 1 epoch, 1 seed" in record.headline
    assert record.headline in capsys.readouterr().out


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_names(name):
    experiment = load(name)
    assert experiment.name == name
    assert importlib.import_module(f"capsroute.experiments.{name.replace('-', '_')}").EXPERIMENT is experiment


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        (
            "reconstruct",
            ("5", "20"),
            "the first 5 images are of 5 of the classes, and at least 10 are needed: raise --images",
        ),
        (
            "overlap",
            ("1", "20"),
            "the first 1 images are of 1 of the classes, and at least 2 are needed: raise --images",
        ),
        ("overlap", ("20", "1"), "of 1 of the classes, and at least 2 are needed: raise --test-images"),
        ("translation", ("19", "20"), "at least 20 images are needed, got 19: raise --images"),
        ("translation", ("20", "19"), "at least 20 images are needed, got 19: raise --test-images"),
    ],
)
def test_too_few_images(name, sizes, message, data_dir, tmp_path, capsys):
    images, test_images = sizes
    arguments = ["--images", images, "--test-images", test_images, "--data-dir", str(data_dir), "--out", str(tmp_path)]
    assert main(["experiment", name, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
