"""The tables of docs/reliability/numbers.md and training.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsroute.bench.environment import headline
from capsroute.bench.texts import markdown_table, paragraph

from .runs import WRONG

_DTYPES = ("float64", "float32", "bfloat16", "float16")
Results = dict[str, Any]


def _power(value: float | None) -> str:
    """An error with two digits; a dash where there is nothing to compare."""
    if value is None:
        return "-"
    return "not finite" if value == float("inf") else "0" if value == 0 else f"{value:.1e}"


def _head(results: Results) -> list[str]:
    environment = results["environment"]
    commits = " and ".join(dict.fromkeys(run["commit"] for run in (results, *results.get("later", ()))))
    return paragraph(f"Commit {commits}, {environment['date'][:10]}. {headline(environment)}.")


def numbers(results: Results) -> list[str]:
    """The tables of the page of numbers."""
    lines = _head(results)
    for dtype in _DTYPES:
        rows = [row for row in results["errors"] if row["dtype"] == dtype]
        lines += ["", f"**{dtype}**", "", *_errors(rows)]
    lines += ["", "**Beside central differences, float64**", "", *_differences(results["differences"])]
    lines += ["", "**NaN, infinity and overflow**", "", *_poison(results["poison"])]
    return lines


def _errors(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ("stress", "runs", "output", "plain PyTorch", "gradients", "plain PyTorch", "the rule")
    cells = []
    for row in rows:
        verdict = f"broken in {len(row['problems'])}" if row["problems"] else "holds"
        if row["known"]:
            verdict += f", but for {len(row['known'])} kernel{'s' if len(row['known']) > 1 else ''} (see above)"
        names = ("output", "plain_output", "gradients", "plain_gradients")
        cells.append((row["stress"], str(row["runs"]), *(_power(row[name]) for name in names), verdict))
    return markdown_table(head, cells)


def _differences(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ("stress", "derivatives", "worst error", "doubt of the differences", "steps", "agree")
    cells = []
    for stress in dict.fromkeys(row["stress"] for row in rows):
        found = [d for row in rows if row["stress"] == stress for d in row["arguments"].values()]
        worst = max(found, key=lambda d: d["error"])
        doubt = worst["doubt"] / worst["scale"] if worst["scale"] else 0.0
        steps = [_power(end(d["step"] for d in found)) for end in (min, max)]
        agree = sum(d["agrees"] for d in found)
        verdict = f"all {agree}" if agree == len(found) else f"{agree} of {len(found)}"
        cells.append((stress, str(len(found)), _power(worst["error"]), _power(doubt), " … ".join(steps), verdict))
    return markdown_table(head, cells)


def _poison(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ("what is spoiled", "calls", "elements", "leaked", "wrong and finite", "not finite where plain PyTorch is")
    cells = []
    for name in dict.fromkeys(row["poison"] for row in rows):
        found = [row for row in rows if row["poison"] == name]
        counts = [sum(row[key] for row in found) for key in ("runs", "elements", "leaked", "silent", "spoiled")]
        cells.append((name, *(f"{count:,}" for count in counts)))
    return markdown_table(head, cells)


def training(results: Results) -> list[str]:
    """The tables of the page of training."""
    lines = _head(results)
    rows = results["comparisons"]
    for outcome in dict.fromkeys(row["outcome"] for row in rows):
        title = f"**{outcome[0].upper()}{outcome[1:]}**"
        lines += ["", title, "", *_outcome([row for row in rows if row["outcome"] == outcome])]
    return lines


_NAMES = {
    "op": "**the op, same seeds**",
    "op, other seeds": "**the op, other seeds**",
    **{name: f"*wrong:* {what}" for name, (what, _) in WRONG.items()},
}


def _outcome(rows: Sequence[dict[str, Any]]) -> list[str]:
    last = ("margin", "p, equivalent", "p, different", "visible", "equivalent")
    head = ("beside the definition", "difference", "90 % interval", *last)
    cells = [
        (
            _NAMES[row["runs"]],
            f"{row['difference']:+.2g}",
            f"{row['low']:+.2g} … {row['high']:+.2g}",
            *(f"{row[name]:.2g}" for name in ("margin", "equivalence_p", "difference_p", "visible")),
            "yes" if row["equivalent"] else "no",
        )
        for row in rows
    ]
    first = rows[0]
    spread = f"standard deviation between seeds {first['spread_of_seeds']:.2g}"
    mean = f"Definition: {first['mean_of_definition']:.4g}; {spread}."
    return [mean, "", *markdown_table(head, cells)]
