"""The tables in the pages of the experiments, which follow from the committed results alone."""

from __future__ import annotations

from pathlib import Path

from capsroute.bench.texts import paragraph
from capsroute.experiments.record import Record
from capsroute.experiments.table import load
from capsroute.training.paths import AnyPath, as_path

__all__ = ["block", "pages"]


def block(record: Record) -> list[str]:
    """What stands between the markers in the page of an experiment: the lines without them."""
    return [*paragraph(f"{record.headline}."), "", *load(record.experiment).report(record)]


def pages(folder: AnyPath) -> dict[Path, Record]:
    """The pages of a folder of documents that have results, and these.

    Args:
        folder: Holds ``NAME.md`` for each experiment, and ``results/NAME.json`` once it was run.
    """
    folder = as_path("folder", folder)
    return {folder / f"{path.stem}.md": Record.read(path) for path in sorted((folder / "results").glob("*.json"))}
