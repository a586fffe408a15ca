"""Pictures of a finished run."""

import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from capsroute.training.extras import require
from capsroute.training.paths import AnyPath, as_path

__all__ = ["draw_confusion", "draw_learning_curve", "draw_reconstructions", "new_figure"]


_LETTERS = 12  # of a name in a picture
_NUMBERED = 20  # classes whose counts are written into the cells


def new_figure(width: float, height: float) -> Any:
    """An empty figure that no window shows; sizes in inches."""
    require("matplotlib", "drawing figures")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # names of classes are in any script, the font is not
        figure.savefig(path, dpi=120)


def draw_reconstructions(
    path: AnyPath, images: Tensor, reconstructions: Tensor, labels: Tensor, predicted: Tensor, names: Sequence[str]
) -> None:
    """Draws images above what the decoder makes of the capsule of the predicted class, as PNG.

    Both are ``[N, channels, H, W]`` in [0, 1], channels that are no colours side by side; true and predicted classes
    are ``[N]``, and have names.
    """
    path = as_path("path", path)
    count = len(images)
    figure = new_figure(max(6.0, 0.8 * count), 2.0)  # the title has room also above one image
    axes = figure.subplots(2, count, squeeze=False)
    for column in range(count):
        for row, picture in enumerate((images, reconstructions)):
            axes[row, column].imshow(_shown(picture[column].float().cpu()), cmap="gray", vmin=0, vmax=1)
            axes[row, column].set_axis_off()
        axes[0, column].set_title(_short(names[int(labels[column])]))
        axes[1, column].set_title(
            _short(names[int(predicted[column])]), color="black" if predicted[column] == labels[column] else "red"
        )
    figure.suptitle("test images with their labels, above the reconstructions of the predicted capsules", fontsize=8)
    _save(figure, path)


def _shown(image: Tensor) -> numpy.ndarray:
    """An image ``[channels, H, W]`` as matplotlib takes it: the two of a stereo pair are next to each other."""
    if len(image) in (1, 3):
        return image.permute(1, 2, 0).numpy()
    return torch.cat(tuple(image), dim=1).numpy()


def _short(name: str) -> str:
    """A name above a small picture. Dollars would be taken for formulas."""
    return (name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…").replace("$", r"\$")


def draw_confusion(path: AnyPath, matrix: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    """Draws how many images of each class (rows) were taken for each class (columns), as PNG.

    The colour of a cell is its share of its row; counts stand in it where there is room.
    """
    path = as_path("path", path)
    count = len(names)
    side = min(3.0 + 0.45 * count, 14.0)
    figure = new_figure(side, side)
    axes = figure.subplots()
    shares = [[value / max(1, sum(row)) for value in row] for row in matrix]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels, size = [_short(name) for name in names], 9 if count <= _NUMBERED else 5
    axes.set_xticks(range(count), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(count), labels, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if count <= _NUMBERED:
        for row, column in product(range(count), range(count)):
            colour = "white" if shares[row][column] > 0.5 else "black"
            axes.text(column, row, f"{matrix[row][column]:,}", ha="center", va="center", color=colour, fontsize=size)
    _save(figure, path)


def draw_learning_curve(path: AnyPath, records: list[dict[str, Any]]) -> None:
    """Draws the training loss over the steps, and the accuracies below, as PNG.

    The records are what :func:`capsroute.training.reporting.metrics.read_metrics` returns.
    """
    path = as_path("path", path)
    steps = [record for record in records if record["kind"] == "step"]
    epochs = [record for record in records if record["kind"] == "epoch"]
    figure = new_figure(7.0, 5.5)
    loss_axes, accuracy_axes = figure.subplots(2, 1, sharex=True)
    loss_axes.plot([r["step"] for r in steps], [r["loss"] for r in steps], color="C0", linewidth=1, label="training")
    loss_axes.plot([r["step"] for r in epochs], [r["test_loss"] for r in epochs], "o-", color="C1", label="test")
    loss_axes.set_yscale("log")
    loss_axes.set_ylabel("loss")
    accuracy_axes.plot([r["step"] for r in steps], [100 * r["accuracy"] for r in steps], color="C0", linewidth=1)
    accuracy_axes.plot([r["step"] for r in epochs], [100 * r["test_accuracy"] for r in epochs], "o-", color="C1")
    # The interesting part is near the top; what the steps of the first epoch get right by chance is not.
    learned = [r["accuracy"] for r in steps if r["epoch"] > 1] + [r["test_accuracy"] for r in epochs]
    accuracy_axes.set_ylim(min([90.0, *(100 * share - 1 for share in learned)]), 100.5)
    accuracy_axes.set_ylabel("accuracy / %")
    accuracy_axes.set_xlabel("step")
    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.3)
    loss_axes.legend()
    _save(figure, path)
