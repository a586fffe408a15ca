"""``capsroute bench training``: whole training steps of CapsNet that differ in who routes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from capsroute.cli import bench_options
from capsroute.cli.errors import CommandError
from capsroute.cli.option_table import refuse_unused

if TYPE_CHECKING:
    from capsroute.bench.training_suite import Plan

_OPTIONS = bench_options.Below("training")
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
    _OPTIONS.add(parser, "--batch", metavar="N", type=int, default=128, help="images per step, 128 by default")
    _OPTIONS.add(
        parser,
        "--convolutions",
        metavar="TYPE",
        default="float32",
        help="float32 (default), or bfloat16: all but the routing under autocast; the routing is always in float32",
    )
    _OPTIONS.add_shared(parser, "--compare", "--rounds", "--threads", "--json")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 1 if a result of capsroute is wrong.

    Raises:
        CommandError: Options that make no sense, a file that cannot be written, or no package rich.
    """
    bench_options.require("rich", "bench training")
    import torch
    from rich.console import Console

    from capsroute.bench import contenders, environment, record, report, training_suite

    given = _OPTIONS.read(args)
    try:
        plan = _plan(given)
        refuse_unused("bench training", given)
    except ValueError as error:
        raise CommandError(str(error)) from None
    bench_options.check_files([("--json", given.json)])
    if given.threads is not None:
        torch.set_num_threads(given.threads)

    machine = environment.describe()
    console = Console()
    console.print(environment.headline(machine), highlight=False)
    with console.status("starting …") as status:
        rows = training_suite.run(plan, lambda text: status.update(f"{text} …"))
    console.print(report.training_table(rows), highlight=False)
    if given.json is not None:
        record.write_training(given.json, machine, rows)
    return 0 if contenders.is_sound(rows) else 1


def _plan(given: argparse.Namespace) -> Plan:
    from capsroute.bench import training_suite
    from capsroute.bench.training import CONVOLUTIONS

    if given.convolutions not in CONVOLUTIONS:
        raise ValueError(f"--convolutions must be among {', '.join(CONVOLUTIONS)}; got {given.convolutions!r}")
    bench_options.check_counts(given, "batch", "rounds", "threads")
    rounds = training_suite.ROUNDS if given.rounds is None else given.rounds
    return training_suite.Plan(given.batch, given.convolutions, bench_options.families(given), rounds)
