"""``python -m python_tests.visit``: as many pieces as there is time for, and again until nothing is open."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from capsroute.bench import environment
from capsroute.bench.gpu.environment import commit, facts

from . import report
from .pieces import Piece, pieces
from .record import State, VisitRecord
from .visit import Visit

_DESCRIPTION = """\
Do everything that a machine with a GPU should show of the CUDA kernels: build, tests, compute-sanitizer, times beside
plain PyTorch and torch.compile, hardware counters, training. Nobody needs to watch. A call ends after --seconds; call
it again with the same folder to go on, for what has been done is kept there, in visit.json, and not done again."""
_RIGHT, _WRONG, _USAGE, _OPEN = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    out = given.out.resolve()
    data = given.data_dir.resolve() if given.data_dir else None
    wanted = pieces(out, data, given.rehearse)
    if given.list:
        for piece in wanted:
            print(f"{piece.name}: {piece.about}")
        return _RIGHT
    known = [piece.name for piece in wanted]
    unknown = [name for name in [*given.only, *given.again] if name not in known]
    if unknown:
        parser.error(f"no piece is called {', '.join(unknown)}; there are {', '.join(known)}")
    if given.seconds <= 0:
        parser.error(f"--seconds must be above 0, got {given.seconds:g}")
    if data is not None and not data.is_dir():
        parser.error(f"--data-dir must be a folder, got {str(given.data_dir)!r}")
    if not given.rehearse and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --rehearse does without one")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder that can be written, got {str(given.out)!r}: {error.strerror}")
    chosen = [piece for piece in wanted if piece.name in (given.only or known)]
    return _status(_visit(out, chosen, given), chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m python_tests.visit",
        description=_DESCRIPTION,
        epilog="Exit status: 0 when all is done and right; 1 when something is wrong; 2 for wrong arguments; 3 when "
        "there is more to do.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the findings, made if absent")
    parser.add_argument("--seconds", metavar="S", type=float, default=480.0, help="time for this call (480)")
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="MNIST's IDX files, to train on (else digits)")
    parser.add_argument("--only", metavar="NAME", nargs="+", default=[], help="these pieces and no others")
    parser.add_argument("--again", metavar="NAME", nargs="+", default=[], help="forget these pieces, then go on")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: the same on the emulation, in small")
    parser.add_argument("--list", action="store_true", help="say which pieces there are, and do nothing")
    return parser


def _visit(out: Path, chosen: Sequence[Piece], given: argparse.Namespace) -> VisitRecord:
    record = VisitRecord.read(out)
    for name in given.again:
        record.pieces.pop(name, None)
        (out / f"{name}.jsonl").unlink(missing_ok=True)
    record.environment = {"rehearsal": given.rehearse, "commit": commit(), **environment.describe()}
    if torch.cuda.is_available():
        record.environment["gpu"] = facts(torch.device("cuda", 0))
    built_with_cuda = {"CAPSROUTE_CUDA": "1", "CAPSROUTE_CUDA_ARCHS": "native", "CAPSROUTE_EMULATION": "1"}
    variables = {**os.environ, **built_with_cuda, "PYTHONUNBUFFERED": "1"}
    Visit(record, given.seconds, lambda line: print(line, flush=True), variables).run(chosen)
    report.write(out)
    return record


def _status(record: VisitRecord, chosen: Sequence[Piece]) -> int:
    states = [record.pieces.get(piece.name, State()) for piece in chosen]
    if any(state.verdict == "open" for state in states):
        print("There is more to do: call this again.")
        return _OPEN
    return _WRONG if any(state.verdict == "wrong" for state in states) else _RIGHT
