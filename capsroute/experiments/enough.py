"""Whether the images that an experiment was given are enough for it."""

from __future__ import annotations

from capsroute.training.datasets import ImageSet
from capsroute.training.errors import TrainingError

__all__ = ["require_classes", "require_images"]


def require_classes(images: ImageSet, least: int, option: str) -> None:
    """Refuses images of too few classes, before a training rather than after it.

    Args:
        images: The first of a data set, as many as an option says.
        least: Classes that are needed.
        option: Of the command, such as ``"--images"``.

    Raises:
        TrainingError: There are fewer classes.
    """
    found = len(images.labels.unique())
    if found < least:
        raise TrainingError(
            f"the first {len(images):,} images are of {found} of the classes, and at least {least} are needed: "
            f"raise {option}"
        )


def require_images(images: ImageSet, least: int, option: str) -> None:
    """Refuses too few images, likewise.

    Args:
        images: The first of a data set, as many as an option says.
        least: Images that are needed.
        option: Of the command.

    Raises:
        TrainingError: There are fewer images.
    """
    if len(images) < least:
        raise TrainingError(f"at least {least} images are needed, got {len(images):,}: raise {option}")
