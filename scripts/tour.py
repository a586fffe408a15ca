#!/usr/bin/env python3
"""Runs the notebook of the tour and keeps its outputs in it, without times of execution and versions of Python."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat

TOUR = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"


def run(path: Path) -> None:
    """Run a notebook in place; where a cell raises, the file stays as it was."""
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, record_timing=False, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(TOUR)
