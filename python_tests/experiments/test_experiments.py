"""Every experiment, run small from its command."""

from __future__ import annotations

import pytest

from capsroute.cli import main
from capsroute.experiments import EXPERIMENTS, load
from capsroute.experiments.record import Record
from python_tests.training.archives import cifar10_members, class_folders, write_tar, write_zip
from python_tests.training.doubles import write_mnist

SIZES = ["--epochs", "1", "--seeds", "2"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder)
    write_tar(folder / "cifar-10-python.tar.gz", cifar10_members(8, 20))
    return folder


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_from_its_command(name, data_dir, tmp_path, capsys):
    # The record says how many images were used, not how many were asked for; scrambled faces are made on demand.
    images = ["--images", "40", "--test-images", "20"] if name == "scramble" else ["--images", "99999"]
    files = ["--data-dir", str(data_dir)] if load(name).reads_files else []
    assert main(["experiment", name, *SIZES, *images, *files, "--out", str(tmp_path)]) == 0
    record = Record.read(tmp_path / f"{name}.json")
    assert record.experiment == load(name).name == name
    assert len(record.seeds) == 2
    assert (record.scale["images"], record.scale["test_images"]) == (40, 20)
    assert "; 40 training images, 1 epoch, 2 seeds" in record.headline
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out.splitlines()
    begins = [line for line in printed if line.startswith("seed ")]
    steps = int(begins[0].split()[-1].rstrip(")"))
    assert begins[1] == f"seed 2 of 2 (step {steps // 2} of {steps})"  # as many steps as were declared
    for line in load(name).report(record):
        assert line in printed


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("reconstruct", ("5", "20"), "5 images are of 5 of the classes, and at least 10 are needed: raise --images"),
        ("overlap", ("1", "20"), "1 images are of 1 of the classes, and at least 2 are needed: raise --images"),
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


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (["--images", "7"], "images must be even, as half of the images are faces, got 7"),
        (["--images", "8", "--test-images", "3"], "test_images must be even, as half of the images are faces, got 3"),
    ],
)
def test_odd_numbers_of_faces_and_others(sizes, message, tmp_path, capsys):
    assert main(["experiment", "scramble", "--out", str(tmp_path), *sizes]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def cifar10(data_dir, *arguments):
    sizes = ["--epochs", "1", "--seeds", "1", "--test-images", "10"]
    return main(["experiment", "cifar10", "--data-dir", str(data_dir), "--out", str(data_dir), *sizes, *arguments])


def test_a_copy_of_cifar10_is_named_as_one_with_the_images_that_were_used(tmp_path, capsys):
    write_zip(tmp_path / "train.zip", class_folders(3, file_format="JPEG"))
    write_zip(tmp_path / "test.zip", class_folders(1, file_format="JPEG"))
    assert cifar10(tmp_path) == 0
    assert "\nCIFAR-10, JPEG copy, 30 training images.\n" in capsys.readouterr().out
    assert cifar10(tmp_path, "--images", "20") == 0
    assert Record.read(tmp_path / "cifar10.json").seeds[0]["title"] == "CIFAR-10, JPEG copy, 20 training images"


def test_a_broken_archive_of_cifar10(tmp_path, capsys):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"nothing of the kind")
    assert cifar10(tmp_path) == 2
    assert "cifar-10-python.tar.gz is not a gzipped tar archive, or it is damaged" in capsys.readouterr().err
