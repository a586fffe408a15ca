"""One run: training steps of one network that differ in who routes, checked, weighed and timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from capsroute.models import PRESETS
from capsroute.routing import reference

from . import memory, peers, timing
from .compare import fastest, ratio
from .suite import ALLOWED_ERROR
from .training import Step, Subject
from .workload import OURS, Workload, first_line

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
class Row:
    """The training step with one contender routing.

    Attributes:
        contender: ``"capsroute"`` or a peer.
        convolutions: Type of all but the routing.
        batch: Images per step.
        seconds: Median per step; None if it was not timed, for which ``problem`` has the reason.
        lower_seconds: Lower quartile.
        upper_seconds: Upper quartile.
        rounds: Rounds that were timed.
        images_per_second: ``batch`` over ``seconds``.
        routing_seconds: Median of the routing alone, forward and backward, in the same rounds, on random tensors of
            the sizes that it has in the step.
        routing_share: ``routing_seconds`` over ``seconds``.
        extra_bytes: Peak memory of a step beyond parameters, their gradients and the state of Adam.
        x_eager: Speed-up of the step over that with the fastest eager routing; None without one.
        x_compile: The same over the fastest compiled routing.
        error: Of the routing alone; see :meth:`.workload.Workload.error`.
        difference: Of the loss and of the gradient of each parameter in the first step, the largest relative
            difference to those with the reference routing, in the L2 norm.
        problem: Why there are no figures, or None.
    """

    contender: str
    convolutions: str
    batch: int
    seconds: float | None = None
    lower_seconds: float | None = None
    upper_seconds: float | None = None
    rounds: int = 0
    images_per_second: float | None = None
    routing_seconds: float | None = None
    routing_share: float | None = None
    extra_bytes: int | None = None
    x_eager: float | None = None
    x_compile: float | None = None
    error: float | None = None
    difference: float | None = None
    problem: str | None = None


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
        self.routing = Workload(self.subject.shape, torch.float32, "all")

    def rows(self) -> list[Row]:
        torch._dynamo.reset()  # graphs of an earlier run would count towards the limit of recompilations
        self.tell("taking a step with the reference")
        self.expected = self.subject.step(self._reference)()
        steps: dict[str, Step] = {}
        routings: dict[str, Callable[[], list[Tensor]]] = {}
        rows: dict[str, Row] = {}
        for name, route in self.routing.routes(self.plan.compare).items():
            step, routing = self.subject.step(route), self.routing.work(route)
            rows[name] = self._prepared(name, step, routing)
            if rows[name].problem is None:
                steps[name], routings[name] = step, routing
        self.tell(f"timing {len(steps)} contenders, {self.plan.rounds} rounds")
        turns: dict[str, timing.Work] = {_turn(name, "step"): step for name, step in steps.items()}
        turns |= {_turn(name, "routing"): routing for name, routing in routings.items()}
        times = timing.interleaved(turns, rounds=self.plan.rounds, warmup=1)  # each has run already
        for name in steps:
            rows[name] = self._timed(rows[name], times[_turn(name, "step")], times[_turn(name, "routing")])
        return with_ratios(list(rows.values()))

    def _reference(self, x: Tensor, weight: Tensor) -> Tensor:
        return reference.dynamic_routing(x, weight, iterations=self.subject.shape.iterations, eps=peers.EPS)

    def _prepared(self, name: str, step: Step, routing: Callable[[], list[Tensor]]) -> Row:
        """The row of a contender without its times."""
        row = Row(name, self.plan.convolutions, self.plan.batch)
        problem = self.routing.lack_of_memory(name, memory.available_bytes())
        if problem is not None:
            return replace(row, problem=problem)
        self.tell(f"compiling {name}" if name.startswith("compile") else f"checking {name}")
        try:
            return self._checked(row, step, routing)
        except Exception as error:  # a peer that fails, most of all in its compiler, must not end the run
            if name == OURS:
                raise
            return replace(row, problem=f"failed: {type(error).__name__}: {first_line(error)}")

    def _checked(self, row: Row, step: Step, routing: Callable[[], list[Tensor]]) -> Row:
        error = self.routing.error(routing())
        if not error <= ALLOWED_ERROR[torch.float32]:
            return replace(row, error=error, problem=f"wrong result: differs from the reference by {error:.1e}")
        difference = _difference(step(), self.expected)
        row = replace(row, error=error, difference=difference)
        if not difference <= ALLOWED_DIFFERENCE[self.plan.convolutions]:
            return replace(row, problem=f"wrong step: differs from that with the reference by {difference:.1e}")
        return replace(row, extra_bytes=memory.extra_bytes(step))

    def _timed(self, row: Row, step: timing.Timing, routing: timing.Timing) -> Row:
        return replace(
            row,
            seconds=step.median,
            lower_seconds=step.lower,
            upper_seconds=step.upper,
            rounds=step.rounds,
            images_per_second=self.plan.batch / step.median,
            routing_seconds=routing.median,
            routing_share=routing.median / step.median,
        )


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """The rows with what each step gains over that with the best eager and the best compiled routing."""
    eager, compiled = fastest(rows, "eager"), fastest(rows, "compile")
    return [replace(row, x_eager=ratio(eager, row), x_compile=ratio(compiled, row)) for row in rows]


def _turn(contender: str, part: str) -> str:
    return f"{contender}, {part}"


def _difference(results: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest distance of a tensor from the one expected, in parts of the norm of that one; NaN if any is."""
    distances = [(a - e).norm() / e.norm() for a, e in zip(results, expected, strict=True)]
    return float(torch.stack(distances).max())
