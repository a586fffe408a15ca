"""What an experiment is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from capsroute.experiments.context import Context
from capsroute.experiments.record import Record
from capsroute.experiments.scale import Scale

__all__ = ["Experiment", "Outcome"]


class Outcome(NamedTuple):
    """What one seed gave."""

    numbers: dict[str, Any]
    """Everything measured, as JSON holds it."""
    pictures: dict[str, Tensor]
    """Images for the figure, which are not kept."""
    images: int
    """Training images that there were: fewer than were asked for where the data set has no more."""
    test_images: int
    """Test images, likewise."""


@dataclass(frozen=True)
class Experiment:
    """A claim, and how it is tested.

    Args:
        name: As on the command line.
        quick: The default size, for two cores and a few minutes.
        full: The real thing.
        steps: Training steps of one seed, for the progress bar.
        run: Trains and measures with one seed.
        report: Lines of Markdown that say what was measured, from all seeds.
        draw: Matplotlib's figure, from all seeds and the pictures of the first.
        reads_files: Whether its images come from a folder, or are made.
    """

    name: str
    quick: Scale
    full: Scale
    steps: Callable[[Context], int]
    run: Callable[[Context, int], Outcome]
    report: Callable[[Record], list[str]]
    draw: Callable[[Record, Mapping[str, Tensor]], Any]
    reads_files: bool = True
