#!/usr/bin/env python3
"""Writes the tables and figures of the documents from the committed results of ``capsroute bench`` and ``experiment``.

Reads docs/results/cpu/*.json; writes docs/results/cpu/README.md, the PNG figures beside it, and what stands between the
markers in README.md. Reads docs/experiments/results/*.json; writes what stands between the markers in the pages of
these experiments. Reads docs/results/mnist/runs.json; writes the page and the figure beside it. Run
twice, it changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from capsroute.bench import figures
from capsroute.experiments import pages, reference_runs
from capsroute.training.errors import TrainingError

ROOT = Path(__file__).resolve().parents[1]


def write(readme: Path, folder: Path) -> None:
    """Write everything that follows from the results in a folder.

    Args:
        readme: Document with the markers of :mod:`capsroute.bench.figures`.
        folder: Of the results; its page and figures are written beside them.

    Raises:
        figures.ResultsError: Results or markers are missing.
    """
    results = figures.Results.read(folder)
    readme.write_text(figures.put(figures.block(results), readme.read_text(encoding="utf-8")), encoding="utf-8")
    figures.draw(folder, results)
    (folder / "README.md").write_text(page(folder, results), encoding="utf-8")


def page(folder: Path, results: figures.Results) -> str:
    """The page of a folder that holds these results and their figures."""
    return figures.document(results, sorted(path.name for path in folder.glob("*.png")))


def write_experiments(folder: Path) -> None:
    """Write the tables of the experiments.

    Args:
        folder: Of their pages.

    Raises:
        figures.ResultsError: A page has no markers.
        TrainingError: A result is no result.
    """
    for path, record in pages.pages(folder).items():
        path.write_text(figures.put(pages.block(record), path.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> int:
    """Run the script; the exit status is 0, or 1 with one sentence on standard error."""
    try:
        write(ROOT / "README.md", ROOT / "docs/results/cpu")
        write_experiments(ROOT / "docs/experiments")
        reference_runs.write_page(ROOT / "docs/results/mnist")
    except (figures.ResultsError, TrainingError) as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
