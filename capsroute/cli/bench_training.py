"""``capsroute bench training``: whole training steps of CapsNet that differ in who routes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from capsroute.cli.bench_gpu import split
from capsroute.cli.errors import CommandError

if TYPE_CHECKING:
    from capsroute.bench.training_suite import Plan

_DESCRIPTION = """\
Time a training step of CapsNet for 28x28 images on the CPU (forward, margin and reconstruction loss, backward, Adam)
with the routing by capsroute, by plain PyTorch (einsum and bmm) and by torch.compile of both; all else is the same.
The contenders take turns, and so does the routing alone, forward and backward, on tensors of the same sizes: its
share of the step is its time over that of the step. Before anything is timed, loss and gradients of each step are
compared with those that the reference gives."""


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add ``training`` to the command ``bench``."""
    parser = subparsers.add_parser(
        "training",
        help="time whole training steps of CapsNet",
        description=_DESCRIPTION,
        epilog="Exit status: 0; 1 if a result of capsroute is wrong.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Options of `bench` have the same names. What is given before `training` must not be lost unnoticed, hence other
    # dests.
    parser.add_argument(
        "--batch", metavar="N", dest="training_batch", type=int, default=128, help="images per step, 128 by default"
    )
    parser.add_argument(
        "--convolutions",
        metavar="TYPE",
        dest="training_convolutions",
        default="float32",
        help="float32 (default), or bfloat16: all but the routing under autocast; the routing is always in float32",
    )
    parser.add_argument(
        "--compare",
        metavar="A,B",
        dest="training_compare",
        default="eager,compile",
        help="eager, compile, both (default) or none",
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        dest="training_rounds",
        type=int,
        help="timed rounds in which the contenders take turns",
    )
    parser.add_argument(
        "--threads", metavar="N", dest="training_threads", type=int, help="CPU threads; torch's own choice by default"
    )
    parser.add_argument(
        "--json", metavar="FILE", dest="training_json", type=Path, help="write everything measured to this file"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 1 if a result of capsroute is wrong.

    Raises:
        CommandError: Options that make no sense, a file that cannot be written, or no package rich.
    """
    try:
        from rich.console import Console
    except ImportError:
        raise CommandError(
            "bench training needs the package rich; install it with: pip install 'capsroute[bench]'"
        ) from None
    import torch

    from capsroute.bench import environment, training_report, training_suite
    from capsroute.bench.files import check_writable
    from capsroute.bench.workload import OURS

    try:
        plan = _plan(args)
    except ValueError as error:
        raise CommandError(str(error)) from None
    path: Path | None = args.training_json
    if path is not None:
        try:
            check_writable(path)
        except OSError as error:
            raise CommandError(
                f"--json must be a file that can be written, got {str(path)!r}: {error.strerror}"
            ) from None
    if args.training_threads is not None:
        torch.set_num_threads(args.training_threads)

    machine = environment.describe()
    console = Console()
    console.print(environment.headline(machine), highlight=False)
    with console.status("starting …") as status:
        rows = training_suite.run(plan, lambda text: status.update(f"{text} …"))
    console.print(training_report.table(rows), highlight=False)
    if path is not None:
        training_report.write_json(path, machine, rows)
    return 1 if any(row.contender == OURS and row.problem for row in rows) else 0


def _plan(args: argparse.Namespace) -> Plan:
    from capsroute.bench import peers, training_suite
    from capsroute.bench.training import CONVOLUTIONS

    if args.training_convolutions not in CONVOLUTIONS:
        raise ValueError(f"--convolutions must be among {', '.join(CONVOLUTIONS)}; got {args.training_convolutions!r}")
    for name in ("batch", "rounds", "threads"):
        value = getattr(args, f"training_{name}")
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1; got {value}")
    families = [] if args.training_compare == "none" else split(args.training_compare)
    peers.check_families(families)
    rounds = training_suite.ROUNDS if args.training_rounds is None else args.training_rounds
    return training_suite.Plan(args.training_batch, args.training_convolutions, families, rounds)
