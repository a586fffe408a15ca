"""The table of docs/reliability/sanitizers.md, from the committed figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsroute.bench.figures import put
from capsroute.bench.texts import markdown_table

from .. import results

RESULT = results.FOLDER / "planted.json"
PAGE = results.ROOT / "docs/reliability/sanitizers.md"
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


def page() -> str:
    """The page with the table that follows from the committed figures."""
    return put(lines(results.read(RESULT)), PAGE.read_text(encoding="utf-8"))
