"""Does a network that knows digits in many places know those of affNIST?

Sabour et al. 2017, section 5.2: networks learn MNIST's digits placed at random on a canvas of 40x40 pixels, and are
tested on affNIST, digits under random affine maps, which they never saw. ``affine`` asks the same with maps that it
draws itself, and needs no files of affNIST.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from capsroute.bench.texts import markdown_table
from capsroute.experiments.context import NETWORKS, Context
from capsroute.experiments.data.affine import CANVAS
from capsroute.experiments.data.canvas import centred, margin, translated
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import bars, show_tiles
from capsroute.experiments.record import Record
from capsroute.experiments.scale import Scale
from capsroute.training.datasets.affnist import load_affnist_test
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

_TEST_SEED = 0  # a training may have the same one: its digits are others
_SHOWN = 10
_TESTS = {"translated": "translated digits", "affnist": "affNIST"}

_load = lru_cache(maxsize=1)(load_affnist_test)  # read once for all seeds


def _steps(context: Context) -> int:
    _load(context.data_dir)  # where it is absent, that is said before a training rather than after it
    train, _ = context.mnist()
    return len(NETWORKS) * context.steps(len(train))


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    whole, facts = _load(context.data_dir)
    tests = {"translated": translated(test, CANVAS, _TEST_SEED), "affnist": context.scale.test_part(whole)}
    numbers: dict[str, Any] = {"title": facts.title, "tested": len(tests["affnist"])}
    for network in NETWORKS:
        # Shifted anew for each step by up to the whole margin, a digit is at a random place of the canvas.
        config = context.config(seed, network, shift=margin(train, CANVAS))
        trainer = context.fit(centred(train, CANVAS), tests["translated"], config, {"image_size": CANVAS})
        numbers[network] = {name: context.accuracy(trainer, images) for name, images in tests.items()}
    rows = [images.batch(slice(0, _SHOWN))[0] for images in tests.values()]
    shown = min(map(len, rows))
    return Outcome(numbers, {"images": torch.stack([row[:shown] for row in rows])}, len(train), len(test))


def _report(record: Record) -> list[str]:
    first = record.seeds[0]
    rows = [
        [title, *(record.over_seeds(network, name).percent(1) for name in _TESTS)]
        for network, title in NETWORKS.items()
    ]
    said = f"Tested on {first['tested']:,} images of {first['title']}."
    return [said, "", *markdown_table(["accuracy, %", *_TESTS.values()], rows)]


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    figure = new_figure(9.0, 3.6)
    axes, examples = figure.subplots(1, 2, width_ratios=(3, 5))
    found = {network: [record.over_seeds(network, name) for name in _TESTS] for network in NETWORKS}
    bars(axes, found, list(_TESTS.values()), NETWORKS)
    axes.set_ylabel("accuracy / %")
    show_tiles(examples, pictures["images"], list(_TESTS.values()), [])
    return figure


EXPERIMENT = Experiment(
    "affnist",
    quick=Scale(preset="translated", images=20_000, test_images=10_000, epochs=2, batch_size=32, lr_decay=0.4),
    full=Scale(preset="mnist", epochs=30, batch_size=128, lr_decay=0.9),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
