"""The table of docs/reliability/faults.md."""

from __future__ import annotations

from typing import Any

_HEAD = ("work", "steps", "C heap", "Python blocks", "objects", "descriptors", "threads", "resident MiB")


def _row(row: dict[str, Any]) -> list[str]:
    found = row["samples"]
    resident = [f"{found['resident_bytes'][place] / 2**20:.0f}" for place in (0, -1)]
    counts = [f"{found[name][-1] - found[name][0]:+d}" for name in ("python_objects", "descriptors", "threads")]
    slopes = row["growth"]
    return [
        row["work"],
        f"{row['steps']:,}",
        f"{slopes['heap_bytes']:+.2f} bytes a step",
        f"{slopes['python_blocks']:+.3f} a step",
        *counts,
        " → ".join(resident),
    ]


def lines(record: dict[str, Any]) -> list[str]:
    """What stands between the markers of the page."""
    machine = record["environment"]
    rows = [_HEAD, ["---"] * len(_HEAD), *(_row(row) for row in record["rows"])]
    made = f"commit {record['commit']}, {machine['date'][:10]}"
    head = f"Of {made}, with torch {machine['torch']} on {machine['processor']}."
    return [head, "", *(f"| {' | '.join(row)} |" for row in rows)]
