"""The experiment on CIFAR-10: which images it names, and what it says to a broken archive."""

from __future__ import annotations

from capsroute.cli import main
from capsroute.experiments.record import Record
from python_tests.training.archives import class_folders, write_zip


def run(data_dir, out, *arguments):
    sizes = ["--epochs", "1", "--seeds", "1", "--test-images", "10"]
    return main(["experiment", "cifar10", "--data-dir", str(data_dir), "--out", str(out), *sizes, *arguments])


def test_a_copy_is_named_as_one_with_the_images_that_were_used(tmp_path, capsys):
    write_zip(tmp_path / "train.zip", class_folders(3, file_format="JPEG"))
    write_zip(tmp_path / "test.zip", class_folders(1, file_format="JPEG"))
    assert run(tmp_path, tmp_path / "all") == 0
    assert "\nCIFAR-10, JPEG copy, 30 training images.\n" in capsys.readouterr().out
    assert run(tmp_path, tmp_path / "some", "--images", "20") == 0
    assert (
        Record.read(tmp_path / "some" / "cifar10.json").seeds[0]["title"] == "CIFAR-10, JPEG copy, 20 training images"
    )


def test_a_broken_archive(tmp_path, capsys):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"nothing of the kind")
    assert run(tmp_path, tmp_path / "out") == 2
    assert "cifar-10-python.tar.gz is not a gzipped tar archive, or it is damaged" in capsys.readouterr().err
