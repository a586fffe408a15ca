"""The figure of the experiment ``routing``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from capsroute.experiments.record import Record, Spread
from capsroute.training.reporting.figures import new_figure

__all__ = ["draw"]

_COUNTS = range(1, 6)  # iterations
_WINNER, _OTHER = (1.0, 0.6, 0.1), (0.4, 0.7, 1.0)


def draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    """Parts and wholes in each iteration, above accuracy, time and entropy over the iterations.

    For the pictures see ``_parts_and_wholes`` in :mod:`capsroute.experiments.routing`.
    """
    count, iterations, _, classes = pictures["coupling"].shape
    figure = new_figure(9.5, 1.9 * count + 3.6)
    above, below = figure.subfigures(2, 1, height_ratios=(1.9 * count, 3.2))
    above.set_facecolor("black")
    grid = above.subplots(count, iterations + 1, squeeze=False)
    # Without a common scale, an iteration that does next to nothing would look like one that decides.
    strongest = max(float(pictures["coupling"].max()) * classes - 1, 1e-6)
    for row in range(count):
        for column in range(iterations):
            _parts_and_wholes(grid[row, column], pictures, row, column, strongest)
        _given(grid[row, iterations], pictures, row)
    titles = [f"iteration {column + 1}" for column in range(iterations)]
    for axes, title in zip(grid[0], [*titles, "given to the winner"], strict=True):
        axes.set_title(title, fontsize=8, color="white")
    above.suptitle(
        f"lines: coupling above the uniform {1 / classes:.3f}; the strongest is {(1 + strongest) / classes:.3f}",
        fontsize=8,
        color="white",
    )
    accuracy, time, entropy = below.subplots(1, 3)
    _accuracy(accuracy, record)
    _time(time, record)
    _entropy(entropy, record)
    for axes in (accuracy, time, entropy):
        axes.set_xlabel("iterations")
        axes.set_xticks(list(_COUNTS))
        axes.grid(alpha=0.3)
    entropy.set_xlabel("iteration")
    return figure


def _parts_and_wholes(axes: Any, pictures: Mapping[str, Tensor], image: int, iteration: int, strongest: float) -> None:
    """Lines from the places in an image to the classes on its right, where the coupling is above the uniform one.

    Full colour is a coefficient of ``1 + strongest`` times the uniform one, from the most active place of the image.
    """
    from matplotlib.collections import LineCollection

    width = _background(axes, pictures["images"][image], 2)
    height = pictures["images"].shape[-2]
    coupling, lengths = pictures["coupling"][image, iteration], pictures["lengths"][image, iteration]  # [P, J], [J]
    activity = pictures["activity"][image] / pictures["activity"][image].max().clamp_min(1e-6)
    classes = coupling.shape[1]
    excess = ((coupling * classes - 1) / strongest).clamp_min(0) * activity[:, None]
    nodes = [(1.75 * width, height * (0.04 + 0.92 * label / max(classes - 1, 1))) for label in range(classes)]
    winner = int(pictures["lengths"][image, -1].argmax())
    rgb = [_WINNER if label == winner else _OTHER for label in range(classes)]
    places = [(column, row) for row, column in pictures["centres"].tolist()]
    lines = [[place, node] for place in places for node in nodes]
    colours = [(*rgb[label], float(of_place[label])) for of_place in excess for label in range(classes)]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.2))
    axes.scatter(*zip(*places, strict=True), s=(12 * activity).tolist(), color="white", linewidths=0, zorder=3)
    axes.scatter(*zip(*nodes, strict=True), s=(60 * lengths).tolist(), color=rgb, linewidths=0, zorder=3)
    for label, (column, row) in enumerate(nodes):
        axes.text(column + 0.12 * width, row, str(label), color="white", fontsize=5, va="center")


def _given(axes: Any, pictures: Mapping[str, Tensor], image: int) -> None:
    """What each place adds to the winning capsule, as an area; what works against it in the other colour."""
    _background(axes, pictures["images"][image], 1)
    given = pictures["given"][image]
    rows, columns = pictures["centres"].unbind(1)
    areas = (120 * given.abs() / given.abs().max().clamp_min(1e-6)).tolist()
    axes.scatter(columns, rows, s=areas, color=[_WINNER if x > 0 else _OTHER for x in given], alpha=0.8, linewidths=0)


def _background(axes: Any, image: Tensor, widths: int) -> int:
    """The image, dimmed, on black that is so many times as wide; returns its width in pixels."""
    _, height, width = image.shape
    canvas = torch.zeros(height, widths * width)
    canvas[:, :width] = 0.6 * image.mean(0)
    axes.imshow(canvas.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    return width


def _bars(
    axes: Any, places: Sequence[float], values: Sequence[Spread], scale: float, label: str, fmt: str = "o-"
) -> None:
    """Means with their deviations over the seeds as error bars."""
    means, deviations = [scale * value.mean for value in values], [scale * value.deviation for value in values]
    axes.errorbar(places, means, deviations, fmt=fmt, capsize=3, label=label)


def _points(axes: Any, record: Record, key: str, scale: float) -> None:
    """A measured number over the iterations, with the other kinds of routing beside the three iterations."""
    names = [f"T = {count}" for count in _COUNTS]
    values = [record.over_seeds(key, name) for name in names]
    _bars(axes, _COUNTS, values, scale, "softmax over outputs, full gradient")
    others = [name for name in record.seeds[0][key] if name not in names]
    for shift, (marker, name) in enumerate(zip("s^", others, strict=True), 1):
        _bars(axes, [3 + 0.15 * shift], [record.over_seeds(key, name)], scale, name.partition(", ")[2], marker)


def _accuracy(axes: Any, record: Record) -> None:
    _points(axes, record, "accuracy", 100)
    axes.set_ylabel("test accuracy / %")
    _legend(axes, 1)


def _time(axes: Any, record: Record) -> None:
    _points(axes, record, "routing_seconds", 1e3)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("routing, forward and backward / ms")


def _entropy(axes: Any, record: Record) -> None:
    for trained in _COUNTS[1:]:
        values = [record.over_seeds("coupling", f"T = {trained}", "entropy", k) for k in range(trained)]
        _bars(axes, range(1, trained + 1), values, 1, f"T = {trained}")
    axes.set_ylabel("relative entropy of the coupling")
    _legend(axes, 4)


def _legend(axes: Any, columns: int) -> None:
    """A legend above the panel: for the best place within it, matplotlib does not look at error bars."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=6, ncols=columns, columnspacing=1.0)
