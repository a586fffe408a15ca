"""Many small images as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

__all__ = ["show_tiles"]

_GAP = 1  # pixels around each image
_GREY = 0.35


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
