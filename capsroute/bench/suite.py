"""One run of the benchmark: every shape, pass and contender, checked, weighed and timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from . import flops, memory, peers, timing
from .ceilings import Ceilings
from .compare import fastest, ratio
from .shapes import Shape
from .workload import OURS, Workload, first_line

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALLOWED_ERROR = {torch.float32: 1e-3, torch.float64: 1e-9, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        shape: Name of the shape.
        sizes: B, I, d, J, D, T.
        passes: ``"forward"`` or ``"forward+backward"``.
        gradient: ``"all"`` or ``"last"``; None for the forward, which does not depend on it.
        contender: ``"capsroute"`` or a peer.
        dtype: Of the arguments.
        seconds: Median per call; None if it was not timed, for which ``problem`` has the reason.
        lower_seconds: Lower quartile.
        upper_seconds: Upper quartile.
        rounds: Rounds that were timed.
        speedup: Against the fastest eager contender of the same shape and pass; None without one.
        compile_speedup: Against the fastest compiled one.
        flops_per_second: By the convention of :mod:`.flops`.
        peak_share: ``flops_per_second`` against the measured limit.
        bandwidth_share: Compulsory traffic per second against the measured limit.
        limit_seconds: What operations and compulsory traffic take at least, by the measured limits.
        extra_bytes: See :func:`.memory.extra_bytes`.
        error: Largest difference to the reference in float64, relative to its largest element.
        problem: Why there are no figures, or None.
    """

    shape: str
    sizes: str
    passes: str
    gradient: str | None
    contender: str
    dtype: str
    seconds: float | None = None
    lower_seconds: float | None = None
    upper_seconds: float | None = None
    rounds: int = 0
    speedup: float | None = None
    compile_speedup: float | None = None
    flops_per_second: float | None = None
    peak_share: float | None = None
    bandwidth_share: float | None = None
    limit_seconds: float | None = None
    extra_bytes: int | None = None
    error: float | None = None
    problem: str | None = None

    @property
    def limit_share(self) -> float | None:
        """The limit in parts of the time; above 1 only for who does fewer operations than :mod:`.flops` counts."""
        return None if self.seconds is None or self.limit_seconds is None else self.limit_seconds / self.seconds


def by_pass(rows: Iterable[Row]) -> dict[tuple[str, str | None], list[Row]]:
    """The contenders beside each other: rows by shape and gradient (None for the forward), in their order."""
    passes: dict[tuple[str, str | None], list[Row]] = {}
    for row in rows:
        passes.setdefault((row.shape, row.gradient), []).append(row)
    return passes


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
        rows = {name: self._prepared(name, work) for name, work in works.items()}
        sound = {name: work for name, work in works.items() if rows[name].problem is None}
        self.tell(f"timing {len(sound)} contenders")
        timings = timing.interleaved(sound, rounds=self.plan.rounds)
        measured = [self._timed(row, timings.get(name)) for name, row in rows.items()]
        eager, compiled = (fastest(measured, family) for family in peers.FAMILIES)
        return [replace(row, speedup=ratio(eager, row), compile_speedup=ratio(compiled, row)) for row in measured]

    def _prepared(self, name: str, work: Callable[[], list[Tensor]]) -> Row:
        """The row of a contender without its times."""
        row = Row(
            shape=self.shape.name,
            sizes=self.shape.sizes(),
            passes="forward" if self.gradient is None else "forward+backward",
            gradient=self.gradient,
            contender=name,
            dtype=self.plan.dtype,
            problem=self.load.lack_of_memory(name, memory.available_bytes()),
        )
        if row.problem is not None:
            return row
        self.tell(f"compiling {name}" if name.startswith("compile") else f"checking {name}")
        if name == OURS:
            return self._measured(row, work)
        try:
            return self._measured(row, work)
        except Exception as error:  # a peer that fails, most of all in its compiler, must not end the run
            return replace(row, problem=f"failed: {type(error).__name__}: {first_line(error)}")

    def _measured(self, row: Row, work: Callable[[], list[Tensor]]) -> Row:
        error = self.load.error(work())
        if not error <= ALLOWED_ERROR[self.load.dtype]:  # NaN is wrong too
            return replace(row, error=error, problem=f"wrong result: differs from the reference by {error:.1e}")
        return replace(row, error=error, extra_bytes=memory.extra_bytes(work))

    def _timed(self, row: Row, times: timing.Timing | None) -> Row:
        if times is None:
            return row
        operations = flops.of_pass(self.shape, self.gradient)
        traffic = flops.compulsory_bytes(self.shape, self.load.x.element_size(), self.gradient)
        return replace(
            row,
            seconds=times.median,
            lower_seconds=times.lower,
            upper_seconds=times.upper,
            rounds=times.rounds,
            flops_per_second=operations / times.median,
            peak_share=operations / times.median / self.ceilings.flops,
            bandwidth_share=traffic / times.median / self.ceilings.bandwidth,
            limit_seconds=self.ceilings.seconds(operations, traffic),
        )
