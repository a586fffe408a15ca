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

from . import environment, figures_training, plots
from .ceilings import Ceilings
from .compare import fastest, ratio
from .panels import PEERS
from .record import Record
from .suite import Row, by_pass, title
from .sweep import Point
from .texts import markdown_table, number, paragraph, significant
from .training_suite import Row as TrainingRow
from .workload import OURS

BEGIN = "<!-- figures:begin, written by make figures -->"
END = "<!-- figures:end -->"
SHAPES = "shapes.json"
SWEEPS = "sweeps.json"
TRAINING = "training.json"

_GRADIENTS = (None, "all", "last")
_HEAD = (
    "shape",
    "B, I, d, J, D, T",
    "capsroute",
    "eager",
    "compile",
    "× eager",
    "× compile",
    "of peak",
    "MiB",
    "eager MiB",
)
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
    def read(cls, folder: Path) -> Results:
        """Read the files of a folder.

        Raises:
            ResultsError: There is no ``shapes.json``, or a file is not what its name says.
        """
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


def draw(folder: Path, results: Results) -> None:
    """Draw the figures into the folder; what was measured decides which there are."""
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
    return _machine(content["environment"]), _rows(TrainingRow, content["rows"])


def _rows(kind: type[RowT], entries: Sequence[dict[str, Any]]) -> list[RowT]:
    """Rows; fields that this version does not know, of another one, are passed over."""
    known = {field.name for field in fields(kind)}
    return [kind(**{name: entry[name] for name in entry if name in known}) for entry in entries]


def _machine(about: dict[str, Any]) -> str:
    return f"{about['date'][:10]}, {environment.headline(about)}"


def _head(record: Record) -> list[str]:
    types = ", ".join(dict.fromkeys(row.dtype for row in record.rows))
    return paragraph(f"{_machine(record.environment)}; {record.ceilings.headline}; {types}.")


def _training(results: Results, table: Callable[[Sequence[TrainingRow]], list[str]]) -> list[str]:
    return [*paragraph(f"{'; '.join(results.training_machines)}."), "", *table(results.training)]


def _pass(rows: Sequence[Row], gradient: str | None) -> list[str]:
    """The table of one pass over all shapes, and what has no figures in it."""
    shapes = {shape: found for (shape, key), found in by_pass(rows).items() if key == gradient}
    if not shapes:
        return []
    name = title(next(iter(shapes.values()))[0].passes, gradient).replace("+", " + ")
    failed = [row for found in shapes.values() for row in found if row.problem is not None]
    notes = [f"- {row.shape}, {row.contender}: {row.problem}" for row in failed]
    table = markdown_table(_HEAD, (_comparison(found) for found in shapes.values()))
    return [f"**{name[0].upper()}{name[1:]}**", "", *table, *(["", *notes] if notes else [])]


def _comparison(contenders: Sequence[Row]) -> list[str]:
    """One shape in the columns of _HEAD."""
    first = contenders[0]
    own, *peers = (fastest(contenders, family) for family in (OURS, *PEERS))
    times = [significant(row.seconds if row is not None else None, 1e3) for row in (own, *peers)]
    memory = [row.extra_bytes if row is not None else None for row in (own, peers[0])]
    return [
        first.shape,
        first.sizes,
        f"**{times[0]}**",
        *times[1:],
        *(significant(ratio(peer, own)) for peer in peers),
        number(own.peak_share if own is not None else None, ".0%"),
        *(number(taken, ".1f", 2**-20) for taken in memory),
    ]


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
