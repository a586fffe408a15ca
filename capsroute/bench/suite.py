"""One run of the benchmark: every shape, pass and contender, checked, weighed and timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from capsroute.routing import checks

from . import contenders, flops, memory, peers, timing
from .ceilings import Ceilings
from .contenders import Work, fastest, ratio, wrong
from .names import grouped
from .shapes import Shape
from .workload import Workload

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALLOWED_ERROR = {torch.float32: 1e-3, torch.float64: 1e-9, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True)
class Row(contenders.Row):
    """One line of the table: a contender on a shape in a pass.

    Attributes:
        shape: Name of the shape.
        sizes: B, I, d, J, D, T.
        passes: ``"forward"`` or ``"forward+backward"``.
        gradient: ``"all"`` or ``"last"``; None for the forward, which does not depend on it.
        dtype: Of the arguments.
        speedup: Against the fastest eager contender of the same shape and pass; None without one.
        compile_speedup: Against the fastest compiled one.
        flops_per_second: By the convention of :mod:`.flops`.
        peak_share: ``flops_per_second`` against the measured limit.
        bandwidth_share: Compulsory traffic per second against the measured limit.
        limit_seconds: What operations and compulsory traffic take at least, by the measured limits.
        error: Largest difference to the reference in float64, relative to its largest element.
    """

    shape: str
    sizes: str
    passes: str
    gradient: str | None
    dtype: str
    speedup: float | None = None
    compile_speedup: float | None = None
    flops_per_second: float | None = None
    peak_share: float | None = None
    bandwidth_share: float | None = None
    limit_seconds: float | None = None
    error: float | None = None

    @property
    def limit_share(self) -> float | None:
        """The limit in parts of the time; above 1 only for who does fewer operations than :mod:`.flops` counts."""
        return None if self.seconds is None or self.limit_seconds is None else self.limit_seconds / self.seconds


def by_pass(rows: Iterable[Row]) -> dict[tuple[str, str | None], list[Row]]:
    """The contenders beside each other: rows by shape and gradient (None for the forward), in their order."""
    return grouped(rows, lambda row: (row.shape, row.gradient))


def title(passes: str, gradient: str | None) -> str:
    """``forward``, ``forward+backward (all)`` or ``forward+backward (last)``."""
    return passes if gradient is None else f"{passes} ({gradient})"


@dataclass(frozen=True)
class Plan:
    """What to run: names as on the command line."""

    shapes: Sequence[Shape]
    dtype: str = "float32"
    compare: Sequence[str] = peers.FAMILIES
    gradients: Sequence[str] = ("all", "last")
    rounds: int = timing.ROUNDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", checks.whole("rounds", self.rounds))  # frozen for others


def run(
    plan: Plan, ceilings: Ceilings, tell: Callable[[Shape, str], None] = lambda shape, text: None
) -> Iterator[tuple[Shape, list[Row]]]:
    """Run the plan on the CPU and yield the rows of each shape and pass as they are finished.

    Args:
        plan: What to run.
        ceilings: The limits to compare with.
        tell: Called with the shape and a few words on what is being done with it.
    """
    for shape in plan.shapes:
        for gradient in (None, *plan.gradients):
            yield shape, _Pass(shape, gradient, plan, ceilings, partial(tell, shape)).rows()


class _Pass:
    """All contenders on one shape, forward (``gradient`` None) or forward and backward."""

    def __init__(
        self, shape: Shape, gradient: str | None, plan: Plan, ceilings: Ceilings, tell: Callable[[str], None]
    ) -> None:
        self.shape, self.gradient, self.plan, self.ceilings, self.tell = shape, gradient, plan, ceilings, tell
        self.load = Workload(shape, DTYPES[plan.dtype], gradient)

    def rows(self) -> list[Row]:
        """Check and weigh each contender, then time all that work."""
        torch._dynamo.reset()  # graphs of other shapes would count towards the limit of recompilations
        works = {name: self.load.work(route) for name, route in self.load.routes(self.plan.compare).items()}
        checked = contenders.checked(map(self._begun, works), works, self._check, self.tell)
        timed = contenders.timed(checked, works, self.plan.rounds, self.tell, timing.WARMUP)
        eager, compiled = (fastest(timed, family) for family in peers.FAMILIES)
        return [
            replace(self._beside_limits(row), speedup=ratio(eager, row), compile_speedup=ratio(compiled, row))
            for row in timed
        ]

    def _begun(self, name: str) -> Row:
        return Row(
            shape=self.shape.name,
            sizes=self.shape.sizes(),
            passes="forward" if self.gradient is None else "forward+backward",
            gradient=self.gradient,
            contender=name,
            dtype=self.plan.dtype,
            problem=self.load.lack_of_memory(name, memory.available_bytes()),
        )

    def _check(self, row: Row, work: Work) -> Row:
        error = self.load.error(work())
        return replace(row, error=error, problem=wrong(error, ALLOWED_ERROR[self.load.dtype], "the reference"))

    def _beside_limits(self, row: Row) -> Row:
        if row.seconds is None:
            return row
        operations = flops.of_pass(self.shape, self.gradient)
        traffic = flops.compulsory_bytes(self.shape, self.load.x.element_size(), self.gradient)
        return replace(
            row,
            flops_per_second=operations / row.seconds,
            peak_share=operations / row.seconds / self.ceilings.flops,
            bandwidth_share=traffic / row.seconds / self.ceilings.bandwidth,
            limit_seconds=self.ceilings.seconds(operations, traffic),
        )
