"""Images that are held out to test on, as many of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from capsroute.training.datasets.facts import UNNAMED, DatasetFacts
from capsroute.training.datasets.imageset import Dataset, ImageSet

__all__ = ["SEED", "SHARE", "held_out", "held_out_places", "mixed"]

SHARE = 0.2
"""Of each class, unless told otherwise."""
SEED = 0
"""Of the draw, unless told otherwise: the same in every run, so that accuracies can be compared."""


def held_out(images: ImageSet, share: float = SHARE, seed: int = SEED, facts: DatasetFacts = UNNAMED) -> Dataset:
    """A data set from images that come without a test set.

    Args:
        images: With labels ``[N]``.
        share: Of each class that is held out, above 0 and below 1; at least one image, and not the last one.
        seed: Of the draw, whatever that of the training is.
        facts: What the images show.

    Raises:
        ValueError: The share is out of its range, a label is no class number, or a class has one image.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1, got {share}")
    if images.labels.dim() != 1:
        raise ValueError(
            f"images must have labels of the shape [N] to be held out by class, got {list(images.labels.shape)}"
        )
    train, test = held_out_places(images.labels, share, seed)
    return Dataset(images[train], images[test], facts)


def held_out_places(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Places to train on, in their order, and places to test on, mixed so that the first ones are of all classes.

    Raises:
        ValueError: A class has one image.
    """
    generator = torch.Generator().manual_seed(seed)
    held = []
    for label in labels.unique().tolist():
        places = (labels == label).nonzero().squeeze(1)
        if len(places) < 2:
            raise ValueError(f"class {label} has one image, where one to train on and one to test on are the least")
        count = min(max(1, round(share * len(places))), len(places) - 1)
        held.append(places[torch.randperm(len(places), generator=generator)[:count]])
    test = torch.cat(held)
    test = test[torch.randperm(len(test), generator=generator)]
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[test] = False
    return kept.nonzero().squeeze(1), test


def mixed(images: ImageSet) -> ImageSet:
    """The images in another order than by class, the same at any time, so that the first ones are of all classes."""
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
