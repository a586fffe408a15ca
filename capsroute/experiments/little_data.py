"""How many images of each class does a network need?

Both networks learn from the same few images of each class, and make the same number of steps whatever their number, so
that a network with few images sees each of them more often, and none trains for longer than another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from capsroute.bench.texts import markdown_table
from capsroute.experiments.context import NETWORKS, WARMUP, Context
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import band
from capsroute.experiments.record import Record, Spread, spread
from capsroute.experiments.scale import Scale
from capsroute.training.datasets import ImageSet
from capsroute.training.errors import TrainingError
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

_PER_CLASS = (10, 20, 50, 100, 500, 1000, 5000)


@dataclass(frozen=True)
class _Repeated:
    """Images that are seen again and again, until ``count`` were seen: one long epoch of few images."""

    images: ImageSet
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.images.image_shape

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        places = torch.arange(self.count)[indices] if isinstance(indices, slice) else indices
        return self.images.batch(places % len(self.images))


def _sizes(images: ImageSet) -> list[int]:
    """Images per class to learn from: as many of the list as every class has.

    Raises:
        TrainingError: There is a class without images.
    """
    fewest = int(torch.bincount(images.labels, minlength=10).min())
    if fewest == 0:
        raise TrainingError(f"the first {len(images):,} training images lack a class: raise --images")
    return [size for size in _PER_CLASS if size <= fewest] or [fewest]


def _first_of_each_class(images: ImageSet, size: int, seed: int) -> ImageSet:
    """``size`` images of each class in an order that the seed draws; fewer images are part of more."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    labels = images.labels[order]
    return images[torch.cat([order[labels == label][:size] for label in labels.unique()])]


def _steps(context: Context) -> int:
    train, _ = context.mnist()
    return len(NETWORKS) * len(_sizes(train)) * context.steps(_seen(context, train), epochs=1)


def _seen(context: Context, train: ImageSet) -> int:
    """Images that each network sees in its training."""
    return context.scale.epochs * len(train)


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    sizes = _sizes(train)
    numbers: dict[str, Any] = {"per_class": sizes, **{network: [] for network in NETWORKS}}
    for size in sizes:
        few = _Repeated(_first_of_each_class(train, size, seed), _seen(context, train))
        for network in NETWORKS:
            trainer = context.fit(few, test, context.config(seed, network, epochs=1, warmup=WARMUP))
            numbers[network].append(trainer.test_accuracy)
    return Outcome(numbers, {}, len(train), len(test))


def _accuracy(record: Record, network: str) -> list[Spread]:
    return [record.over_seeds(network, place) for place in range(len(record.seeds[0]["per_class"]))]


def _report(record: Record) -> list[str]:
    sizes = record.seeds[0]["per_class"]
    rows = [[f"{NETWORKS[name]}, %", *(value.percent(1) for value in _accuracy(record, name))] for name in NETWORKS]
    # Of the accuracies with the same images and seed: CapsNet's less the other's.
    differences = [
        spread(seed["capsnet"][n] - seed["pooling-cnn"][n] for seed in record.seeds) for n in range(len(sizes))
    ]
    rows.append(["difference", *(value.percent(1) for value in differences)])
    return markdown_table(["images per class", *(f"{size:,}" for size in sizes)], rows)


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    sizes = record.seeds[0]["per_class"]
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    for network in NETWORKS:
        band(axes, sizes, _accuracy(record, network), network, 100)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training images per class")
    axes.set_ylabel("test accuracy / %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


EXPERIMENT = Experiment(
    "little-data",
    quick=Scale(preset="quick", images=6_000, test_images=2_000, epochs=1, batch_size=16, lr_decay=0.3),
    full=Scale(preset="mnist", epochs=5, batch_size=128, lr_decay=0.1),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
