"""Documents of committed results: what ``capsroute bench`` wrote as JSON, as tables and figures.

A folder of results holds, each if it was measured:

* ``shapes.json``: ``capsroute bench --json``, all shapes in float32; ``shapes-*.json`` the same in other types;
* ``sweeps.json``: ``capsroute bench --sweep … --json``;
* ``training.json``, ``training-*.json``: ``capsroute bench training --json``.

All that is written here follows from these files alone. So a test can hold the documents to them, and no figure is ever
copied by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from capsroute.training.paths import AnyPath, as_path

from . import environment, figures_training, plots
from .ceilings import Ceilings
from .contenders import OURS, fastest, ratio
from .panels import PEERS
from .record import Record
from .suite import Row, by_pass, title
from .sweep import Point
from .texts import Columns, number, paragraph, significant, table
from .training_suite import Row as TrainingRow

BEGIN = "<!-- figures:begin, written by make figures -->"
END = "<!-- figures:end -->"
SHAPES = "shapes.json"
SWEEPS = "sweeps.json"
TRAINING = "training.json"

_GRADIENTS = (None, "all", "last")
_LEGEND = (
    "Times are medians in ms, of contenders that take turns in one run. *eager* and *compile* are the faster of two "
    "formulations in plain PyTorch, and the faster one of both under `torch.compile`; *× eager* and *× compile* are "
    "how many times longer these take than capsroute. *of peak* is the share of the measured multiply-adds per second "
    "that capsroute reaches, *MiB* the memory taken beyond arguments, results and returned gradients."
)

T = TypeVar("T")
RowT = TypeVar("RowT", Row, TrainingRow)


class ResultsError(Exception):
    """The documents cannot be made; the message is one sentence."""


@dataclass(frozen=True)
class Results:
    """What a folder holds.

    Attributes:
        shapes: Runs over the table of shapes by file name, ``shapes.json`` first.
        sweeps: The run over sizes, or None.
        training: The rows of all runs of training steps, ``training.json`` first.
        training_machines: Where these were measured, a line for each machine and day.
    """

    shapes: dict[str, Record]
    sweeps: Record | None
    training: list[TrainingRow]
    training_machines: list[str]

    @classmethod
    def read(cls, folder: AnyPath) -> Results:
        """Read the files of a folder.

        Raises:
            ResultsError: There is no ``shapes.json``, or a file is not what its name says.
        """
        folder = as_path("folder", folder)
        shapes = {path.name: _load(path, _record) for path in _family(folder, SHAPES)}
        if SHAPES not in shapes:
            raise ResultsError(f"{folder / SHAPES} is missing; capsroute bench --json writes it")
        sweeps = _load(folder / SWEEPS, _record) if (folder / SWEEPS).exists() else None
        runs = [_load(path, _steps) for path in _family(folder, TRAINING)]
        machines = dict.fromkeys(machine for machine, _ in runs)
        return cls(shapes, sweeps, [row for _, rows in runs for row in rows], list(machines))

    @property
    def main(self) -> Record:
        """The run over the shapes in float32."""
        return self.shapes[SHAPES]


def block(results: Results) -> list[str]:
    """What stands between the markers in the README: the lines without them."""
    lines = [*_head(results.main), "", *paragraph(_LEGEND)]
    for gradient in (None, "all"):
        lines += ["", *_pass(results.main.rows, gradient)]
    lines += ["", *_losses(results.main.rows)]
    if results.training:
        lines += ["", "**A whole training step**", "", *_training(results, figures_training.summary)]
    return lines


def put(lines: Sequence[str], text: str) -> str:
    """The document ``text`` with other lines between its markers.

    Raises:
        ResultsError: It does not have each marker once, in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or text.count(BEGIN) + text.count(END) != 2:
        raise ResultsError(f"the document must have the lines {BEGIN!r} and {END!r} once each, in this order")
    return "\n".join([before + BEGIN, "", *lines, "", END + after])


def document(results: Results, figures: Iterable[str]) -> str:
    """The page of the folder: every pass of every run, all training steps, and the figures of these names."""
    origin = "Written by `make figures` from the JSON files beside it."
    lines = ["# Results on a CPU", "", origin, "", *paragraph(_LEGEND)]
    for name, record in results.shapes.items():
        lines += ["", f"## {name}", "", *_head(record)]
        for gradient in _GRADIENTS:
            lines += ["", *_pass(record.rows, gradient)]
        lines += ["", *_losses(record.rows)]
    if results.training:
        lines += ["", "## Training steps", "", *_training(results, figures_training.details)]
    lines += ["", "## Figures"]
    for name in figures:
        lines += ["", f"![{Path(name).stem}]({name})"]
    return "\n".join(lines) + "\n"


def draw(folder: AnyPath, results: Results) -> None:
    """Draw the figures into the folder; what was measured decides which there are."""
    folder = as_path("folder", folder)
    plots.draw(folder, results.main)
    if results.sweeps is not None:
        plots.draw(folder, results.sweeps)
    if results.training:
        figures_training.draw(folder / "training.png", results.training, "\n".join(results.training_machines))


def _family(folder: Path, name: str) -> list[Path]:
    """``name.json`` and ``name-*.json``, as far as they exist, in this order."""
    stem = Path(name).stem
    return [path for pattern in (name, f"{stem}-*.json") for path in sorted(folder.glob(pattern))]


def _load(path: Path, parse: Callable[[dict[str, Any]], T]) -> T:
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is not what capsroute bench writes: {error!r}") from None


def _record(content: dict[str, Any]) -> Record:
    swept = content.get("sweeps", [])
    points = [Point(entry["axis"], entry["value"]) for entry in swept]
    rows, limits = _rows(Row, content["rows"]), Ceilings(**content["ceilings"])
    return Record(content["environment"], limits, rows, list(zip(points, _rows(Row, swept), strict=True)))


def _steps(content: dict[str, Any]) -> tuple[str, list[TrainingRow]]:
    """Where training steps were measured, and the rows."""
    return environment.dated(content["environment"]), _rows(TrainingRow, content["rows"])


def _rows(kind: type[RowT], entries: Sequence[dict[str, Any]]) -> list[RowT]:
    """Rows; fields that this version does not know, of another one, are passed over."""
    known = {field.name for field in fields(kind)}
    return [kind(**{name: entry[name] for name in entry if name in known}) for entry in entries]


def _head(record: Record) -> list[str]:
    types = ", ".join(dict.fromkeys(row.dtype for row in record.rows))
    return paragraph(f"{environment.dated(record.environment)}; {record.ceilings.headline}; {types}.")


def _training(results: Results, steps: Callable[[Sequence[TrainingRow]], list[str]]) -> list[str]:
    return [*paragraph(f"{'; '.join(results.training_machines)}."), "", *steps(results.training)]


def _pass(rows: Sequence[Row], gradient: str | None) -> list[str]:
    """The table of one pass over all shapes, and what has no figures in it."""
    shapes = {shape: found for (shape, key), found in by_pass(rows).items() if key == gradient}
    if not shapes:
        return []
    name = title(next(iter(shapes.values()))[0].passes, gradient).replace("+", " + ")
    failed = [row for found in shapes.values() for row in found if row.problem is not None]
    notes = [f"- {row.shape}, {row.contender}: {row.problem}" for row in failed]
    lines = table(_COLUMNS, map(_Compared, shapes.values()))
    return [f"**{name[0].upper()}{name[1:]}**", "", *lines, *(["", *notes] if notes else [])]


class _Compared:
    """The package on one shape beside the fastest peer of each family; a row without figures for who was not timed."""

    def __init__(self, found: Sequence[Row]) -> None:
        first = found[0]
        none = Row(first.shape, first.sizes, first.passes, first.gradient, first.dtype, contender="")
        self.ours, self.eager, self.compiled = (fastest(found, family) or none for family in (OURS, *PEERS))


_COLUMNS: Columns[_Compared] = {
    "shape": lambda compared: compared.ours.shape,
    "B, I, d, J, D, T": lambda compared: compared.ours.sizes,
    "capsroute": lambda compared: f"**{significant(compared.ours.seconds, 1e3)}**",
    "eager": lambda compared: significant(compared.eager.seconds, 1e3),
    "compile": lambda compared: significant(compared.compiled.seconds, 1e3),
    "× eager": lambda compared: significant(ratio(compared.eager, compared.ours)),
    "× compile": lambda compared: significant(ratio(compared.compiled, compared.ours)),
    "of peak": lambda compared: number(compared.ours.peak_share, ".0%"),
    "MiB": lambda compared: number(compared.ours.extra_bytes, ".1f", 2**-20),
    "eager MiB": lambda compared: number(compared.eager.extra_bytes, ".1f", 2**-20),
}


def _losses(rows: Sequence[Row]) -> list[str]:
    """A sentence that names every shape and pass in which a peer is faster."""
    lost = []
    for (shape, gradient), found in by_pass(rows).items():
        for peer in (fastest(found, family) for family in PEERS):
            times = ratio(fastest(found, OURS), peer)
            if peer is not None and times is not None and times > 1:
                lost.append(f"{shape}, {title(peer.passes, gradient)} ({peer.contender}, {times:.2f} times as fast)")
    if not lost:
        return ["No peer is faster than capsroute at any of these shapes, with either gradient."]
    return paragraph(f"Faster than capsroute: {'; '.join(lost)}.")
