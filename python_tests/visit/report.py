"""What all pieces found, put together for people to read.

``gpu/`` gets the pieces of the benchmark as if they had been one run, ``counters.md`` what the profiler counted, a
column for each kernel.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from capsroute.bench import files
from capsroute.bench.gpu.folder import Folder
from capsroute.bench.gpu.record import Record
from capsroute.bench.texts import markdown_table

_HEAD = ("Kernel Name", "Section Name", "Metric Name", "Metric Unit", "Metric Value")


def joined(records: Sequence[Record]) -> Record:
    """One record of several; where two have the same contender in the same cell, the first counts."""
    first = records[0]
    rows = {}
    for row in (row for record in records for row in record.rows):
        rows.setdefault((row.shape, row.precision, row.gradient, row.contender), row)
    checks = {}
    for check in (check for record in records for check in record.checks):
        checks.setdefault((check.shape, check.samples, check.precision, check.gradient, check.variant), check)
    return Record(
        first.environment,
        first.ceilings,
        checks=list(checks.values()),
        rows=list(rows.values()),
        states=[state for record in records for state in record.states],
        notes=[note for record in records for note in record.notes],
        faults=[fault for record in records for fault in record.faults],
        finished=all(record.finished for record in records),
    )


def counters(lines: Iterable[str]) -> list[str]:
    """A table of one call of the profiler: what was counted, and the figure of each kernel in the order of launches.

    Args:
        lines: Of its output, a line of CSV for each kernel and figure after any number of others.
    """
    kernels: dict[tuple[str, str], None] = {}
    figures: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for row in _rows(lines):
        kernel = (row["ID"], row["Kernel Name"].partition("(")[0].rpartition("::")[2])
        kernels[kernel] = None
        name = f"{row['Metric Name']} [{row['Metric Unit']}]" if row["Metric Unit"] else row["Metric Name"]
        figures.setdefault((row["Section Name"], name), {})[kernel] = row["Metric Value"]
    head = ("", *(name for _, name in kernels))
    cells = [[f"{section}: {name}", *(of.get(k, "-") for k in kernels)] for (section, name), of in figures.items()]
    return markdown_table(head, cells) if cells else ["Nothing was counted."]


def _rows(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    found = iter(lines)
    head = next((next(csv.reader([line])) for line in found if line.startswith('"ID"')), None)
    if head is None:
        return
    for values in csv.reader(line for line in found if line.startswith('"')):
        row = dict(zip(head, values, strict=False))
        if all(name in row for name in _HEAD) and row["Metric Name"]:
            yield row


def write(out: Path) -> None:
    """Replace what is put together in a folder of findings."""
    records = [Record.read(path) for path in sorted(out.glob("bench-*/gpu.json"))]
    if records:
        whole, folder = joined(records), Folder(out / "gpu")
        folder.write(whole)
        folder.draw(whole)
    lines = ["# What the profiler counted", ""]
    for path in sorted(out.glob("ncu-*.csv")):
        lines += [f"## {path.stem.removeprefix('ncu-')}", "", *counters(path.read_text().splitlines()), ""]
    files.replace(out / "counters.md", "\n".join(lines))
