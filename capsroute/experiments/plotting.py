"""What the figures of the experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from capsroute.experiments.context import NETWORKS
from capsroute.experiments.record import Spread

__all__ = ["band", "bars", "colour", "show_tiles"]

_GAP = 1  # pixels around each tile
_GREY = 0.35


def colour(network: str) -> str:
    """The same one for a network in every figure."""
    return f"C{list(NETWORKS).index(network)}"


def band(axes: Any, places: Sequence[float], values: Sequence[Spread], network: str, scale: float = 1.0) -> None:
    """A line of means, times ``scale``, with its spread over the seeds as a band, in the colour of a network."""
    means = [scale * value.mean for value in values]
    low, high = ([scale * (v.mean + sign * v.deviation) for v in values] for sign in (-1, 1))
    axes.plot(places, means, "o-", color=colour(network), label=NETWORKS[network])
    axes.fill_between(places, low, high, color=colour(network), alpha=0.2, linewidth=0)


def bars(axes: Any, values: Mapping[str, Sequence[Spread]], columns: Sequence[str], labels: Mapping[str, str]) -> None:
    """Accuracies in percent, their spread over the seeds as a line: for each column a bar of each network.

    Args:
        axes: Matplotlib's.
        values: Of each network, one for each column.
        columns: A word below each.
        labels: What each network is called.
    """
    width = 0.8 / len(values)
    for place, (network, found) in enumerate(values.items()):
        axes.bar(
            [n + (place - (len(values) - 1) / 2) * width for n in range(len(found))],
            [100 * value.mean for value in found],
            width,
            yerr=[100 * value.deviation for value in found],
            color=colour(network),
            label=labels[network],
        )
    axes.set_xticks(range(len(columns)), columns, fontsize=7)
    axes.set_ylim(0, 100)
    axes.legend(fontsize=8)


def show_tiles(axes: Any, images: Tensor, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draws rows of images without axes, a word to the left of each row and below each column.

    Args:
        axes: Matplotlib's.
        images: ``[rows, columns, channels, H, W]`` in [0, 1], one or three channels.
        rows: A word for each row; fewer where the last rows have none.
        columns: A word for each column, likewise.
    """
    padded = nn.functional.pad(images.float().cpu(), (_GAP,) * 4, value=_GREY)
    height, width = padded.shape[-2:]
    picture = padded.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2).expand(-1, -1, 3)
    axes.imshow(picture.numpy(), vmin=0, vmax=1)
    axes.set_yticks([height * (row + 0.5) for row in range(len(rows))], rows, fontsize=7)
    axes.set_xticks([width * (column + 0.5) for column in range(len(columns))], columns, fontsize=7)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
