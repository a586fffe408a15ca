"""Is a digit recognised away from where it was seen, and do poses tell where it went?

Both networks learn digits in the middle of a canvas alone, and are tested on digits that were moved. Then it is
measured how far a move of the digit moves what each network knows of it, the pose of the true class's capsule or the
features; and a linear probe reads the move from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from capsroute.bench.texts import markdown_table, paragraph
from capsroute.experiments.context import NETWORKS, WARMUP, Context, batches
from capsroute.experiments.data.canvas import SHIFT_CANVAS, centred, centred_shifted, shifted
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import band, show_tiles
from capsroute.experiments.probe import r2, read
from capsroute.experiments.record import Record, Spread
from capsroute.experiments.scale import Scale, require_images
from capsroute.training.datasets import ImageSet
from capsroute.training.loop.trainer import Trainer
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

_SHIFTS = range(7)
# The probe is fitted to training images moved by the first, along both axes, and judged on test images moved by the
# second: neither the images nor the moves are those that it knows. Further out the networks fail.
_FITTED, _JUDGED = (-3, -1, 1, 3), (-2, 0, 2)
_FIT_IMAGES = 5_000
# Each image is moved by two of the moves, drawn at random. Of so many images, one in a million draws lacks a move, or
# has the same one along an axis every time: what the probe reads of a move then has no mean, or R² no variance.
_LEAST = 20


def _steps(context: Context) -> int:
    train, test = context.mnist()
    require_images(train, _LEAST, "--images")
    require_images(test, _LEAST, "--test-images")
    return len(NETWORKS) * context.steps(len(train))


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    numbers: dict[str, Any] = {}
    for network in NETWORKS:
        trainer = context.fit(
            centred(train, SHIFT_CANVAS),
            centred(test, SHIFT_CANVAS),
            context.config(seed, network, warmup=WARMUP),
            {"image_size": SHIFT_CANVAS},
        )
        known = [_knowledge(trainer, shifted(test, pixels)) for pixels in _SHIFTS]
        numbers[network] = {
            "accuracy": [context.accuracy(trainer, shifted(test, pixels)) for pixels in _SHIFTS],
            "moved": [float((now - known[0]).norm(dim=1).mean() / known[0].norm(dim=1).mean()) for now in known],
            "length": [float(now.norm(dim=1).mean() / known[0].norm(dim=1).mean()) for now in known],
            **_probe(trainer, train, test, seed),
        }
    examples = torch.stack([shifted(test, pixels).batch(slice(1))[0][0] for pixels in _SHIFTS])
    return Outcome(numbers, {"examples": examples}, len(train), len(test))


def _probe(trainer: Trainer, train: ImageSet, test: ImageSet, seed: int) -> dict[str, Any]:
    """How well the probe reads moves: R², and for each move along an axis mean and deviation of its readings."""
    generator = torch.Generator().manual_seed(seed)

    def moved(images: ImageSet, moves: Sequence[int]) -> tuple[Tensor, Tensor]:
        drawn = torch.tensor(moves)[torch.randint(len(moves), (len(images), 2), generator=generator)]
        return _by_class(_knowledge(trainer, centred_shifted(images, drawn, SHIFT_CANVAS)), images.labels), drawn

    fitted = moved(train[:_FIT_IMAGES], _FITTED)
    features, moves = moved(test, _JUDGED)
    readings = read(features, fitted)
    by_move = [readings[moves == move] for move in _JUDGED]
    return {
        "r2": r2(readings, moves),
        "reading": [float(values.mean()) for values in by_move],
        "deviation": [float(values.std(correction=0)) for values in by_move],
    }


def _knowledge(trainer: Trainer, images: ImageSet) -> Tensor:
    """What a network knows of each image: the pose of the true class's capsule, or all features; ``[N, F]``."""
    is_capsnet = trainer.config.network == "capsnet"
    rows = []
    with torch.no_grad():
        for batch, labels in batches(images, trainer.device):
            output = trainer.model(batch, reconstruct=False)
            known = output.capsules[torch.arange(len(labels)), labels] if is_capsnet else output.features
            rows.append(known.cpu())
    return torch.cat(rows)


def _by_class(features: Tensor, labels: Tensor) -> Tensor:
    """``[N, F]`` to ``[N, classes · (F + 1)]``, in which each class has columns of its own: a probe for each class."""
    present = torch.nn.functional.one_hot(labels, 10).float()
    with_one = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    return (present[:, :, None] * with_one[:, None]).flatten(1)


def _over_shifts(record: Record, network: str, key: str) -> list[Spread]:
    return [record.over_seeds(network, key, k) for k in range(len(_SHIFTS))]


def _report(record: Record) -> list[str]:
    head = ["shift / pixels", *(str(pixels) for pixels in _SHIFTS)]
    accuracy = [
        [f"{title}: accuracy / %", *(value.percent(1) for value in _over_shifts(record, network, "accuracy"))]
        for network, title in NETWORKS.items()
    ]
    knows = {"capsnet": "pose", "pooling-cnn": "features"}
    moved = [
        [f"{NETWORKS[network]}: {what} moved by", *(v.text(2) for v in _over_shifts(record, network, "moved"))]
        for network, what in knows.items()
    ]
    length = ["CapsNet: length of the pose", *(v.text(2) for v in _over_shifts(record, "capsnet", "length"))]
    readings = [f"{record.over_seeds(network, 'r2').text(3)} from {knows[network]}" for network in NETWORKS]
    return [
        *markdown_table(head, [*accuracy, *moved, length]),
        "",
        *paragraph(
            f"Moves and lengths are relative to the digit in the middle. R² of the probe: {' and '.join(readings)}."
        ),
    ]


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    figure = new_figure(10.0, 5.0)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 2.1))
    show_tiles(above.subplots(), pictures["examples"][None], [], [f"{pixels} pixels" for pixels in _SHIFTS])
    accuracy, moved, readings = below.subplots(1, 3)
    for network in NETWORKS:
        band(accuracy, list(_SHIFTS), _over_shifts(record, network, "accuracy"), network, 100)
        band(moved, list(_SHIFTS), _over_shifts(record, network, "moved"), network)
        band(readings, list(_JUDGED), [record.over_seeds(network, "reading", k) for k in range(len(_JUDGED))], network)
    accuracy.set_ylabel("accuracy / %")
    accuracy.legend(fontsize=7)
    moved.set_ylabel("relative move of pose or features")
    for axes in (accuracy, moved):
        axes.set_xlabel("shift of the digit / pixels")
    readings.plot([-3, 3], [-3, 3], color="grey", linewidth=1, linestyle="--")
    readings.set_xlabel("shift along an axis / pixels")
    readings.set_ylabel("shift as the probe reads it / pixels")
    for axes in (accuracy, moved, readings):
        axes.grid(alpha=0.3)
    return figure


EXPERIMENT = Experiment(
    "translation",
    quick=Scale(preset="translated", images=10_000, test_images=2_000, epochs=1, batch_size=16, lr_decay=0.3),
    full=Scale(preset="mnist", epochs=10, batch_size=128, lr_decay=0.75),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
