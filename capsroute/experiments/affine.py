"""Does a network that knows digits in many places know them turned, sheared and scaled?

As in Sabour et al. 2017, section 5.2: networks learn digits placed at random on a canvas, and are tested on digits
under random affine maps, which they never saw. The paper tests on affNIST; the maps here are drawn in its manner, and
the figures are not of affNIST.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from capsroute.bench.texts import markdown_table
from capsroute.experiments.context import NETWORKS, Context
from capsroute.experiments.data.affine import CANVAS, affine
from capsroute.experiments.data.canvas import centred, margin, translated
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import band, colour, show_tiles
from capsroute.experiments.record import Record, Spread
from capsroute.experiments.scale import Scale
from capsroute.training.datasets import ImageSet
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

# Times the ranges of affNIST, which are those at 1; at 0 a digit is only moved.
_STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
_TEST_SEED = 0  # a training may have the same one: its digits are others
_SHOWN = 10


def _steps(context: Context) -> int:
    train, _ = context.mnist()
    return len(NETWORKS) * context.steps(len(train))


def _mapped(images: ImageSet, strength: float) -> ImageSet:
    """Under maps of a strength, at places as in training."""
    scale = (1 - 0.2 * strength, 1 + 0.2 * strength)
    reach = margin(images, CANVAS)
    return affine(images, _TEST_SEED, degrees=20 * strength, shear=0.2 * strength, scale=scale, reach=reach)


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    moved = translated(test, CANVAS, _TEST_SEED)
    mapped = [_mapped(test, strength) for strength in _STRENGTHS]
    anywhere = affine(test, _TEST_SEED)
    numbers: dict[str, Any] = {}
    for network in NETWORKS:
        # Shifted anew for each step by up to the whole margin, a digit is at a random place of the canvas.
        config = context.config(seed, network, shift=margin(train, CANVAS))
        trainer = context.fit(centred(train, CANVAS), moved, config, {"image_size": CANVAS})
        numbers[network] = {
            "translated": context.accuracy(trainer, moved),
            "affine": [context.accuracy(trainer, images) for images in mapped],
            "anywhere": context.accuracy(trainer, anywhere),
        }
    rows = [images.batch(slice(0, _SHOWN))[0] for images in (moved, *mapped, anywhere)]
    return Outcome(numbers, {"images": torch.stack(rows)}, len(train), len(test))


def _affine(record: Record, network: str) -> list[Spread]:
    return [record.over_seeds(network, "affine", place) for place in range(len(_STRENGTHS))]


def _report(record: Record) -> list[str]:
    maps = [f"affine × {strength:g}" for strength in _STRENGTHS]
    rows = []
    for network, title in NETWORKS.items():
        moved, anywhere = (record.over_seeds(network, name) for name in ("translated", "anywhere"))
        accuracies = [moved, *_affine(record, network), anywhere]
        rows.append([title, *(accuracy.percent(1) for accuracy in accuracies)])
    return markdown_table(["accuracy, %", "translated", *maps, "affine × 1, anywhere"], rows)


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    figure = new_figure(10.0, 4.2)
    axes, examples = figure.subplots(1, 2, width_ratios=(5, 6))
    for network in NETWORKS:
        band(axes, list(_STRENGTHS), _affine(record, network), network, 100)
        axes.plot([1], [100 * record.over_seeds(network, "anywhere").mean], "x", color=colour(network), markersize=8)
    axes.axvline(1, color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel("strength of the maps; 1: 20°, shear 0.2, scale 0.8 to 1.2")
    axes.set_ylabel("accuracy / %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    labels = ["translated", *(f"× {strength:g}" for strength in _STRENGTHS), "× 1, anywhere"]
    show_tiles(examples, pictures["images"], labels, [])
    return figure


EXPERIMENT = Experiment(
    "affine",
    quick=Scale(preset="translated", images=20_000, test_images=2_000, epochs=2, batch_size=32, lr_decay=0.4),
    full=Scale(preset="mnist", epochs=30, batch_size=128, lr_decay=0.9),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
