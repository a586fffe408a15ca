"""Small stand-ins: real digits, few of them, and a network that trains in a moment."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import torch

from capsroute.models import CapsNet
from capsroute.training import TrainConfig, Trainer
from capsroute.training.datasets import Dataset, load_digits
from capsroute.training.parallel.ranks import ALONE


class Recorder:
    """Observer that keeps what it is told."""

    def __init__(self):
        self.steps = []
        self.epochs = []

    def on_step(self, record):
        self.steps.append(record)

    def on_epoch(self, record):
        self.epochs.append(record)


def few_digits(train=70, test=30):
    digits = load_digits()
    return Dataset(digits.train[:train], digits.test[:test])


def make_trainer(data=None, log_every=2, ranks=ALONE, dtype=torch.float32, **changes):
    config = TrainConfig(**{"epochs": 2, "batch_size": 16, "shift": 1, "lr": 3e-3, **changes})
    torch.manual_seed(config.seed)
    model = CapsNet(
        image_size=8,
        conv_channels=8,
        conv_kernel=3,
        primary_types=2,
        primary_kernel=3,
        decoder_sizes=(16,) if config.reconstruction else None,
        routing=config.routing,
        iterations=config.iterations,
    ).to(dtype=dtype, memory_format=torch.channels_last)
    return Trainer(model, config, data or few_digits(), torch.device("cpu"), log_every=log_every, ranks=ranks)


class StopAt(Recorder):
    """Requests a stop when a step is reported."""

    def __init__(self, trainer, step):
        super().__init__()
        self.trainer = trainer
        self.step = step

    def on_step(self, record):
        super().on_step(record)
        if record.step == self.step:
            self.trainer.stop_requested = True


def straight_run(**changes):
    trainer, recorder = make_trainer(log_every=1, **changes), Recorder()
    assert trainer.fit([recorder], nothing)
    return trainer, recorder


def told(records):
    return [(record.step, record.loss, record.accuracy) for record in records]


def nothing():
    """Saves no checkpoint."""


def parameters(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_bitwise_equal(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def idx_bytes(values):
    """IDX file of a uint8 tensor."""
    header = bytes((0, 0, 8, values.dim())) + struct.pack(f">{values.dim()}I", *values.shape)
    return header + values.contiguous().numpy().tobytes()


def write_mnist(folder: Path, train=40, test=20, gzipped=()):
    """Four IDX files in the form of MNIST, with random images."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    written = {}
    for part, count in (("train", train), ("t10k", test)):
        images = torch.randint(256, (count, 28, 28), generator=generator, dtype=torch.uint8)
        labels = (torch.arange(count) % 10).to(torch.uint8)
        for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            contents = idx_bytes(values)
            if name in gzipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(contents))
            else:
                (folder / name).write_bytes(contents)
            written[name] = values
    return written
