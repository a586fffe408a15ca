"""The table of docs/reliability/sanitizers.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsroute.bench.texts import markdown_table

_BUILDS = {"plain": "none", "address": "address, undefined behaviour", "thread": "threads"}


def lines(content: Mapping[str, Any]) -> list[str]:
    """What stands between the markers of the page."""
    environment = content["environment"]
    head = f"{content['caught']} of {content['planted']} were caught, on {environment['date'][:10]} at commit "
    rows = [
        [row["fault"], f"`{row['file']}`", _BUILDS[row["build"]], f"`{row['driver']}`", f"`{row['said']}`"]
        for row in content["faults"]
    ]
    names = ["fault", "in", "sanitizers", "program", "which says"]
    note = [content["note"], ""] if "note" in content else []
    return [f"{head}{content['commit']}.", *note, "", *markdown_table(names, rows)]
