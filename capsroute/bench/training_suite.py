"""One run: training steps of one network that differ in who routes, checked, weighed and timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from capsroute.models import PRESETS

from . import contenders, memory, peers, timing
from .contenders import Work, fastest, ratio, wrong
from .suite import ALLOWED_ERROR
from .training import Subject
from .workload import Workload

ROUNDS = 7  # a step takes a second
ALLOWED_DIFFERENCE = {"float32": 1e-3, "bfloat16": 0.02}  # of loss and gradients to those with the reference routing


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        batch: Images per step.
        convolutions: ``"float32"`` or ``"bfloat16"``; see :class:`.training.Subject`.
        compare: Families of peers.
        rounds: Rounds that are timed.
        network: Options of :class:`~capsroute.models.CapsNet`.
    """

    batch: int = 128
    convolutions: str = "float32"
    compare: Sequence[str] = peers.FAMILIES
    rounds: int = ROUNDS
    network: Mapping[str, Any] = field(default_factory=lambda: PRESETS["mnist"])


@dataclass(frozen=True)
class Row(contenders.Row):
    """The training step with one contender routing.

    Attributes:
        convolutions: Type of all but the routing.
        batch: Images per step.
        images_per_second: ``batch`` over ``seconds``.
        routing_seconds: Median of the routing alone, forward and backward, in the same rounds, on random tensors of
            the sizes that it has in the step.
        routing_share: ``routing_seconds`` over ``seconds``.
        x_eager: Speed-up of the step over that with the fastest eager routing; None without one.
        x_compile: The same over the fastest compiled routing.
        error: Of the routing alone; see :meth:`.workload.Task.error`.
        difference: Of the loss and of the gradient of each parameter in the first step, the largest relative
            difference to those with the reference routing, in the L2 norm.
    """

    convolutions: str
    batch: int
    images_per_second: float | None = None
    routing_seconds: float | None = None
    routing_share: float | None = None
    x_eager: float | None = None
    x_compile: float | None = None
    error: float | None = None
    difference: float | None = None


def run(plan: Plan, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Check and weigh the step with each contender, then time those that are right.

    Args:
        plan: What to run.
        tell: Called with a few words on what is being done.
    """
    return _Run(plan, tell).rows()


class _Run:
    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self.plan, self.tell = plan, tell
        self.subject = Subject(plan.network, plan.batch, plan.convolutions)
        self.load = Workload(self.subject.shape, torch.float32, "all")

    def rows(self) -> list[Row]:
        torch._dynamo.reset()  # graphs of an earlier run would count towards the limit of recompilations
        self.tell("taking a step with the reference")
        self.expected = self.subject.step(self.load.expected)()
        routes = self.load.routes(self.plan.compare)
        steps: dict[str, Work] = {name: self.subject.step(route) for name, route in routes.items()}
        self.routings = {name: self.load.work(route) for name, route in routes.items()}
        rows = contenders.checked(map(self._begun, routes), steps, self._check, self.tell)
        sound = [name for name, row in rows.items() if row.problem is None]
        self.tell(f"timing {len(sound)} contenders, {self.plan.rounds} rounds")
        turns = {
            f"{name}, {part}": of[name] for part, of in (("step", steps), ("routing", self.routings)) for name in sound
        }
        times = timing.interleaved(turns, rounds=self.plan.rounds, warmup=1)  # each has run already
        for name in sound:
            rows[name] = self._timed(rows[name], times[f"{name}, step"], times[f"{name}, routing"])
        return with_ratios(list(rows.values()))

    def _begun(self, name: str) -> Row:
        problem = self.load.lack_of_memory(name, memory.available_bytes())
        return Row(self.plan.convolutions, self.plan.batch, contender=name, problem=problem)

    def _check(self, row: Row, step: Work) -> Row:
        """By the routing alone, and only if that is right by the whole step."""
        error = self.load.error(self.routings[row.contender]())
        row = replace(row, error=error, problem=wrong(error, ALLOWED_ERROR[torch.float32], "the reference"))
        if row.problem is not None:
            return row
        difference = contenders.distance(step(), self.expected)
        allowed = ALLOWED_DIFFERENCE[self.plan.convolutions]
        problem = wrong(difference, allowed, "that with the reference", "step")
        return replace(row, difference=difference, problem=problem)

    def _timed(self, row: Row, step: timing.Timing, routing: timing.Timing) -> Row:
        return replace(
            contenders.with_times(row, step),
            images_per_second=self.plan.batch / step.median,
            routing_seconds=routing.median,
            routing_share=routing.median / step.median,
        )


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """The rows with what each step gains over that with the best eager and the best compiled routing."""
    eager, compiled = (fastest(rows, family) for family in peers.FAMILIES)
    return [replace(row, x_eager=ratio(eager, row), x_compile=ratio(compiled, row)) for row in rows]
