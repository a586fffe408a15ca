"""The tables of docs/reliability/mutations.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from capsroute.bench.texts import markdown_table

from .draw import AREAS
from .mutation import Mutation

_WHERE = {"python": "`capsroute/routing`", "cpu": "`csrc/cpu`", "cuda": "`csrc/cuda`", "shared": "shared and bindings"}


def _code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("|", "\\|") + "`"


def _counts(suites: Mapping[str, Any], area_of: Mapping[str, str]) -> list[str]:
    """Caught mutations of all that compile, for each suite and area."""
    rows = []
    for name, suite in suites.items():
        found = Counter((area_of[row["id"]], row["result"]) for row in suite["rows"])
        of_area = [(found[area, "caught"], found[area, "caught"] + found[area, "missed"]) for area in AREAS]
        total = tuple(map(sum, zip(*of_area, strict=True)))
        rows.append([f"{name}, {suite['tree']}", *(f"{caught} of {tried}" for caught, tried in [*of_area, total])])
    return markdown_table(["suite, commit", *_WHERE.values(), "all"], rows)


def lines(drawn: Sequence[Mutation], runs: Mapping[str, Any], judged: Mapping[str, str]) -> list[str]:
    """What stands between the markers of the page."""
    suites = runs["suites"]
    if not suites:
        return [f"{sum(not each.spare for each in drawn)} mutations are drawn; no suite has been tried with them yet."]
    results = {name: {row["id"]: row for row in suite["rows"]} for name, suite in suites.items()}
    written = _counts(suites, {each.id: each.area for each in drawn})
    if {"old", "new"} <= results.keys():
        tried = [{id for id, row in rows.items() if row["result"] != "no mutant"} for rows in results.values()]
        both = set.intersection(*tried)
        old, new = (sum(results[name][id]["result"] == "caught" for id in both) for name in ("old", "new"))
        written += ["", f"Of {len(both)} tried with both, old caught {old} and new {new}: new/old is {new / old:.3f}."]
    missed = [
        each for each in drawn if any(rows.get(each.id, {}).get("result") == "missed" for rows in results.values())
    ]
    rows = [
        [
            f"{each.id}, `{each.file}`, {each.kind}: {_code(each.before)} → {_code(each.after)}",
            *(rows[each.id]["result"] if each.id in rows else "not tried" for rows in results.values()),
            judged.get(each.id, ""),
        ]
        for each in missed
    ]
    return [*written, "", *markdown_table(["missed by a suite", *suites, "judged"], rows)]
