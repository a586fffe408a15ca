"""``capsroute train`` on a GPU: what reaches it are the batches of the CPU, and two GPUs train as one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from capsroute.training import TrainConfig, Trainer
from capsroute.training.datasets import Dataset, ImageSet, load_digits
from capsroute.training.feeding.augmentation import draw_shifts, shifted
from capsroute.training.feeding.batches import ShuffledBatches
from capsroute.training.feeding.loading import DeviceImageSet, resident
from capsroute.training.networks import build_network

from .. import kernels

kernels.require("cuda")

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def _tensors_start_on_the_cpu(_on_the_gpu: None) -> None:
    """As in the command: data sets are read there."""
    torch.set_default_device(None)


class Made:
    """Images that are no bytes in memory, as far as anyone can tell."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self.image_shape = images.image_shape

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        return self._images.batch(indices)


@pytest.mark.parametrize("white", [16, 255])
def test_resident_images_have_the_bits_of_the_cpu(white: int) -> None:
    train = ImageSet(torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8) % (white + 1), torch.arange(4), white)
    there = resident(train, GPU)
    assert isinstance(there, DeviceImageSet)
    for places in (torch.tensor([3, 1, 3]), slice(1, 4)):
        images, labels = train.batch(places)
        found, found_labels = there.batch(places)
        assert found.is_cuda
        assert torch.equal(found.cpu(), images)
        assert torch.equal(found_labels.cpu(), labels)
        shifts = draw_shifts(len(labels), 2, torch.Generator().manual_seed(0))
        assert torch.equal(shifted(found, shifts, 2).cpu(), shifted(images, shifts, 2))


def test_a_set_that_does_not_fit_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    train = load_digits().train
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * train.images.nbytes, 1 << 40))
    assert resident(train, GPU) is train


def test_batches_made_ahead_are_pinned_and_the_same() -> None:
    train = load_digits().train
    plain, ahead = (ShuffledBatches(train, 100, 1, seed=5, ahead=ahead) for ahead in (False, True))
    for left, right in zip(plain.rest_of_epoch(), ahead.rest_of_epoch(), strict=True):
        assert right.images.is_pinned()
        assert torch.equal(left.images, right.images)
        assert torch.equal(left.labels, right.labels)


def test_training_is_the_same_however_images_are_loaded() -> None:
    digits = load_digits()
    config = TrainConfig(epochs=2, batch_size=100, shift=1)
    states = []
    for data in (digits, Dataset(Made(digits.train), Made(digits.test))):
        trainer = Trainer(build_network(config, GPU), config, data, GPU)
        assert trainer.fit([], lambda: None)
        states.append((trainer.model.state_dict(), trainer.test_accuracy))
    for name, value in states[0][0].items():
        assert torch.equal(value, states[1][0][name]), name
    assert states[0][1] == states[1][1]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_as_one(tmp_path: Path) -> None:
    train = ("-m", "capsroute", "train", "--device", "cuda", "--epochs", "2", "--out")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    losses = []
    for name, command in (("one", train), ("two", (*launch, *train))):
        out = tmp_path / name
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0"} if name == "one" else None
        subprocess.run([sys.executable, *command, str(out)], check=True, timeout=300, env=environment)
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        losses.append([record["loss"] for record in records if record["kind"] == "epoch"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
