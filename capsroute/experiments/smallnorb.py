"""Are toys known from viewpoints that were never seen?

Hinton, Sabour and Frosst 2018, section 5: networks learn toys of smallNORB from some azimuths, or from low elevations,
and are tested on other toys from the same viewpoints and from those that were held out. Images are halved to 48x48
pixels, of which 32x32 are cut out: anywhere in training, in the middle in tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.bench.texts import markdown_table
from capsroute.experiments.context import NETWORKS, Context
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import bars, show_tiles
from capsroute.experiments.record import Record
from capsroute.experiments.scale import Scale
from capsroute.training.datasets import ImageSet
from capsroute.training.datasets.smallnorb import (
    SMALLNORB_SIDE,
    StereoViews,
    centre_crop,
    read_smallnorb,
    smallnorb_facts,
)
from capsroute.training.errors import TrainingError
from capsroute.training.networks import build_network
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

_CROP = 32
_SHOWN = 10
_TASKS = {"azimuth": "azimuths", "elevation": "elevations"}
_PARTS = {"familiar": "familiar viewpoints", "novel": "novel viewpoints"}
# As the files number them: azimuths of 300 to 360 and 0 to 40 degrees, in steps of 10; the lowest three elevations.
_LEARNED = {"azimuth": (30, 32, 34, 0, 2, 4), "elevation": (0, 1, 2)}

_read = lru_cache(maxsize=1)(read_smallnorb)  # read once for all seeds


class _Cropped(nn.Module):
    """A network that sees the middle of its images.

    Images that are shifted at random before by up to the margin show it any part of them, and no border.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor | None = None, *, reconstruct: bool = True) -> Any:
        """What the network says of the crops."""
        return self.network(centre_crop(images, _CROP), labels, reconstruct=reconstruct)


def _part(context: Context, views: StereoViews, task: str, *, learned: bool, training: bool) -> ImageSet:
    """Pairs from the viewpoints of a task that are learned, or from the others; as many as the scale says.

    Raises:
        TrainingError: There are none.
    """
    among = torch.isin(getattr(views, task), torch.tensor(_LEARNED[task]))
    images = views.pairs()[(among == learned).nonzero().flatten()]
    if not len(images):
        raise TrainingError(
            f"the {'training' if training else 'test'} images have no {task} "
            f"{'of' if learned else 'beside'} {', '.join(map(str, _LEARNED[task]))}"
        )
    return context.scale.training_part(images) if training else context.scale.test_part(images)


def _sets(context: Context, task: str) -> tuple[ImageSet, dict[str, ImageSet]]:
    """Training images, and test images by how familiar their viewpoint is."""
    train, test = _read(context.data_dir)
    parts = {name: _part(context, test, task, learned=name == "familiar", training=False) for name in _PARTS}
    return _part(context, train, task, learned=True, training=True), parts


def _steps(context: Context) -> int:
    return len(NETWORKS) * sum(context.steps(len(_sets(context, task)[0])) for task in _TASKS)


def _run(context: Context, seed: int) -> Outcome:
    options = {"in_channels": 2, "image_size": _CROP, "classes": 5, "decoder_sizes": None}
    assert context.data_dir is not None
    numbers: dict[str, Any] = {"title": smallnorb_facts(*_read(context.data_dir), context.data_dir).title}
    rows, counts = [], []
    for task in _TASKS:
        train, tests = _sets(context, task)
        counts.append((len(train), sum(map(len, tests.values()))))
        numbers[task] = {}
        for network in NETWORKS:
            config = context.config(seed, network, shift=(SMALLNORB_SIDE - _CROP) // 2, reconstruction=False)
            model = _Cropped(build_network(config, context.device, **context.network_options(**options)))
            trainer = context.fit(train, tests["familiar"], config, model=model)
            numbers[task][network] = {name: context.accuracy(trainer, images) for name, images in tests.items()}
        rows += [images.batch(slice(0, _SHOWN))[0][:, :1] for images in (train, *tests.values())]
    shown = min(map(len, rows))
    pictures = centre_crop(torch.stack([row[:shown] for row in rows]), _CROP)
    images, test_images = (max(column) for column in zip(*counts, strict=True))
    return Outcome(numbers, {"images": pictures}, images, test_images)


def _report(record: Record) -> list[str]:
    head = ["accuracy, %", *(f"{name}: {part}" for name in _TASKS.values() for part in _PARTS.values())]
    rows = [
        [title, *(record.over_seeds(task, network, part).percent(1) for task in _TASKS for part in _PARTS)]
        for network, title in NETWORKS.items()
    ]
    return [f"{record.seeds[0]['title']}, pairs of images.", "", *markdown_table(head, rows)]


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    figure = new_figure(9.0, 4.2)
    axes, examples = figure.subplots(1, 2, width_ratios=(4, 5))
    columns = [(task, part) for task in _TASKS for part in _PARTS]
    found = {network: [record.over_seeds(task, network, part) for task, part in columns] for network in NETWORKS}
    bars(axes, found, [f"{part}\n{_TASKS[task]}" for task, part in columns], NETWORKS)
    axes.set_ylabel("accuracy / %")
    labels = [f"{task}, {part}" for task in _TASKS for part in ("learned", *_PARTS)]
    show_tiles(examples, pictures["images"], labels, [])
    return figure


EXPERIMENT = Experiment(
    "smallnorb",
    quick=Scale(preset="quick", images=6_000, test_images=4_000, epochs=5, batch_size=32, lr_decay=0.6),
    full=Scale(preset="mnist", epochs=50, batch_size=64, lr_decay=0.95),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
