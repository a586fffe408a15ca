"""A whole run in its order: what matters most comes first, and what there is no time for is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from capsroute import testing
from capsroute.bench import environment, peers
from capsroute.bench.contenders import fastest, first_line
from capsroute.bench.shapes import Shape

from . import ceilings, correctness
from .budget import Budget
from .device import Device
from .environment import commit
from .folder import Folder
from .meter import Meter
from .plan import PASSES, Cell, Plan, cells
from .record import Record
from .timings import Comparison, Row

_CHECKS = 0.5  # share of the time after which no check is begun


class _EndedError(Exception):
    """Nothing more can be done; the message says why."""


class Session:
    """One run.

    Args:
        plan: What to look at.
        device: What to measure.
        folder: Where every finding goes at once.
        tell: Called with lines for whoever watches.
        budget: Counts the time; by default from now on.
    """

    def __init__(
        self, plan: Plan, device: Device, folder: Folder, tell: Callable[[str], None], budget: Budget | None = None
    ) -> None:
        self.plan, self.device, self.folder, self.tell = plan, device, folder, tell
        self.budget = budget or Budget(plan.seconds)
        self.meter = Meter(device)
        about = {**environment.describe(), "commit": commit(), "gpu": device.describe()}
        self.record = Record(about)

    def run(self) -> Record:
        """Do all of it. Whatever ends the run early, what was found until then is written."""
        record = self.record
        self.tell(f"{record.environment['gpu']['name']}, capsroute {record.environment['capsroute']['version']}")
        try:
            with testing.backend(self.device.backend):
                self._stages()
            record.finished = True
        except _EndedError as error:
            record.faults.append(f"The run ended early: {error}")
        finally:
            self.folder.write(record)
            self.folder.draw(record)
        return record

    def _stages(self) -> None:
        first, *others = self.plan.ordered()
        self._state("at the start")
        self.limits = self._measure_ceilings()
        checks = [(shape.name, partial(self._check, shape)) for shape in (first, *others)]
        self._each("checks of", "check", checks, share=_CHECKS)
        self._state("after the checks")
        self._compare(cells(first, self.plan.precisions))
        self._compile(cells(first, self.plan.precisions))
        self._compare(self.plan.sweep())
        self.folder.draw(self.record)
        self._compare(cell for shape in others for cell in cells(shape, self.plan.precisions))
        self.folder.draw(self.record)
        self._state("after the comparison with eager")
        for gradients in (PASSES[:2], PASSES[2:]):
            for precision in self.plan.precisions:
                self._compile(Cell(shape, precision, gradient) for gradient in gradients for shape in others)
        self._compile(self.plan.sweep())
        self._state("at the end")

    def _each(self, title: str, kind: str, works: Iterable[tuple[str, Callable[[], None]]], share: float = 1.0) -> None:
        """Do named pieces of work as long as there is time, write what each finds, and name those left out."""
        left_out = []
        for name, work in works:
            if not self.budget.allows(kind, share):
                left_out.append(name)
                continue
            try:
                with self.budget.spending(kind):
                    work()
            except RuntimeError as error:
                self.record.faults.append(f"{title} {name}: {first_line(error)}")
                self._be_alive(error)
            self.folder.write(self.record)
        if left_out:
            self.record.notes.append(f"Left out for lack of time: {title} {'; '.join(left_out)}.")

    def _be_alive(self, error: RuntimeError) -> None:
        """An error in a kernel can leave the device unable to do anything more."""
        try:
            self.device.synchronize()
        except RuntimeError:
            raise _EndedError(f"the device stopped working: {first_line(error)}") from error

    def _measure_ceilings(self) -> ceilings.Ceilings:
        try:
            limits = ceilings.measure(self.device, self.meter)
        except RuntimeError as error:
            raise _EndedError(f"the limits of the device could not be measured: {first_line(error)}") from error
        self.record.ceilings = limits
        self.device.release()
        rates = ", ".join(f"{name} {rate / 1e12:.1f}" for name, rate in limits.matrix.items())
        self.tell(f"limits: {limits.bandwidth / 1e9:.0f} GB/s, TFLOP/s of products: {rates}")
        self.folder.write(self.record)
        return limits

    def _check(self, shape: Shape) -> None:
        found = []
        for check in correctness.check(shape, self.device):
            found.append(check)
            self.record.checks.append(check)
            if check.passed is False:
                self.tell(f"WRONG: {shape.name}, {check.precision}, {check.gradient}, {check.variant}: {check.problem}")
        passed = sum(check.passed is True for check in found)
        self.tell(f"checked {shape.name}: {passed} of {sum(c.passed is not None for c in found)} within the rule")

    def _compare(self, wanted: Iterable[Cell]) -> None:
        self._each("timing of", "compare", [(str(cell), partial(self._compare_cell, cell)) for cell in wanted])

    def _compare_cell(self, cell: Cell) -> None:
        comparison = Comparison(cell, self.meter, self.limits)
        self._keep(cell, comparison.ours_and_eager("eager" in self.plan.compare))

    def _compile(self, wanted: Iterable[Cell]) -> None:
        if "compile" in self.plan.compare:
            works = [(str(cell), partial(self._compile_cell, cell)) for cell in wanted]
            self._each("torch.compile of", "compile", works)

    def _compile_cell(self, cell: Cell) -> None:
        """Of the formulation that is faster as it is, or of the one that needs less memory if neither ran."""
        key = (cell.shape.name, cell.precision.name, cell.gradient)
        rows = [row for row in self.record.rows if (row.shape, row.precision, row.gradient) == key]
        eager = fastest(rows, "eager")
        formulation = eager.contender.split()[1] if eager is not None else list(peers.FORMULATIONS)[-1]
        comparison = Comparison(cell, self.meter, self.limits)
        self._keep(cell, [comparison.compiled(formulation, self.plan.compile_mode)])

    def _keep(self, cell: Cell, rows: Iterable[Row]) -> None:
        said = []
        for row in rows:
            self.record.rows.append(row)
            said.append(f"{row.contender} {_time(row)}")
        self.tell(f"{cell}: {', '.join(said)}")

    def _state(self, moment: str) -> None:
        seconds = round(self.budget.spent(), 1)
        self.record.states.append({"moment": moment, "seconds": seconds, **self.device.state()})


def _time(row: Row) -> str:
    return f"{row.seconds * 1e6:.1f} µs" if row.seconds is not None else f"({row.problem})"
