"""Plants faults in a copy of the sources and shows who notices: ``python -m python_tests.reliability.planted``.

Each fault is built and run alone, after the same programs were seen to be content without it. It counts as caught only
where the program fails and says what was expected of it. Needs g++, and Clang with its OpenMP for the races.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .. import commands, results
from .build import Tree
from .faults import FAULTS, Fault

BUILDS = ("plain", "address", "thread")


def clean(tree: Tree, faults: Sequence[Fault]) -> str | None:
    """What is wrong without any fault, if something is."""
    for kind, driver in dict.fromkeys((fault.build, fault.driver) for fault in faults):
        print(f"without a fault: {driver}, {kind}", flush=True)
        for run in (tree.build(kind, driver), tree.drive(kind, driver)):
            if run.status != 0:
                return f"{driver}, {kind}, fails without a fault:\n{run.text[-3000:]}"
    return None


def plant(tree: Tree, fault: Fault) -> dict[str, object]:
    """Builds and runs with the fault; what there is to write about it."""
    with tree.planted(fault):
        built = tree.build(fault.build, fault.driver)
        run = tree.drive(fault.build, fault.driver) if built.status == 0 else None
    said = run.line(fault.says) if run is not None else None
    caught = run is not None and run.status != 0 and said is not None
    if not caught:
        print((run or built).text[-2000:], file=sys.stderr)
    print(f"{'caught' if caught else 'NOT CAUGHT'}: {fault.name}: {said}", flush=True)
    return {
        "fault": fault.name,
        "file": fault.file,
        "build": fault.build,
        "driver": fault.driver,
        "caught": caught,
        "said": said,
    }


def with_earlier(rows: Sequence[dict[str, object]], path: Path) -> list[dict[str, object]]:
    """The rows, and those that the file has of other faults, in the order of the table."""
    earlier = results.read(path)["faults"] if path.exists() else []
    found = {row["fault"]: row for row in [*earlier, *rows]}
    return [found[fault.name] for fault in FAULTS if fault.name in found]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when each fault was caught."""
    parser = commands.parser("planted", "Plant faults in a copy of the sources, one at a time, and see who notices.")
    parser.add_argument("--build", choices=BUILDS, nargs="+", default=BUILDS, help="only faults for these builds (all)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only faults with this in their name")
    parser.add_argument("--folder", type=Path, help="keep copy and builds here, for the next time")
    given = parser.parse_args(arguments)
    commands.check_json(given, parser)
    faults = [fault for fault in FAULTS if fault.build in given.build and given.only in fault.name]
    if not faults:
        print("there is no such fault", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(given.folder or Path(folder))
        problem = clean(tree, faults)
        if problem is not None:
            print(problem, file=sys.stderr)
            return 1
        rows = [plant(tree, fault) for fault in faults]
    caught = sum(row["caught"] is True for row in rows)
    if given.json:
        all_rows = with_earlier(rows, given.json)
        all_caught = sum(row["caught"] is True for row in all_rows)
        results.write(given.json, {"planted": len(all_rows), "caught": all_caught, "faults": all_rows})
    print(f"{caught} of {len(rows)} faults were caught")
    return 0 if caught == len(rows) else 1


if __name__ == "__main__":
    commands.run(main)
