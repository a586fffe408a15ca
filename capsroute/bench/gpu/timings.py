"""The contenders in one cell of the comparison, measured one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from capsroute.bench import peers
from capsroute.bench.contenders import OURS, failure
from capsroute.bench.names import grouped
from capsroute.bench.peers import Route
from capsroute.bench.workload import Workload

from . import variants
from .ceilings import Ceilings, Floor
from .meter import Figures, Meter
from .plan import Cell, is_swept


@dataclass(frozen=True)
class Row:
    """One contender in one cell.

    Attributes:
        shape: Name.
        sizes: B, I, d, J, D, T.
        precision: Name.
        gradient: None for the forward, ``"all"`` or ``"last"`` for forward and backward.
        contender: ``"capsroute"``, a kernel of it such as ``"capsroute grid"``, or a peer such as ``"eager bmm"``.
        floor: See :meth:`.ceilings.Ceilings.floor`.
        figures: See :mod:`.meter`; None if it was not measured, for which ``problem`` has the reason.
        error: Largest difference to the reference in float64, relative to its largest element.
        kernel: What :func:`capsroute.explain` says of the call; None for peers.
        problem: Why there are no figures, or None.
    """

    shape: str
    sizes: str
    precision: str
    gradient: str | None
    contender: str
    floor: Floor
    figures: Figures | None = None
    error: float | None = None
    kernel: str | None = None
    problem: str | None = None

    @property
    def seconds(self) -> float | None:
        """Median on the device."""
        return None if self.figures is None else self.figures.kernel.median

    @property
    def floor_share(self) -> float | None:
        """The floor in parts of the time."""
        return self.floor.seconds / self.seconds if self.seconds else None


Contenders = dict[str, Row]


def by_shape(rows: Iterable[Row]) -> dict[str, Contenders]:
    """Rows of one pass and precision by shape and contender; the shapes that differ in their batch alone come last."""
    shapes = grouped(rows, lambda row: row.shape)
    return {name: {row.contender: row for row in shapes[name]} for name in sorted(shapes, key=is_swept)}


class Comparison:
    """A cell with its arguments on the device.

    Args:
        cell: What is compared.
        meter: Measures on the device.
        ceilings: For the floor.
    """

    def __init__(self, cell: Cell, meter: Meter, ceilings: Ceilings) -> None:
        self.cell, self.meter = cell, meter
        self.floor = ceilings.floor(cell)
        self.load = Workload(cell.shape, cell.precision.dtype, cell.gradient, meter.device.place)

    def ours_and_eager(self, eager: bool) -> Iterator[Row]:
        """The package, its kernels for each fusion if there is no backward, and plain PyTorch if ``eager``."""
        kernels = variants.FUSIONS if self.cell.gradient is None else ()
        for variant in (variants.AUTOMATIC, *kernels):
            yield self._row(variants.contender(variant), self.load.ours(), variant)
        if eager:
            gradient = self.cell.gradient or "all"
            for name, route in peers.contenders(["eager"], self.cell.shape.iterations, gradient).items():
                yield self._row(name, route)

    def compiled(self, formulation: str, mode: str | None) -> Row:
        """One formulation under ``torch.compile``."""
        torch._dynamo.reset()  # graphs of other shapes would count towards the limit of recompilations
        gradient = self.cell.gradient or "all"
        route = peers.compiled(formulation, self.cell.shape.iterations, gradient, mode)
        return self._row(" ".join(["compile", formulation, *([mode] if mode else [])]), route)

    def _row(self, contender: str, route: Route, variant: str | None = None) -> Row:
        """Measure a contender. One that fails has a row that says so, unless the device fails with it."""
        cell = self.cell
        row = Row(cell.shape.name, cell.shape.sizes(), cell.precision.name, cell.gradient, contender, self.floor)
        problem = self.load.lack_of_memory(contender, self.meter.device.free_bytes())
        if problem is not None:
            return replace(row, problem=problem)
        try:
            with cell.precision.in_force(), variants.forced(variant or variants.AUTOMATIC):
                kernel = None if variant is None else self.load.explanation()
                work = self.load.work(route)
                error = self.load.error(work())
                return replace(row, figures=self.meter.figures(work), error=error, kernel=kernel)
        except Exception as error:  # whatever a compiler throws
            self.meter.device.synchronize()  # an error that the device does not recover from goes on from here
            return replace(row, problem=variants.REFUSED if variants.is_refusal(error) else failure(error))
        finally:
            self.meter.device.release()


def failed(row: Row) -> bool:
    """Whether a kernel of the package could not do its work, though it takes the problem."""
    return row.contender.startswith(OURS) and row.problem not in (None, variants.REFUSED)
