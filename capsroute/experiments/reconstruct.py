"""Can an image be made again from one capsule, and can the capsule be read?

CapsNet reconstructs an image from the pose of one capsule. Beside it stand the network with pooling, with the same
decoder behind as many features as all capsules have components together, and once more behind as few as one capsule
has; and two codes that know no network: the mean image of the class, and as many principal components. Then each
component of the pose is moved in steps, as in figure 4 of Sabour et al. 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.bench.texts import markdown_table, paragraph
from capsroute.experiments.context import WARMUP, Context, batches
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import show_tiles
from capsroute.experiments.record import Record, spread
from capsroute.experiments.scale import Scale, require_classes
from capsroute.experiments.shape import PROPERTIES, properties
from capsroute.models import CapsNet, PoolingCNN
from capsroute.training.datasets import Images, ImageSet
from capsroute.training.loop.trainer import Trainer
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

_CLASSES = 10
_SIZE = 16  # components of a class capsule
_CODES = {
    "capsnet": "CapsNet, one capsule",
    "pooling-cnn": "CNN with pooling, 160 features",
    "few-features": "CNN with pooling, 16 features",
    "components": "16 principal components",
    "class-mean": "mean of the class",
}
_NETWORKS = tuple(_CODES)[:3]
_WEIGHT = 0.02  # forty times that of the paper: a short training should still reach the decoder
_STEPS = tuple(round(0.05 * k, 2) for k in range(-5, 6))
_SWEPT = 200  # test images whose poses are moved
_SHOWN = 10


def _steps(context: Context) -> int:
    train, _ = context.mnist()
    require_classes(train, _CLASSES, "--images")  # each has a mean
    return len(_NETWORKS) * context.steps(len(train))


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    originals, labels = test.batch(slice(None))
    made: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {"accuracy": {}}
    trainers = {}
    for name in _NETWORKS:
        trainers[name] = _trained(context, train, test, name, seed)
        numbers["accuracy"][name] = trainers[name].test_accuracy
        made[name] = _reconstructions(trainers[name], test)
    made["components"] = _from_components(train, originals)
    made["class-mean"] = _class_means(train)[labels]
    numbers["error"] = {name: _error(made[name], originals) for name in _CODES}

    capsnet = trainers["capsnet"].model
    assert isinstance(capsnet, CapsNet)
    swept = _sweep(capsnet, originals[:_SWEPT].to(context.device), labels[:_SWEPT].to(context.device))
    numbers["kept"] = _kept_class(capsnet, swept, labels)
    effects = _effects(swept, originals, labels)
    numbers["effects"] = effects.tolist()
    numbers["strong"] = float((effects.abs().amax(-1) >= 1).float().mean())
    shown = _one_of_each_class(labels[:_SWEPT])
    pictures = {"inputs": originals[shown], "sweeps": swept[shown].cpu()}
    pictures |= {name: made[name][shown] for name in _NETWORKS}
    return Outcome(numbers, pictures, len(train), len(test))


def _trained(context: Context, train: Images, test: Images, name: str, seed: int) -> Trainer:
    network = "capsnet" if name == "capsnet" else "pooling-cnn"
    model: nn.Module | None = None
    if name == "few-features":
        torch.manual_seed(seed)
        model = PoolingCNN.matching(context.network_options(), features=_SIZE).to(context.device)
    config = context.config(seed, network, warmup=WARMUP, reconstruction_weight=_WEIGHT)
    return context.fit(train, test, config, model=model)


def _reconstructions(trainer: Trainer, images: Images) -> Tensor:
    """What a network makes of images from its own prediction, ``[N, channels, H, W]``."""
    with torch.no_grad():
        return torch.cat([trainer.model(batch).reconstruction.cpu() for batch, _ in batches(images, trainer.device)])


def _error(made: Tensor, originals: Tensor) -> float:
    """Squared error, summed over the pixels of an image and averaged over the images."""
    return float((made - originals).square().sum() / len(originals))


def _class_means(train: ImageSet) -> Tensor:
    """Mean training image of each class, ``[classes, channels, H, W]``."""
    images, labels = train.batch(slice(None))
    return torch.stack([images[labels == label].mean(0) for label in range(_CLASSES)])


def _from_components(train: ImageSet, originals: Tensor) -> Tensor:
    """Images as their first 16 principal components have them, which the training images give."""
    images = train.batch(slice(None))[0].flatten(1)
    mean = images.mean(0)
    covariance = (images - mean).T @ (images - mean)
    basis = torch.linalg.eigh(covariance).eigenvectors[:, -_SIZE:]
    return (mean + (originals.flatten(1) - mean) @ basis @ basis.T).view_as(originals)


@torch.no_grad()
def _sweep(model: CapsNet, images: Tensor, labels: Tensor) -> Tensor:
    """Images decoded from the true class's capsule, one component moved at a time.

    From ``[N, channels, H, W]`` to ``[N, D, len(_STEPS), channels, H, W]``.
    """
    assert model.decoder is not None
    capsules = model(images, reconstruct=False).capsules  # [N, J, D]
    size = capsules.shape[-1]
    moves = torch.eye(size, device=images.device)[:, None] * torch.tensor(_STEPS, device=images.device)[:, None]
    rows = []
    for capsule, label in zip(capsules, labels, strict=True):
        moved = capsule.expand(size, len(_STEPS), *capsule.shape).clone()
        moved[:, :, label] += moves
        told = label.expand(size * len(_STEPS))
        rows.append(model.decoder(moved.flatten(0, 1), told).unflatten(0, (size, len(_STEPS))))
    return torch.stack(rows)


@torch.no_grad()
def _kept_class(model: CapsNet, swept: Tensor, labels: Tensor) -> float:
    """Share of images at both ends of the steps that the network itself still gives the class they were made of."""
    ends = swept[:, :, [0, -1]]  # [N, D, 2, ...]
    kept = [
        model(images.flatten(0, 1), reconstruct=False).lengths.argmax(1).cpu() == label
        for images, label in zip(ends, labels, strict=False)
    ]
    return float(torch.cat(kept).float().mean())


def _effects(swept: Tensor, originals: Tensor, labels: Tensor) -> Tensor:
    """What moving a component does to the named properties of the image, ``[classes, D, properties]``.

    From one end of the steps to the other, averaged over the images of a class, in units of the property's standard
    deviation over the test images of that class.
    """
    measured = properties(swept[:, :, [0, -1]].mean(3).cpu())  # [N, D, 2, properties]
    moved = measured[:, :, 1] - measured[:, :, 0]
    natural, made_of = properties(originals.mean(1)), labels[: len(swept)]
    return torch.stack(
        [
            moved[made_of == label].mean(0) / natural[labels == label].std(0, correction=0).clamp_min(1e-3)
            for label in made_of.unique()
        ]
    )


def _one_of_each_class(labels: Tensor) -> Tensor:
    """Places of the first image of each class that there is."""
    return torch.tensor([int((labels == label).nonzero()[0]) for label in labels.unique()][:_SHOWN])


def _report(record: Record) -> list[str]:
    rows = []
    for name, title in _CODES.items():
        accuracy = "-"
        if name in _NETWORKS:
            accuracy = record.over_seeds("accuracy", name).percent(1)
        rows.append([title, record.over_seeds("error", name).text(1), accuracy])
    table = markdown_table(["made from", "squared error per image", "test accuracy / %"], rows)
    kept, strong = record.over_seeds("kept"), record.over_seeds("strong")
    single = spread(_single(torch.tensor(seed["effects"])) for seed in record.seeds)
    return [
        *table,
        "",
        *paragraph(
            f"With a component moved by {_STEPS[0]} or by {_STEPS[-1]}, the network gives {kept.percent(1)} % of the "
            f"reconstructions the class that they were made of. From one to the other, {strong.percent(0)} % of all "
            f"components of all classes change one of {', '.join(PROPERTIES)} by its standard deviation or more. Of "
            f"these, {single.percent(0)} % change every other one of them by less than half as much."
        ),
    ]


def _single(effects: Tensor) -> float:
    """Of the components with a strong effect, the share that have it on one property alone; 0 where there is none."""
    most, second = effects.abs().topk(2, dim=-1).values.unbind(-1)
    strong = most >= 1
    return float(((second < most / 2) & strong).sum() / strong.sum().clamp_min(1))


def _words(effects: list[list[float]]) -> list[str]:
    """What moving each component upwards does most: the property, and by how many standard deviations."""
    words = []
    for component, by_property in enumerate(effects):
        most = max(range(len(PROPERTIES)), key=lambda k: abs(by_property[k]))
        words.append(f"{component + 1}: {PROPERTIES[most]} {by_property[most]:+.1f}")
    return words


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    figure = new_figure(9.0, 9.4)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.75))
    rows = {"inputs": "inputs", **{name: _CODES[name].replace(", ", ",\n") for name in _NETWORKS}}
    show_tiles(above.subplots(), torch.stack([pictures[name] for name in rows]), list(rows.values()), [])
    sweeps = pictures["sweeps"]
    steps = [f"{step:+.2f}" if k % 5 == 0 else "" for k, step in enumerate(_STEPS)]
    for axes, place in zip(below.subplots(1, 2), (min(2, len(sweeps) - 1), min(5, len(sweeps) - 1)), strict=True):
        show_tiles(axes, sweeps[place], _words(record.seeds[0]["effects"][place]), steps)
    below.suptitle(
        "each component of the pose moved in steps, and what that changes most, in standard deviations", fontsize=8
    )
    return figure


EXPERIMENT = Experiment(
    "reconstruct",
    quick=Scale(preset="quick", images=10_000, test_images=2_000, epochs=4, batch_size=32, lr_decay=0.6),
    full=Scale(preset="mnist", epochs=20, batch_size=128, lr_decay=0.85),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
