"""``capsroute bench gpu``: correctness and times on a GPU, in one unattended run."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from capsroute.cli import bench_options
from capsroute.cli.bench_options import split
from capsroute.cli.errors import CommandError
from capsroute.cli.option_table import refuse_unused

if TYPE_CHECKING:
    from capsroute.bench.gpu.plan import Plan

_OPTIONS = bench_options.Below("gpu")
_DESCRIPTION = """\
Check the CUDA kernels against the reference in float64, then time them beside plain PyTorch and torch.compile, and
write all of it to a folder: gpu.json (everything), gpu.md (tables) and PNG figures. Runs alone and ends in time; what
was found so far is in the folder from the first finding on.

What is measured, in this order as long as the budget lasts: the limits of the device; every shape held to the rule of
correctness; the MNIST shape with all that belongs to it; the other shapes beside plain PyTorch; torch.compile, which
takes longest. What there was no time for is named in gpu.md."""


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add ``gpu`` to the command ``bench``."""
    parser = subparsers.add_parser(
        "gpu",
        help="check and time the CUDA kernels on a GPU, unattended, within 8 minutes",
        description=_DESCRIPTION,
        epilog="Exit status: 0; 1 if a result is wrong or the package failed; 2 if there is nothing to measure.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _OPTIONS.add(parser, "--out", metavar="DIR", type=Path, required=True, help="folder to write to, made if absent")
    _OPTIONS.add(parser, "--shapes", metavar="A,B", help="names from the table of shapes; all by default")
    _OPTIONS.add(
        parser,
        "--precisions",
        metavar="A,B",
        help="what to time, among float32, tf32, bfloat16, float16; the first three by default; all are checked",
    )
    _OPTIONS.add_shared(parser, "--compare")
    _OPTIONS.add(
        parser,
        "--budget",
        metavar="SECONDS",
        type=float,
        default=480.0,
        help="time after which nothing new is begun, 480 by default; the run is ended 60 seconds later if it hangs",
    )
    _OPTIONS.add(
        parser,
        "--max-autotune",
        action="store_true",
        help="compile the peers with mode max-autotune, which takes minutes per shape",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        The exit status: 0, or 1 if a result is wrong or the package failed.

    Raises:
        CommandError: Options that make no sense, no GPU to measure, or a folder that cannot be written.
    """
    bench_options.require("matplotlib", "bench gpu")
    from capsroute.bench.gpu import command
    from capsroute.bench.gpu.folder import Folder

    given = _OPTIONS.read(args)
    try:
        plan = _plan(given)
        refuse_unused("bench gpu", given, peers=plan.compare)
        device = command.open_device()
    except (ValueError, command.UnusableError) as error:
        raise CommandError(str(error)) from None
    try:
        folder = Folder(given.out)
    except OSError as error:
        raise bench_options.not_writable("--out", "folder", given.out, error) from None
    return 0 if command.execute(plan, folder, _tell, device) else 1


def _plan(given: argparse.Namespace) -> Plan:
    from capsroute.bench import shapes
    from capsroute.bench.gpu import plan

    if not (given.budget > 0 and math.isfinite(given.budget)):
        raise ValueError(f"--budget must be a number of seconds above 0; got {given.budget:g}")
    families = bench_options.families(given)
    chosen = shapes.SHAPES if given.shapes is None else shapes.by_names(split(given.shapes))
    precisions = plan.by_names(list(plan.TIMED) if given.precisions is None else split(given.precisions))
    mode = "max-autotune-no-cudagraphs" if given.max_autotune else None
    return plan.Plan(chosen, precisions, families, given.budget, mode)


def _tell(line: str) -> None:
    print(line, flush=True)
