"""How much an experiment computes, and whether the images that it was given are enough for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from capsroute.routing import checks
from capsroute.training.datasets import ImageSet
from capsroute.training.errors import TrainingError

__all__ = ["Scale", "require_classes", "require_images"]


@dataclass(frozen=True)
class Scale:
    """Sizes that an experiment's default and its ``--full`` form differ in.

    Args:
        preset: Of the capsule network, a name in :data:`capsroute.models.PRESETS`.
        images: Training images, the first ones of the data set; None for all.
        test_images: Test images, likewise.
        epochs: Passes over the training images.
        seeds: Independent repetitions, each with its own parameters and order of images.
        batch_size: Images per step.
        lr_decay: Factor on the learning rate per epoch.

    Raises:
        TrainingError: A number is none, or below 1.
    """

    preset: str = "small"
    images: int | None = None
    test_images: int | None = None
    epochs: int = 3
    seeds: int = 3
    batch_size: int = 64
    lr_decay: float = 0.6

    def __post_init__(self) -> None:
        for name in ("images", "test_images", "epochs", "seeds", "batch_size"):
            value = getattr(self, name)
            if value is not None:
                try:
                    object.__setattr__(self, name, checks.whole(name, value))  # frozen for others
                except (TypeError, ValueError) as error:
                    raise TrainingError(str(error)) from None

    def changed(self, **given: int | None) -> Scale:
        """The same with those values that are given; None is not."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    def training_part(self, images: ImageSet) -> ImageSet:
        """The training images to use."""
        return images[: self.images]

    def test_part(self, images: ImageSet) -> ImageSet:
        """The test images to use."""
        return images[: self.test_images]


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
