"""Images above their reconstructions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

from torch import Tensor

from capsroute.inference.prediction import Prediction
from capsroute.training.extras import require

__all__ = ["draw_reconstructions"]

_COLUMNS = 10
_SIDE = 96  # about, of an image in the picture, in pixels
_GAP = 8
_CAPTION = 16
_PURPOSE = "drawing reconstructions"


def draw_reconstructions(file: BinaryIO, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Draws each image as the network took it, above what its decoder makes of it, as PNG.

    Args:
        file: To write into.
        predictions: With reconstructions; at least one.
        classes: Name of each class.

    Raises:
        ValueError: A prediction has no reconstruction.
        TrainingError: Pillow is not installed.
    """
    image_module = require("PIL.Image", _PURPOSE)
    draw_module = require("PIL.ImageDraw", _PURPOSE)
    height, width = predictions[0].image.pixels.shape[1:]
    scale = math.ceil(_SIDE / max(height, width))
    cell_width, cell_height = scale * width, scale * height
    columns = min(len(predictions), _COLUMNS)
    rows = math.ceil(len(predictions) / columns)
    pitch_x, pitch_y = cell_width + _GAP, _CAPTION + 2 * cell_height + 2 * _GAP
    canvas = image_module.new("RGB", (_GAP + columns * pitch_x, _GAP + rows * pitch_y), "white")
    draw = draw_module.Draw(canvas)
    for place, prediction in enumerate(predictions):
        if prediction.reconstruction is None:
            raise ValueError("predictions must have reconstructions")
        left, top = _GAP + place % columns * pitch_x, _GAP + place // columns * pitch_y
        caption = f"{classes[prediction.label]}  {prediction.scores[prediction.label]:.2f}"
        draw.text((left, top), caption, fill="black")
        below = top + _CAPTION
        for pixels in (prediction.image.pixels, prediction.reconstruction):
            canvas.paste(_enlarged(image_module, pixels, (cell_width, cell_height)), (left, below))
            below += cell_height + _GAP // 2
    canvas.save(file, format="PNG")


def _enlarged(image_module: Any, pixels: Tensor, size: tuple[int, int]) -> Any:
    """An image of Pillow, every pixel still a square."""
    array = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    image = image_module.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    return image.convert("RGB").resize(size, image_module.Resampling.NEAREST)
