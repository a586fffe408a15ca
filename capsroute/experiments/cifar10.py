"""Photographs: does a capsule network hold its own where images are more than digits?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from capsroute.bench.texts import markdown_table
from capsroute.experiments.context import NETWORKS, Context
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import bars, show_tiles
from capsroute.experiments.record import Record
from capsroute.experiments.scale import Scale
from capsroute.training.datasets import ImageSet
from capsroute.training.datasets.cifar10 import CIFAR10_CLASSES, load_cifar10
from capsroute.training.reporting.confusion import confusion, scores
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

_SHOWN = 10
# leaky: an extra class that takes the votes of parts of no object, as in Sabour et al. 2017, section 7.
_OPTIONS = {"in_channels": 3, "image_size": 32, "leaky": True}

_load = lru_cache(maxsize=1)(load_cifar10)  # decoded once for all seeds


def _data(context: Context) -> tuple[ImageSet, ImageSet, str]:
    """Training and test images, as many as the scale says, and what they are to be called."""
    cifar10 = _load(context.data_dir)
    assert isinstance(cifar10.train, ImageSet)
    assert isinstance(cifar10.test, ImageSet)
    train, test = context.scale.training_part(cifar10.train), context.scale.test_part(cifar10.test)
    return train, test, f"{cifar10.facts.title}, {len(train):,} training images"


def _steps(context: Context) -> int:
    train, _, _ = _data(context)
    return len(NETWORKS) * context.steps(len(train))


def _run(context: Context, seed: int) -> Outcome:
    train, test, title = _data(context)
    numbers: dict[str, Any] = {"title": title}
    pictures: dict[str, Tensor] = {}
    for network in NETWORKS:
        config = context.config(seed, network, shift=2)
        trainer = context.fit(train, test, config, _OPTIONS)
        matrix = confusion(trainer.model, test, len(CIFAR10_CLASSES), trainer.device)
        numbers[network] = {
            "accuracy": context.accuracy(trainer, test),
            "train_accuracy": context.accuracy(trainer, train[: len(test)]),
            "confusion": matrix,
            "classes": scores(matrix),
        }
        images, _ = test.batch(slice(0, _SHOWN))
        with torch.no_grad():
            drawn = trainer.model(images.to(trainer.device)).reconstruction
        pictures |= {"images": images, network: drawn.cpu()}
    return Outcome(numbers, pictures, len(train), len(test))


def _report(record: Record) -> list[str]:
    rows = []
    for network, title in NETWORKS.items():
        accuracy, trained = (record.over_seeds(network, name).percent(1) for name in ("accuracy", "train_accuracy"))
        recalls = [record.over_seeds(network, "classes", n, "recall") for n in range(len(CIFAR10_CLASSES))]
        order = sorted(range(len(CIFAR10_CLASSES)), key=lambda n: recalls[n].mean)
        ends = [f"{CIFAR10_CLASSES[n]} {recalls[n].percent(1)}" for n in (order[-1], order[0])]
        rows.append([title, accuracy, trained, *ends])
    head = ["", "test accuracy, %", "on training images, %", "best class, %", "worst class, %"]
    return [f"{record.seeds[0]['title']}.", "", *markdown_table(head, rows)]


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    figure = new_figure(7.0, 5.6)
    figure.suptitle(record.seeds[0]["title"], fontsize=10)
    axes, examples = figure.subplots(2, 1, height_ratios=(3, 2))
    recalls = {
        network: [record.over_seeds(network, "classes", n, "recall") for n in range(len(CIFAR10_CLASSES))]
        for network in NETWORKS
    }
    labels = {name: f"{NETWORKS[name]}: {record.over_seeds(name, 'accuracy').percent(1)} %" for name in NETWORKS}
    bars(axes, recalls, CIFAR10_CLASSES, labels)
    axes.set_ylabel("recognised / %")
    drawn = torch.stack([pictures["images"], *(pictures[network] for network in NETWORKS)])
    show_tiles(examples, drawn, ["input", *NETWORKS.values()], [])
    examples.set_title("test images, and what the decoders make of the capsule or of the features", fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "cifar10",
    quick=Scale(preset="translated", images=10_000, test_images=2_000, epochs=5, batch_size=32, lr_decay=0.6),
    full=Scale(preset="mnist", epochs=30, batch_size=128, lr_decay=0.9),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
