"""Is a digit recognised away from where it was seen, and do poses tell where it went?

Both networks learn digits in the middle of a canvas alone, and are tested on digits that were moved. Then a linear
probe reads the displacement from what each network knows of the digit: the pose of the true class's capsule, or the
features.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from capsroute.bench.texts import markdown_table
from capsroute.experiments.context import NETWORKS, Context
from capsroute.experiments.data.canvas import centred, centred_shifted
from capsroute.experiments.data.shifts import CANVAS, shifted
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import band
from capsroute.experiments.probe import probe_r2
from capsroute.experiments.record import Record, Spread
from capsroute.experiments.scale import Scale
from capsroute.training.datasets import ImageSet
from capsroute.training.figures import new_figure
from capsroute.training.trainer import Trainer

__all__ = ["EXPERIMENT"]

_SHIFTS = range(7)
_PROBED = 2  # pixels along each axis: where both networks still see the digit for what it is
_BATCH = 250


def _steps(context: Context) -> int:
    train, _ = context.mnist()
    return len(NETWORKS) * context.steps(len(train))


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    numbers: dict[str, Any] = {}
    for network in NETWORKS:
        trainer = context.fit(
            centred(train, CANVAS),
            centred(test, CANVAS),
            context.config(seed, network),
            {"image_size": CANVAS},
        )
        numbers[network] = {
            "accuracy": [context.accuracy(trainer, shifted(test, pixels)) for pixels in _SHIFTS],
            "probe_r2": _probe(trainer, test, seed),
        }
    return Outcome(numbers, {})


def _probe(trainer: Trainer, images: ImageSet, seed: int) -> float:
    """R² of the displacement as a linear probe reads it; half of the images fit the probe, the others judge it."""
    generator = torch.Generator().manual_seed(seed)
    moves = torch.randint(-_PROBED, _PROBED + 1, (len(images), 2), generator=generator)
    features = _knowledge(trainer, centred_shifted(images, moves, CANVAS))
    half = len(images) // 2
    return probe_r2((features[:half], moves[:half]), (features[half:], moves[half:]))


def _knowledge(trainer: Trainer, images: ImageSet) -> Tensor:
    """What a network knows of each image and its true class, ``[N, F]``.

    A linear reading of a capsule depends on its class, and so does one of features: for the network with pooling the
    features stand in the place of the class, as the pose does for capsules.
    """
    rows = []
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            batch, labels = images.batch(slice(start, start + _BATCH))
            output = trainer.model(batch.to(trainer.device), reconstruct=False)
            present = torch.nn.functional.one_hot(labels, output.scores.shape[1]).float()
            poses = output.capsules if trainer.config.network == "capsnet" else output.features[:, None]
            rows.append(torch.cat([(present[:, :, None] * poses.cpu()).flatten(1), present], dim=1))
    return torch.cat(rows)


def _accuracy(record: Record, network: str) -> list[Spread]:
    return [record.over_seeds(network, "accuracy", k) for k in range(len(_SHIFTS))]


def _report(record: Record) -> list[str]:
    head = ["shift / pixels", *(str(pixels) for pixels in _SHIFTS), "probe R²"]
    rows = []
    for network, title in NETWORKS.items():
        r2 = record.over_seeds(network, "probe_r2")
        rows.append([title, *(value.percent(1) for value in _accuracy(record, network)), r2.text(3)])
    return markdown_table(head, rows)


def _draw(path: Path, record: Record, pictures: Mapping[str, Tensor]) -> None:
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    for network in NETWORKS:
        band(axes, list(_SHIFTS), _accuracy(record, network), network, 100)
    axes.set_xlabel("shift / pixels")
    axes.set_ylabel("accuracy / %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


EXPERIMENT = Experiment(
    "translation",
    "Away from where it was seen",
    quick=Scale(preset="translated", images=10_000, test_images=2_000, epochs=2),
    full=Scale(preset="mnist", epochs=10),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
