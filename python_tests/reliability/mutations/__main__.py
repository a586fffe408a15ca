"""Shows which faults a suite of tests sees: ``python -m python_tests.reliability.mutations TASK``.

The tasks are ``draw``, ``run`` and ``page``; see docs/reliability/mutations.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capsroute.bench.files import check_writable

from ...packaging.tree import commit
from .. import commands, pages, results
from . import draw, mutation
from .run import SUITES, Copy, Session, run


def _parser() -> argparse.ArgumentParser:
    parser = commands.Parser(
        prog="python -m python_tests.reliability.mutations", description="Show which faults a suite of tests sees."
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    drawing = tasks.add_parser("draw", help="draw mutations by a seed")
    drawing.add_argument("--seed", type=int, required=True)
    drawing.add_argument("--count", type=commands.positive, required=True)
    drawing.add_argument("--tree", type=Path, default=results.ROOT, metavar="DIR", help="of these sources (this one)")
    drawing.add_argument("--also", type=Path, metavar="DIR", help="only those that another tree has a place for too")
    running = tasks.add_parser("run", help="build and test a tree with one mutation at a time; goes on where it ended")
    running.add_argument("--mutations", type=Path, required=True, metavar="FILE", help="that `draw` wrote")
    running.add_argument("--tree", type=Path, required=True, metavar="DIR", help="is copied, and stays as it is")
    running.add_argument("--suite", choices=SUITES, required=True)
    running.add_argument("--whole", action="store_true", help="the whole suite, on what the nearest tests missed")
    running.add_argument("--folder", type=Path, metavar="DIR", help="of the copy (build/mutations/SUITE)")
    running.add_argument("--python", default=sys.executable, help="of an environment with torch, pytest, cmake, ninja")
    for task in (drawing, running):
        task.add_argument("--out", type=Path, required=True, metavar="FILE")
    tasks.add_parser("page", help="write docs/reliability/mutations.md from what is committed")
    return parser


def _run(given: argparse.Namespace) -> int:
    def content() -> dict[str, Any]:
        return results.read(given.out) if given.out.exists() else {"suites": {}}

    def save(state: dict[str, Any]) -> None:
        suites = {**content()["suites"], given.suite: state}
        results.write(given.out, {"suites": suites})

    state = content()["suites"].get(given.suite, {"tree": commit(given.tree)})
    copy = Copy(given.tree, given.folder or results.ROOT / "build/mutations" / given.suite, given.python)
    session = Session(copy, SUITES[given.suite], state, save)
    problem = run(session, mutation.read(given.mutations), whole=given.whole)
    if problem is not None:
        print(problem, file=sys.stderr)
    return 0 if problem is None else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when the task was done, whatever was missed."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.task == "page":
        return pages.main(["mutations"])
    try:
        check_writable(given.out)
    except OSError as error:
        parser.error(f"cannot write {given.out}: {error.strerror or error}")
    if given.task == "run":
        return _run(given)
    trees = [given.tree, *([given.also] if given.also else [])]
    drawn = draw.draw(given.seed, given.count, trees)
    origin = {"commit": commit(given.tree), "seed": given.seed, "count": given.count}
    mutation.write(given.out, drawn, origin)
    print(f"{sum(not each.spare for each in drawn)} mutations were drawn, and {sum(e.spare for e in drawn)} to spare")
    return 0


if __name__ == "__main__":
    commands.run(main)
