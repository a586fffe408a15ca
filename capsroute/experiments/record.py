"""What an experiment measured, as JSON holds it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from capsroute.bench.environment import headline
from capsroute.bench.files import replace
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["Record", "Spread", "spread"]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; of one seed the deviation is 0."""

    mean: float
    deviation: float

    def text(self, digits: int = 2, scale: float = 1.0) -> str:
        """``mean ± deviation``, both times ``scale``."""
        return f"{self.mean * scale:.{digits}f} ± {self.deviation * scale:.{digits}f}"

    def percent(self, digits: int = 2) -> str:
        """The same of a share, in percent, without the sign."""
        return self.text(digits, 100.0)


def spread(values: Iterable[float]) -> Spread:
    """Mean and spread of what the seeds gave, at least one number."""
    numbers = list(values)
    return Spread(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else 0.0)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True)
class Record:
    """A run of an experiment.

    Args:
        experiment: Its name.
        scale: Sizes that it ran with, by name: of images as many as there were, however many were asked for. With
            ``full``, whether it was the full form.
        environment: What :func:`capsroute.bench.environment.describe` says.
        seconds: Duration.
        seeds: What each seed gave.
    """

    experiment: str
    scale: dict[str, Any]
    environment: dict[str, Any]
    seconds: float
    seeds: list[dict[str, Any]]

    @property
    def headline(self) -> str:
        """When, where and on how much, in one line."""
        sizes = self.scale
        return (
            f"{self.environment['date'][:10]}, {headline(self.environment)}; {sizes['images']:,} training images, "
            f"{_count(sizes['epochs'], 'epoch')}, {_count(len(self.seeds), 'seed')}, {self.seconds / 60:.1f} minutes"
        )

    def over_seeds(self, *path: str | int) -> Spread:
        """Mean and spread of a number that each seed has, found by these keys and indices, one inside the other."""
        return spread(self._at(seed, path) for seed in self.seeds)

    @staticmethod
    def _at(found: Any, path: Iterable[str | int]) -> float:
        for key in path:
            found = found[key]
        return float(found)

    def write(self, path: AnyPath) -> None:
        """Writes JSON in place of what the file held.

        Raises:
            TrainingError: A number is infinite or NaN, which JSON does not know; the file is as it was.
        """
        try:
            text = json.dumps(self.__dict__, indent=1, allow_nan=False)
        except ValueError as error:
            raise TrainingError(
                f"{self.experiment} measured a number that is not finite: {path} is not written"
            ) from error
        replace(path, text + "\n")

    @classmethod
    def read(cls, path: AnyPath) -> Record:
        """Inverse of :meth:`write`.

        Raises:
            TrainingError: The file cannot be read, or is of another kind.
        """
        path = as_path("path", path)
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, TypeError) as error:
            raise TrainingError(f"{path} is not what capsroute experiment writes") from error
