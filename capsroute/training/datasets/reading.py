"""How a data set is to be read, where there is a choice."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReadOptions"]


@dataclass(frozen=True)
class ReadOptions:
    """What may be asked of a reader; None leaves it to the reader, which says what it chose.

    Fields of the same names stand in :class:`~capsroute.training.TrainConfig`.

    Args:
        image_size: Height and width in pixels that images are brought to.
        channels: 1 for grey, 3 for colours.
        test_share: Share of the images of each class that is held out, above 0 and below 1.
        test_seed: Which ones are.
    """

    image_size: int | None = None
    channels: int | None = None
    test_share: float | None = None
    test_seed: int | None = None
