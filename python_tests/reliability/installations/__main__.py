"""Installs capsroute in every way, and tests what was installed; needs neither torch nor capsroute itself.

Start it by ``python -m python_tests.reliability.installations``.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from python_tests.packaging.tree import ROOT, commit

from . import record, ways
from .installed import TESTS
from .workshop import THIS_PYTHON, Failure, Workshop, program

PROGRAM = "python -m python_tests.reliability.installations"
RESULTS = ROOT / "docs/results/reliability/installations.json"


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.partition("\n")[0] if __doc__ else None)
    names = ", ".join(ways.WAYS)
    made.add_argument("--way", action="append", metavar="NAME", help=f"one of {names}; by default all that can be here")
    made.add_argument("--python", default=THIS_PYTHON, metavar="EXE", help="the Python to install for")
    made.add_argument("--torch", default="torch==2.13.0", metavar="REQUIREMENT", help="what pip installs as torch")
    made.add_argument("--base", type=Path, metavar="DIR", help="an environment with torch and pytest, to save time")
    made.add_argument("--built", type=Path, metavar="DIR", help="an sdist and wheels that were built before")
    made.add_argument("--cxx", metavar="EXE", help="the C++ compiler of the builds")
    made.add_argument("--cuda", metavar="NVCC", help="the nvcc of the way named cuda")
    made.add_argument("--cuda-archs", default="90", metavar="LIST", help="for these architectures (default: 90)")
    made.add_argument("--tests", choices=TESTS, default="few", help="which tests run against the wheel (default: few)")
    made.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="JSON file that the results go into")
    return made


def repeated(arguments: argparse.Namespace, name: str) -> str:
    """The command for one way alone, without what only holds on this machine."""
    words = [PROGRAM, "--way", name, "--torch", arguments.torch]
    words += ["--python", Path(arguments.python).name] if arguments.python != THIS_PYTHON else []
    words += ["--cxx", arguments.cxx] if arguments.cxx else []
    words += ["--cuda", "nvcc", "--cuda-archs", arguments.cuda_archs] if arguments.cuda else []
    words += ["--tests", arguments.tests] if name == "wheel" else []
    return " ".join(words)


def main(argv: list[str] | None = None) -> int:
    """Try the ways that were asked for; the status is 0, 1 where one failed, or 2 where the arguments are wrong."""
    made = parser()
    arguments = made.parse_args(argv)
    names = arguments.way or ways.supported()
    if unknown := [name for name in names if name not in ways.WAYS]:
        made.error(f"there is no way named {unknown[0]}; there are {', '.join(ways.WAYS)}")
    passed, state = True, commit()  # before anything is copied from the tree
    with tempfile.TemporaryDirectory(prefix="capsroute-installations-") as folder:
        try:
            build = {"CXX": program(arguments.cxx)} if arguments.cxx else {}
            if arguments.cuda:
                build |= {"CUDACXX": program(arguments.cuda), "CAPSROUTE_CUDA_ARCHS": arguments.cuda_archs}
            base = arguments.base and arguments.base.resolve()  # commands run in other folders
            python = program(arguments.python, "Python")
            shop = Workshop(Path(folder), python, arguments.torch, base, arguments.built, build)
            facts = shop.facts
        except Failure as failure:
            made.error(str(failure))
        for name in names:
            try:
                said, fine = ways.WAYS[name](shop, arguments.tests), True
            except Failure as failure:
                said, fine, passed = str(failure).splitlines(), False, False
            print(f"{name}: {'passed' if fine else 'FAILED'}", *said, sep="\n    ", flush=True)
            entry = {
                "way": name,
                "what": ways.described(name),
                "passed": fine,
                "said": said,
                "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                "commit": state,
                "command": repeated(arguments, name),
                **facts,
            }
            record.put(arguments.json, entry)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
