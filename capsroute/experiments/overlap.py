"""Two digits on top of each other: are both recognised, and can each be drawn alone?

As in Sabour et al. 2017, section 6: a capsule network learns from pairs which two digits are there, and to reconstruct
each of them from its capsule alone. The network with pooling learns the two labels. As the decoder is told the class,
what it draws is set beside the mean of the class, which needs no capsule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.bench.texts import markdown_table
from capsroute.experiments.context import NETWORKS, Context, batches
from capsroute.experiments.data.overlap import CANVAS, OverlappingPairs
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.record import Record
from capsroute.experiments.scale import Scale, require_classes
from capsroute.nn import margin_loss
from capsroute.training.loop.trainer import Trainer
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

_CLASSES = 10
_TEST_SEED = 0  # a training may have the same one: its pairs are of other digits
_SHOWN = 10
_CLASS_MEAN = "class-mean"
_RECONSTRUCTION_WEIGHT = 0.0005  # of the squared error, summed over the pixels of both digits


def _capsule_objective(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Margin loss of both classes, and the error of each digit reconstructed from its capsule."""
    output = model(images[:, :1], reconstruct=False)
    error = (_decoded(model, output.capsules, labels).float() - images[:, 1:]).square().sum() / len(images)
    loss = margin_loss(output.scores.float(), _presence(labels)) + _RECONSTRUCTION_WEIGHT * error
    return loss, _found(output.scores, labels).all(dim=1)


def _pooling_objective(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of the classes, summed over them."""
    scores = model(images[:, :1], reconstruct=False).scores
    loss = nn.functional.binary_cross_entropy_with_logits(scores.float(), _presence(labels)) * scores.shape[1]
    return loss, _found(scores, labels).all(dim=1)


_OBJECTIVES = {"capsnet": _capsule_objective, "pooling-cnn": _pooling_objective}


def _presence(labels: Tensor) -> Tensor:
    return torch.zeros(len(labels), _CLASSES, device=labels.device).scatter_(1, labels, 1.0)


def _found(scores: Tensor, labels: Tensor) -> Tensor:
    """Whether each of the two digits is among the two classes with the largest scores, ``[B, 2]``."""
    said = scores.topk(2, dim=1).indices
    return (labels[:, :, None] == said[:, None, :]).any(dim=2)


def _decoded(model: Any, capsules: Tensor, labels: Tensor) -> Tensor:
    """What the decoder makes of the capsules of two classes, ``[B, 2, H, W]``, each by itself."""
    return torch.cat([model.decoder(capsules, labels[:, place].contiguous()) for place in (0, 1)], dim=1)


def _steps(context: Context) -> int:
    train, test = context.mnist()
    require_classes(train, 2, "--images")
    require_classes(test, 2, "--test-images")
    return len(NETWORKS) * context.steps(len(train))


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    # Test pairs are of test digits alone, and the same for all seeds.
    test_pairs = OverlappingPairs(test, len(test), _TEST_SEED)
    # Every epoch has new pairs.
    epochs = context.scale.epochs
    train_pairs = OverlappingPairs(train, epochs * len(train), seed)
    numbers: dict[str, Any] = {}
    pictures: dict[str, Tensor] = {}
    for network, objective in _OBJECTIVES.items():
        reconstruction = network == "capsnet"
        decay = context.scale.lr_decay**epochs
        config = context.config(seed, network, epochs=1, lr_decay=decay, reconstruction=reconstruction)
        trainer = context.fit(train_pairs, test_pairs, config, {"image_size": CANVAS}, objective=objective)
        numbers[network], drawn = _judge(trainer, test_pairs)
        if reconstruction:
            pictures = drawn
    numbers[_CLASS_MEAN] = _judge_class_means(_class_means(train_pairs), test_pairs)
    return Outcome(numbers, pictures, len(train), len(test))


@torch.no_grad()
def _judge(trainer: Trainer, pairs: OverlappingPairs) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Shares of labels found, errors of reconstruction per pixel, and the first pairs as a figure shows them."""
    found: list[Tensor] = []
    errors: list[Tensor] = []
    shown: dict[str, Tensor] = {}
    for images, labels in batches(pairs, trainer.device):
        output = trainer.model(images[:, :1], reconstruct=False)
        found.append(_found(output.scores, labels).cpu())
        if trainer.config.network != "capsnet":
            continue
        errors.append(_errors(_decoded(trainer.model, output.capsules, labels), images[:, 1:]).cpu())
        if not shown:
            said = output.scores.topk(2, dim=1).indices
            shown = _shown(images, labels, said, _decoded(trainer.model, output.capsules, said))
    marks = torch.cat(found).double()
    numbers = {"both": marks.prod(dim=1).mean().item(), "each": marks.mean().item()}
    if errors:
        numbers |= _mean_errors(errors)
    return numbers, shown


def _class_means(pairs: OverlappingPairs) -> Tensor:
    """Mean digit of each class as it lies in the pairs, ``[classes, H, W]``; of a class that none has, black."""
    sums = torch.zeros(_CLASSES, *pairs.image_shape[1:], dtype=torch.float64)
    counts = torch.zeros(_CLASSES, dtype=torch.int64)
    for images, labels in batches(pairs):
        sums.index_add_(0, labels.flatten(), images[:, 1:].flatten(0, 1).double())
        counts += labels.flatten().bincount(minlength=_CLASSES)
    return (sums / counts.clamp_min(1)[:, None, None]).float()


def _judge_class_means(means: Tensor, pairs: OverlappingPairs) -> dict[str, float]:
    """Errors of the mean of each digit's class, as those of what a decoder draws."""
    return _mean_errors([_errors(means[labels], images[:, 1:]) for images, labels in batches(pairs)])


def _errors(drawn: Tensor, singles: Tensor) -> Tensor:
    """Squared error per pixel of each digit drawn, ``[B, 2, H, W]``, to that digit and to the other, ``[B, 2, 2]``."""
    return torch.stack([(drawn - digits).square().mean(dim=(2, 3)) for digits in (singles, singles.flip(1))], dim=2)


def _mean_errors(errors: list[Tensor]) -> dict[str, float]:
    own, other = torch.cat(errors).double().mean(dim=(0, 1)).tolist()
    return {"error": own, "error_to_other": other}


def _shown(images: Tensor, labels: Tensor, said: Tensor, decoded: Tensor) -> dict[str, Tensor]:
    """The first pairs, with what was said and drawn of them; what was said in the order of the digits it fits."""
    images, labels, said, decoded = (part[:_SHOWN].cpu() for part in (images, labels, said, decoded))
    swapped = (said[:, 0] == labels[:, 1]) | (said[:, 1] == labels[:, 0])
    said = torch.where(swapped[:, None], said.flip(1), said)
    decoded = torch.where(swapped[:, None, None, None], decoded.flip(1), decoded)
    return {"images": images, "labels": labels, "said": said, "decoded": decoded}


def _report(record: Record) -> list[str]:
    head = ["", "both digits right, %", "each digit right, %", "error of a digit drawn", "its distance to the other"]
    rows = []
    for name, title in {**NETWORKS, _CLASS_MEAN: "mean of the class, no network"}.items():
        found = record.seeds[0][name]
        shares = [record.over_seeds(name, key).percent(1) if key in found else "-" for key in ("both", "each")]
        errors = [record.over_seeds(name, key).text(4) if key in found else "-" for key in ("error", "error_to_other")]
        rows.append([title, *shares, *errors])
    return markdown_table(head, rows)


def _in_two_colours(first: Tensor, second: Tensor) -> Tensor:
    """One digit in orange and one in blue; white where both are. ``[H, W]`` each to ``[H, W, 3]``."""
    orange, blue = torch.tensor([1.0, 0.55, 0.1]), torch.tensor([0.1, 0.55, 1.0])
    return (first[:, :, None] * orange + second[:, :, None] * blue).clamp(0, 1)


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    images, labels, said, decoded = (pictures[name] for name in ("images", "labels", "said", "decoded"))
    count = len(images)
    figure = new_figure(1.0 * count + 0.6, 3.9)
    axes = figure.subplots(3, count, squeeze=False)
    for column in range(count):
        rows = (
            images[column, 0][:, :, None].expand(-1, -1, 3),
            _in_two_colours(images[column, 1], images[column, 2]),
            _in_two_colours(decoded[column, 0], decoded[column, 1]),
        )
        for row, picture in enumerate(rows):
            axes[row, column].imshow(picture.numpy())
            axes[row, column].set_xticks([])
            axes[row, column].set_yticks([])
        right = set(said[column].tolist()) == set(labels[column].tolist())
        axes[0, column].set_title(" + ".join(str(digit) for digit in labels[column].tolist()), fontsize=10)
        axes[2, column].set_xlabel(
            " + ".join(str(digit) for digit in said[column].tolist()), fontsize=10, color="black" if right else "red"
        )
    for row, label in enumerate(("input", "its digits", "drawn from\ntwo capsules")):
        axes[row, 0].set_ylabel(label, fontsize=9)
    return figure


EXPERIMENT = Experiment(
    "overlap",
    quick=Scale(preset="translated", images=20_000, test_images=2_000, epochs=2, batch_size=32, lr_decay=0.4),
    full=Scale(preset="mnist", epochs=20, batch_size=128, lr_decay=0.9),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
)
