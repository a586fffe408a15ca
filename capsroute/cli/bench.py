"""``capsroute bench``: the routing op beside plain PyTorch and ``torch.compile``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from capsroute.cli import bench_gpu
from capsroute.cli.errors import CommandError

if TYPE_CHECKING:
    from capsroute.bench import suite

_DEFAULTS = {
    "shapes": None,
    "dtype": "float32",
    "compare": "eager,compile",
    "gradient": "both",
    "rounds": None,
    "threads": None,
    "json": None,
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``bench``."""
    parser = subparsers.add_parser(
        "bench",
        help="time the routing op beside plain PyTorch and torch.compile",
        description="Time dynamic routing on the CPU, forward and forward + backward, beside plain PyTorch (einsum and "
        "bmm) and torch.compile of both, with extra memory and the share of the machine's measured limits.",
    )
    parser.add_argument(
        "--shapes", metavar="A,B", help="names from the table of shapes, separated by commas; all by default"
    )
    parser.add_argument("--dtype", help="float32 (default), float64, bfloat16 or float16")
    parser.add_argument("--compare", metavar="A,B", help="eager, compile, both (default) or none")
    parser.add_argument("--gradient", choices=("all", "last", "both"), help="for the backward; both by default")
    parser.add_argument("--rounds", type=int, help="timed rounds in which the contenders take turns")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice by default")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything measured to this file")
    parser.set_defaults(**_DEFAULTS)
    bench_gpu.add_parser(parser.add_subparsers(dest="where", metavar="gpu", title="on a GPU"))
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the command, or ``bench gpu``.

    Returns:
        The exit status: 0, or 1 if a result of capsroute differs from the reference.

    Raises:
        CommandError: Options that make no sense, a file that cannot be written, or no package rich.
    """
    if args.where == "gpu":
        misplaced = [f"--{name}" for name, default in _DEFAULTS.items() if getattr(args, name) != default]
        if misplaced:
            raise CommandError(f"options of bench gpu go after the word gpu; got {' '.join(misplaced)} before it")
        return bench_gpu.run(args)
    try:
        from rich.console import Console
    except ImportError:
        raise CommandError("bench needs the package rich; install it with: pip install 'capsroute[bench]'") from None
    import torch

    from capsroute.bench import ceilings, environment, suite
    from capsroute.bench.files import check_writable
    from capsroute.bench.report import LiveReport, write_json
    from capsroute.bench.workload import OURS

    try:
        plan = _plan(args)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if args.json is not None:
        try:
            check_writable(args.json)
        except OSError as error:
            raise CommandError(
                f"--json must be a file that can be written, got {str(args.json)!r}: {error.strerror}"
            ) from None
    if args.threads is not None:
        torch.set_num_threads(args.threads)

    machine = environment.describe()
    limits = ceilings.measure(suite.DTYPES[plan.dtype])
    rows: list[suite.Row] = []
    with LiveReport(Console()) as report:
        report.headline(f"{environment.headline(machine)}, {plan.dtype}", limits)
        for shape, finished in suite.run(plan, limits, report.tell):
            report.add(shape, finished)
            rows += finished
            if args.json is not None:
                write_json(args.json, machine, limits, rows)
    return 1 if any(row.contender == OURS and row.problem for row in rows) else 0


def _plan(args: argparse.Namespace) -> suite.Plan:
    from capsroute.bench import peers, shapes, suite

    if args.dtype not in suite.DTYPES:
        raise ValueError(f"--dtype must be among {', '.join(suite.DTYPES)}; got {args.dtype!r}")
    for name in ("rounds", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1; got {value}")
    families = [] if args.compare == "none" else bench_gpu.split(args.compare)
    peers.check_families(families)
    chosen = shapes.SHAPES if args.shapes is None else shapes.by_names(bench_gpu.split(args.shapes))
    gradients = ("all", "last") if args.gradient == "both" else (args.gradient,)
    plan = suite.Plan(chosen, args.dtype, families, gradients)
    return plan if args.rounds is None else dataclasses.replace(plan, rounds=args.rounds)
