"""The table of docs/works-with.md, from what ``python -m python_tests.doors`` kept; ``make figures`` writes it."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import Any

from capsroute.bench.environment import dated
from capsroute.bench.figures import ResultsError, put
from capsroute.bench.texts import markdown_table, paragraph
from python_tests.reliability import commands, results

from .columns import COLUMNS
from .door import APART
from .table import DOORS

PAGE = results.ROOT / "docs/works-with.md"
RESULTS = results.ROOT / "docs/results/doors.json"
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "torchinfo", "captum", "keras", "torch-rechub")


def versions() -> dict[str, str]:
    """Of what the doors belong to."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def lines(found: dict[str, Any]) -> list[str]:
    """The table, and below it the sentences of its cells."""
    sentences: list[str] = []
    rows = []
    kept = {row["door"]: row["cells"] for row in found["doors"]}
    for name in DOORS:
        cells = [name]
        for column in COLUMNS:
            kind, _, sentence = kept[name][column].partition(": ")
            if sentence and sentence not in sentences:
                sentences.append(sentence)
            mark = f" [{sentences.index(sentence) + 1}]" if sentence else ""
            cells.append(("-" if kind == APART else kind) + mark)
        rows.append(tuple(cells))
    named = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    notes = [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
    head = paragraph(f"Commit {found['commit']}, {dated(found['environment'])}. {named}.")
    return [*head, "", *markdown_table(("door", *COLUMNS), rows), *([""] if notes else []), *notes]


def written() -> tuple[str, str]:
    """The page as it is, and with the table that follows from the committed cells."""
    text = PAGE.read_text(encoding="utf-8")
    return text, put(lines(results.read(RESULTS)), text)


def main() -> int:
    """Write the table; the exit status is 0, or 1 with one sentence on standard error."""
    try:
        PAGE.write_text(written()[1], encoding="utf-8")
    except (OSError, ValueError, KeyError, ResultsError) as error:
        print(f"doors: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    commands.run(main)
