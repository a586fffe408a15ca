"""``capsroute bench gpu``: correctness and times on a GPU, in one unattended run."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from capsroute.cli.errors import CommandError

if TYPE_CHECKING:
    from capsroute.bench.gpu.plan import Plan

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
    # Options of `bench` have the same names. What is given before `gpu` must not be lost unnoticed, hence other dests.
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write to, made if absent")
    parser.add_argument(
        "--shapes", metavar="A,B", dest="gpu_shapes", help="names from the table of shapes; all by default"
    )
    parser.add_argument(
        "--precisions",
        metavar="A,B",
        dest="gpu_precisions",
        help="what to time, among float32, tf32, bfloat16, float16; the first three by default; all are checked",
    )
    parser.add_argument(
        "--compare",
        metavar="A,B",
        dest="gpu_compare",
        default="eager,compile",
        help="eager, compile, both (default) or none",
    )
    parser.add_argument(
        "--budget",
        metavar="SECONDS",
        dest="gpu_budget",
        type=float,
        default=480.0,
        help="time after which nothing new is begun, 480 by default; the run is ended 60 seconds later if it hangs",
    )
    parser.add_argument(
        "--max-autotune",
        dest="gpu_max_autotune",
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
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise CommandError(
            "bench gpu needs the package matplotlib; install it with: pip install 'capsroute[bench]'"
        ) from None
    from capsroute.bench.gpu import command
    from capsroute.bench.gpu.folder import Folder

    try:
        plan = _plan(args)
    except ValueError as error:
        raise CommandError(str(error)) from None
    try:
        device = command.open_device()
    except command.UnusableError as error:
        raise CommandError(str(error)) from None
    try:
        folder = Folder(args.out)
    except OSError as error:
        raise CommandError(
            f"--out must be a folder that can be written, got {str(args.out)!r}: {error.strerror}"
        ) from None
    sound = command.execute(plan, folder, _tell, device)
    return 0 if sound else 1


def _plan(args: argparse.Namespace) -> Plan:
    from capsroute.bench import peers, shapes
    from capsroute.bench.gpu import plan

    if not (args.gpu_budget > 0 and math.isfinite(args.gpu_budget)):
        raise ValueError(f"--budget must be a number of seconds above 0; got {args.gpu_budget:g}")
    families = [] if args.gpu_compare == "none" else split(args.gpu_compare)
    peers.check_families(families)
    chosen = shapes.SHAPES if args.gpu_shapes is None else shapes.by_names(split(args.gpu_shapes))
    precisions = plan.by_names(list(plan.TIMED) if args.gpu_precisions is None else split(args.gpu_precisions))
    mode = "max-autotune-no-cudagraphs" if args.gpu_max_autotune else None
    return plan.Plan(chosen, precisions, families, args.gpu_budget, mode)


def split(text: str) -> list[str]:
    """The parts of a list on the command line."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _tell(line: str) -> None:
    print(line, flush=True)
