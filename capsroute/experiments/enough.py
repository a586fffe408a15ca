"""Whether the images that an experiment was given are enough for it."""

from __future__ import annotations

from capsroute.training.datasets import ImageSet
from capsroute.training.errors import TrainingError

__all__ = ["require_classes", "require_images"]


def require_classes(images: ImageSet, least: int, option: str) -> None:
    """Refuses images of too few classes, before a training rather than after it.

    Raises:
        TrainingError: There are fewer than ``least``; it says that ``option``, such as ``"--images"``, gives more.
    """
    found = len(images.labels.unique())
    if found < least:
        raise TrainingError(
            f"the first {len(images):,} images are of {found} of the classes, and at least {least} are needed: "
            f"raise {option}"
        )


def require_images(images: ImageSet, least: int, option: str) -> None:
    """Refuses too few images, likewise.

    Raises:
        TrainingError: There are fewer than ``least``.
    """
    if len(images) < least:
        raise TrainingError(f"at least {least} images are needed, got {len(images):,}: raise {option}")
