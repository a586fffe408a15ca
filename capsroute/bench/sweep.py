"""How the cost grows: the MNIST shape with one of its sizes changed at a time, and on more threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from . import ceilings, shapes, suite
from .ceilings import Ceilings
from .names import check
from .shapes import Shape
from .suite import Plan, Row

BASE = "mnist"
THREADS = "threads"
_FIELDS = {"B": "batch", "I": "inputs", "J": "outputs", "T": "iterations"}
AXES = (*_FIELDS, THREADS)
_VALUES = {
    "B": (1, 4, 16, 32, 64, 128, 256),
    "I": (72, 144, 288, 576, 1152, 2304, 4608),
    "J": (2, 4, 10, 16, 32, 64, 128),
    "T": (1, 2, 3, 4, 5, 7, 9),
}


@dataclass(frozen=True)
class Point:
    """A place on an axis.

    Attributes:
        axis: One of :data:`AXES`.
        value: The size there, or the number of threads.
    """

    axis: str
    value: int

    @property
    def shape(self) -> Shape:
        """The base with this one size, and a name that says so."""
        changed: dict[str, Any] = {"name": f"{BASE} {self.axis}={self.value}"}
        if self.axis in _FIELDS:
            changed[_FIELDS[self.axis]] = self.value
        return replace(shapes.by_names([BASE])[0], **changed)


def check_axes(axes: Sequence[str]) -> None:
    """Raise a ValueError that lists the axes if one of these is unknown, or if there is none."""
    check("sweep", axes, AXES)


def points(axis: str) -> list[Point]:
    """The places on an axis. Threads are doubled up to the number that torch uses now."""
    if axis in _VALUES:
        return [Point(axis, value) for value in _VALUES[axis]]
    most = torch.get_num_threads()
    return [Point(axis, count) for count in sorted({*(2**k for k in range(most.bit_length())), most})]


def run(
    axes: Sequence[str],
    plan: Plan,
    limits: Ceilings,
    tell: Callable[[Shape, str], None] = lambda shape, text: None,
) -> Iterator[tuple[Point, Shape, list[Row]]]:
    """Run a plan at every point of every axis instead of on its shapes; yields as :func:`.suite.run` does.

    Args:
        axes: Some of :data:`AXES`.
        plan: What to measure.
        limits: Those at the thread count of the run; points with another count measure their own.
        tell: As of :func:`.suite.run`.
    """
    for point in (point for axis in axes for point in points(axis)):
        with _threads_of(point):
            its_limits = limits if point.axis in _FIELDS else ceilings.measure(suite.DTYPES[plan.dtype])
            for shape, rows in suite.run(replace(plan, shapes=[point.shape]), its_limits, tell):
                yield point, shape, rows


@contextlib.contextmanager
def _threads_of(point: Point) -> Iterator[None]:
    before = torch.get_num_threads()
    if point.axis == THREADS:
        torch.set_num_threads(point.value)
    try:
        yield
    finally:
        torch.set_num_threads(before)
