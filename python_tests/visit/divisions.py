"""``python -m python_tests.visit.divisions --out DIR``: the time of every division that the planner may choose from.

csrc/cuda/plan.cpp chooses how a problem is divided over blocks and warps by a model of a few constants. Here each
division is forced in turn and timed, so that the table shows where the model takes another than the fastest, and what
that costs: how iterations are fused and how many tiles of samples a block takes, forward; how many outputs a warp of
the last pass holds and how many warps there are, with backward.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import capsroute
from capsroute import testing
from capsroute.bench import files, peers, shapes
from capsroute.bench.gpu import variants
from capsroute.bench.gpu.budget import Budget
from capsroute.bench.gpu.device import Device
from capsroute.bench.gpu.meter import Meter
from capsroute.bench.gpu.plan import PRECISIONS, Cell, passes_of
from capsroute.bench.names import grouped
from capsroute.bench.shapes import Shape
from capsroute.bench.texts import markdown_table, significant
from capsroute.bench.workload import Workload

_TILES = (1, 2, 4, 8)
_LAST_OUTPUTS = (1, 2, 4, 8, 16)
_LAST_WARPS = (4, 8, 16, 32, 64)
_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Division:
    """What is forced, see :func:`capsroute.testing.cuda_division`; all automatic is the choice of the model."""

    fusion: str = variants.AUTOMATIC
    tiles: int = 0
    last_outputs: int = 0
    last_warps: int = 0

    def __str__(self) -> str:
        given = [f"{name} {value}" for name, value in asdict(self).items() if value not in (0, variants.AUTOMATIC)]
        return ", ".join(given) or variants.AUTOMATIC


@dataclass(frozen=True)
class Timed:
    """One division of one cell: median seconds on the device, the error as in the benchmark, and what was taken."""

    shape: str
    precision: str
    gradient: str | None
    division: str
    seconds: float
    error: float
    kernel: str


def divisions(gradient: str | None) -> list[Division]:
    """The model's choice, then all others that the pass can have."""
    if gradient is None:
        return [Division(), *(Division(fusion, tiles) for fusion in variants.FUSIONS for tiles in _TILES)]
    outputs = [Division(last_outputs=outputs) for outputs in _LAST_OUTPUTS]
    warps = [Division(last_warps=warps) for warps in _LAST_WARPS]
    return [Division(), *outputs, *warps]


def timed(cell: Cell, device: Device, meter: Meter) -> Iterator[Timed]:
    """Each division of a cell that the device can run."""
    load = Workload(cell.shape, cell.precision.dtype, cell.gradient, device.place)
    work = load.work(load.ours())
    with cell.precision.in_force(), testing.backend(device.backend):
        for division in divisions(cell.gradient):
            if division.last_outputs > cell.shape.outputs:
                continue
            forced = testing.cuda_division(
                tiles=division.tiles, last_outputs=division.last_outputs, last_warps=division.last_warps
            )
            with testing.cuda_kernel("fused", division.fusion), forced:
                try:
                    error = load.error(work())
                except RuntimeError as refusal:
                    if not variants.is_refusal(refusal):
                        raise
                    continue
                seconds = meter.kernel(work, meter.host(work, calls=3)).median
                kernel = capsroute.explain(load.x, load.weight, iterations=cell.shape.iterations, eps=peers.EPS)
            yield Timed(cell.shape.name, cell.precision.name, cell.gradient, str(division), seconds, error, kernel)
    device.release()


def document(found: Sequence[Timed], left_out: Sequence[str]) -> str:
    """For each cell the model's choice beside the fastest, then all times."""
    by_cell = grouped(found, lambda one: (one.shape, one.precision, one.gradient))
    overview = []
    for (shape, precision, gradient), ones in by_cell.items():
        chosen, best = ones[0], min(ones, key=lambda one: one.seconds)
        times = [significant(one.seconds, 1e6) for one in (chosen, best)]
        ratio = f"{chosen.seconds / best.seconds:.2f}"
        overview.append([f"{shape}, {precision}, {passes_of(gradient)}", *times, ratio, best.division])
    everything = [
        [f"{one.shape}, {one.precision}, {passes_of(one.gradient)}", one.division, significant(one.seconds, 1e6)]
        for one in found
    ]
    head = ("", "model's choice, µs", "fastest, µs", "ratio", "the fastest is")
    lines = ["# Divisions", "", *markdown_table(head, overview), "", "## All", ""]
    lines += markdown_table(("", "division", "µs"), everything)
    lines += ["", f"Left out for lack of time: {'; '.join(left_out)}."] if left_out else []
    return "\n".join(lines) + "\n"


def execute(cells: Iterable[Cell], device: Device, out: Path, seconds: float) -> None:
    """Time the cells as long as there is time; what is known is written after each."""
    budget, meter = Budget(seconds), Meter(device)
    found: list[Timed] = []
    left_out: list[str] = []
    for cell in cells:
        if not budget.allows("cell"):
            left_out.append(str(cell))
            continue
        with budget.spending("cell"):
            found += timed(cell, device, meter)
        content = {"device": device.describe(), "times": [asdict(one) for one in found], "left_out": left_out}
        files.write_json(out / "divisions.json", content)
    files.replace(out / "divisions.md", document(found, left_out))


def cells(wanted: Sequence[Shape]) -> list[Cell]:
    """Forward of all shapes before any backward, as it decides more."""
    precisions = [PRECISIONS[name] for name in _PRECISIONS]
    return [Cell(shape, precision, g) for g in (None, "all") for precision in precisions for shape in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.visit.divisions", description=__doc__)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the tables, made if absent")
    parser.add_argument("--seconds", metavar="S", type=float, default=400.0, help="begin nothing after S (400)")
    parser.add_argument("--rehearse", action="store_true", help="a small shape on the emulation, with its times")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.rehearse:
        from ..bench.gpu.stand_in import CpuDevice, quick

        with quick():
            execute(cells([_SMALL]), CpuDevice("cuda_emulated"), given.out, given.seconds)
    else:
        execute(cells(shapes.SHAPES), Device(), given.out, given.seconds)
    return 0


_SMALL = replace(shapes.by_names(["mnist"])[0], batch=130, inputs=5, outputs=3)

if __name__ == "__main__":
    raise SystemExit(main())
