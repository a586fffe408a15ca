"""EMNIST, SVHN, smallNORB and affNIST beside second readings of the same small files, and files that are none."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace

import numpy
import pytest
import scipy.io
import torch

from capsroute.training import TrainConfig, TrainingError, preset
from capsroute.training.config import DATASETS
from capsroute.training.datasets import READERS, emnist, known, load_dataset, smallnorb, svhn
from capsroute.training.networks import build_network, image_shape, network_options
from capsroute.training.reporting import figures
from capsroute.training.storage.model_card import model_card
from python_tests.training import formats
from python_tests.training.test_model_card import FACTS_OF_A_RUN


def numpy_of(part):
    return part.images.numpy(), part.labels.numpy()


@pytest.mark.parametrize("split", emnist.EMNIST_SPLITS)
def test_emnist_is_upright_and_begins_at_0(split, tmp_path, monkeypatch):
    form = emnist.EMNIST_SPLITS[split]
    count, first = len(form.classes), 1 if split == "letters" else 0
    sizes = {"train": count, "test": count, "classes": count, "first": first}
    names = [f"EMNIST/raw/{name}" for name in formats.emnist_names(split)]
    arrays = formats.write_idx_set(tmp_path / "idx", names, **sizes, ending=".gz")
    other = "digits" if split != "digits" else "balanced"
    formats.write_idx_set(tmp_path / "idx/EMNIST/raw", formats.emnist_names(other), train=1, test=1, first=1)
    (tmp_path / "matlab").mkdir()
    scipy.io.savemat(tmp_path / f"matlab/emnist-{split}.mat", formats.emnist_matlab(arrays), do_compression=True)
    for folder in ("idx", "matlab"):
        data = load_dataset(f"emnist-{split}", tmp_path / folder)
        for part, place in ((data.train, 0), (data.test, 2)):
            images, labels = numpy_of(part)
            assert numpy.array_equal(images[:, 0], arrays[place].transpose(0, 2, 1))
            assert labels.tolist() == list(range(count))
        assert data.classes == tuple(form.classes)
    right = {**formats.emnist_matlab(arrays)["dataset"]}
    upright = numpy.stack([row.reshape(28, 28, order="F") for row in right["test"]["images"]])  # as MATLAB does it
    assert numpy.array_equal(images[:, 0], upright)
    monkeypatch.setitem(emnist.EMNIST_SPLITS, split, emnist._Split(form.classes, count, count, first))
    assert load_dataset(f"emnist-{split}", tmp_path / "idx").facts.title == f"EMNIST, {split}"


def test_the_classes_of_emnist():
    counts = {split: len(form.classes) for split, form in emnist.EMNIST_SPLITS.items()}
    assert counts == {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}
    merged = set("CIJKLMOPSUVWXYZ".lower())
    assert set(emnist.EMNIST_SPLITS["balanced"].classes) == set(emnist.EMNIST_SPLITS["byclass"].classes) - merged
    assert all(list(form.classes) == sorted(form.classes) for form in emnist.EMNIST_SPLITS.values())


def test_svhn_as_scipy_reads_it(tmp_path, monkeypatch):
    formats.write_svhn(tmp_path)
    data = load_dataset("svhn", tmp_path)
    for part, name in ((data.train, "train"), (data.test, "test")):
        right = scipy.io.loadmat(tmp_path / f"{name}_32x32.mat")
        images, labels = numpy_of(part)
        assert numpy.array_equal(images, right["X"].transpose(3, 2, 0, 1))
        assert labels.tolist() == [0 if label == 10 else label for label in right["y"].flat]
    assert (data.facts.title, len(data.classes)) == (tmp_path.name, 10)
    monkeypatch.setattr(svhn, "_MD5", {name: svhn.file_digest(tmp_path / name) for name in svhn._MD5})
    assert load_dataset("svhn", tmp_path).facts.title == "SVHN, cropped digits"


def test_affnist_by_its_fields_and_in_parts(tmp_path):
    (tmp_path / "transformed/training_and_validation_batches").mkdir(parents=True)
    files = {"test": 20, **{f"training_and_validation_batches/{n}": n for n in (2, 10, 1)}}
    for seed, (name, count) in enumerate(files.items()):
        contents = formats.affnist(count, seed)
        scipy.io.savemat(tmp_path / f"transformed/{name}.mat", contents, do_compression=True)
    data = load_dataset("affnist", tmp_path)
    read = [scipy.io.loadmat(tmp_path / f"transformed/{name}.mat")["affNISTdata"][0, 0] for name in sorted(files)]
    test, first, tenth, second = read
    train = [first, second, tenth]
    images, labels = numpy_of(data.train)
    assert numpy.array_equal(images[:, 0], numpy.concatenate([part["image"].T.reshape(-1, 40, 40) for part in train]))
    assert labels.tolist() == [int(label) for part in train for label in part["label_int"].flat]
    assert numpy.array_equal(numpy_of(data.test)[0][:, 0], test["image"].T.reshape(-1, 40, 40))
    without = formats.affnist(12)["affNISTdata"]
    del without["label_int"]
    scipy.io.savemat(tmp_path / "transformed/test.mat", {"affNISTdata": without})
    assert load_dataset("affnist", tmp_path).test.labels.tolist() == [n % 10 for n in range(12)]


@pytest.mark.parametrize("packed", [False, True])
def test_smallnorb_beside_a_reading_by_hand(packed, tmp_path, monkeypatch):
    rows = {
        "train": [(n % 9, 2 * (n % 18)) for n in range(15)],
        "test": [(8 - n % 9, 34 - 2 * (n % 18)) for n in range(10)],
    }
    formats.write_norb(tmp_path, rows, packed=packed)
    train, test = smallnorb.read_smallnorb(tmp_path)
    for name, views in (("train", train), ("test", test)):
        raw = {}
        for kind, dtype in (("dat", "u1"), ("cat", "<i4"), ("info", "<i4")):
            contents = (tmp_path / f"{formats.NORB.format(part=name, kind=kind)}{'.gz' if packed else ''}").read_bytes()
            contents = gzip.decompress(contents) if packed else contents
            dimensions = struct.unpack("<i", contents[4:8])[0]
            shape = struct.unpack(f"<{dimensions}i", contents[8 : 8 + 4 * dimensions])
            raw[kind] = numpy.frombuffer(contents[8 + 4 * max(3, dimensions) :], dtype).reshape(shape)
        means = raw["dat"].reshape(-1, 2, 48, 2, 48, 2).mean((3, 5), dtype="f8")
        assert numpy.array_equal(views.images.numpy(), numpy.floor(means + 0.5))
        assert numpy.array_equal(views.labels.numpy(), raw["cat"])
        found = [views.instance, views.elevation, views.azimuth, views.light]
        assert all(numpy.array_equal(column.numpy(), raw["info"][:, n]) for n, column in enumerate(found))
    pairs, singles = (smallnorb.load_smallnorb(tmp_path, stereo=how).train for how in ("channels", "images"))
    assert (pairs.image_shape, singles.image_shape) == ((2, 48, 48), (1, 48, 48))
    assert numpy.array_equal(singles.images[1::2, 0], pairs.images[:, 1])
    assert singles.labels.tolist() == [label for label in pairs.labels.tolist() for _ in range(2)]
    crop = smallnorb.centre_crop(pairs.images, 32)
    assert numpy.array_equal(crop, pairs.images[..., 8:40, 8:40])
    assert load_dataset("smallnorb", tmp_path).facts.title == tmp_path.name
    monkeypatch.setattr(smallnorb, "_PAIRS", 15)
    assert smallnorb.smallnorb_facts(train, test, tmp_path).title == tmp_path.name  # too few test images
    monkeypatch.setattr(smallnorb, "_PAIRS", 10)
    for left, title in ((test, tmp_path.name), (replace(test, instance=test.instance % 5), tmp_path.name)):
        assert smallnorb.smallnorb_facts(left, test, tmp_path).title == title
    shown = replace(test, instance=torch.tensor([4, 6, 7, 8, 9] * 2))
    assert smallnorb.smallnorb_facts(shown, test, tmp_path).title == "smallNORB"
    with pytest.raises(ValueError, match="stereo must be"):
        smallnorb.load_smallnorb(tmp_path, stereo="both")


def test_pairs_are_drawn_and_told_as_what_they_are(tmp_path):
    card = " ".join(model_card(replace(FACTS_OF_A_RUN, image_shape=(2, 48, 48))).split())
    assert "It takes 2-channel images of 48x48 pixels" in card
    assert "of 48x48 pixels in 2 channels, with the checksum" in card
    pair = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)], dim=1)
    assert figures._shown(pair[0]).tolist() == [[0.0] * 8 + [1.0] * 8] * 8
    figures.draw_reconstructions(tmp_path / "pairs.png", pair, pair, torch.zeros(1).long(), torch.zeros(1).long(), "a")
    assert (tmp_path / "pairs.png").read_bytes().startswith(b"\x89PNG")


def _damaged_svhn(folder, **changes):
    right = {"X": formats.pixels(32, 32, 3, 6), "y": numpy.arange(1, 7)[:, None]}
    formats.write_svhn(folder)
    contents = {name: value for name, value in {**right, **changes}.items() if value is not None}
    scipy.io.savemat(folder / "test_32x32.mat", contents)


def _damaged_affnist(folder, **changes):
    scipy.io.savemat(folder / "1.mat", formats.affnist(5))
    contents = formats.affnist(5, **changes)["affNISTdata"]
    scipy.io.savemat(folder / "test.mat", {"affNISTdata": {k: v for k, v in contents.items() if v is not None}})


def _damaged_norb(folder, kind, values):
    formats.write_norb(folder, {"train": [(0, 0)] * 5, "test": [(0, 0)] * 5})
    (folder / formats.NORB.format(part="test", kind=kind)).write_bytes(formats.norb(values))


def _damaged_emnist(folder, **changes):
    arrays = formats.write_idx_set(folder / "idx", formats.emnist_names("letters"), classes=26, first=1)
    contents = formats.emnist_matlab(arrays)
    contents["dataset"]["test"] |= changes
    scipy.io.savemat(folder / "emnist-letters.mat", contents)
    for path in (folder / "idx").iterdir():
        path.unlink()


FOREIGN = (
    ("svhn", lambda f: _damaged_svhn(f, y=None), r"test_32x32.mat holds no y: it is not a file of SVHN"),
    ("svhn", lambda f: _damaged_svhn(f, y=numpy.arange(6)), r"y holds the label 0, not one from 1 to 10"),
    ("svhn", lambda f: _damaged_svhn(f, y=numpy.arange(1, 6)), r"holds 6 images, but 5 labels"),
    ("svhn", lambda f: _damaged_svhn(f, X=numpy.zeros((32, 32, 3, 6))), r"X is an array \[32, 32, 3, 6\] of float64"),
    ("svhn", lambda f: (f / "train_32x32.mat").write_bytes(b""), r"holds train_32x32.mat: SVHN is wanted as"),
    ("affnist", lambda f: _damaged_affnist(f, image=None), "test.mat holds no affNISTdata with image and label_int"),
    ("affnist", lambda f: _damaged_affnist(f, image=formats.pixels(1599, 5)), r"\[1599, 5\] of uint8, not \[1600, N"),
    ("affnist", lambda f: _damaged_affnist(f, label_int=[[1, 2]]), "holds 5 images, but 2 labels"),
    (
        "affnist",
        lambda f: _damaged_affnist(f, label_int=None, label_one_of_n=numpy.ones((10, 5))),
        "label_one_of_n is not .* with one 1 in each column",
    ),
    (
        "affnist",
        lambda f: scipy.io.savemat(f / "test.mat", formats.affnist(3)),
        "holds test.mat: training images of affNIST are",
    ),
    ("smallnorb", lambda f: _damaged_norb(f, "cat", numpy.full(5, 5, "i4")), "cat.mat holds the value 5 where 0 to 4"),
    ("smallnorb", lambda f: _damaged_norb(f, "cat", numpy.zeros(4, "i4")), "holds 5 pairs, but .* 4 categories"),
    ("smallnorb", lambda f: _damaged_norb(f, "cat", numpy.zeros(5, "f4")), "holds numbers of float32, not whole ones"),
    ("smallnorb", lambda f: _damaged_norb(f, "info", numpy.zeros((5, 3), "i4")), r"an array \[5, 3\], not \[5, 4\]"),
    ("smallnorb", lambda f: _damaged_norb(f, "dat", formats.pixels(5, 1, 96, 96)), r"\[5, 1, 96, 96\] of uint8, not"),
    ("smallnorb", lambda f: _damaged_norb(f, "dat", formats.pixels(5, 2)), r"an array of 2 dimension\(s\), not of 4"),
    ("smallnorb", lambda f: None, "is empty: smallNORB is wanted as six files"),
    ("emnist-letters", lambda f: _damaged_emnist(f, labels=numpy.zeros((10, 1))), "the label 0, not one from 1 to 26"),
    (
        "emnist-letters",
        lambda f: _damaged_emnist(f, images=formats.pixels(10, 783)),
        r"\[10, 783\] of uint8, not \[N, 7",
    ),
    ("emnist-letters", lambda f: (f / "gzip.zip").write_bytes(b""), "holds gzip.zip: EMNIST is wanted as emnist-lett"),
    ("emnist-letters", lambda f: f.rmdir(), "does not exist: EMNIST is wanted as"),
)


def test_what_is_none_is_refused_by_a_sentence(tmp_path):
    for number, (dataset, damage, message) in enumerate(FOREIGN):
        folder = tmp_path / str(number)
        folder.mkdir()
        damage(folder)
        with pytest.raises(TrainingError, match=message) as caught:
            load_dataset(dataset, folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_data_sets_that_are_not_fetched_ask_for_their_folder():
    for name in ("emnist-letters", "smallnorb", "affnist"):
        with pytest.raises(TrainingError, match=f"dataset {name} needs --data-dir: .* is wanted as .*https://"):
            load_dataset(name)


def test_every_reader_has_a_training_and_a_network_that_fits(tmp_path):
    assert set(READERS) == set(DATASETS)
    shapes = {"svhn": (3, 32, 32), "cifar10": (3, 32, 32), "smallnorb": (2, 48, 48), "affnist": (1, 40, 40)}
    for name, shape in shapes.items():
        assert image_shape(TrainConfig(**preset(name))) == shape
    formats.write_idx_set(tmp_path, formats.emnist_names("letters"), classes=26, first=1)
    config, data = TrainConfig(**preset("emnist-letters")), load_dataset("emnist-letters", tmp_path)
    assert network_options(config, data) == {"classes": 26}
    assert known.unknown(tmp_path / "raw" / "file").title == tmp_path.name
    output = build_network(config, "cpu", **network_options(config, data))(data.train.batch(slice(0, 2))[0])
    assert output.scores.shape == (2, 26)
