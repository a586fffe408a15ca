"""What the options of ``capsroute bench`` ask for, and whether they make sense."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from capsroute.cli import bench_gpu
from capsroute.cli.errors import CommandError

if TYPE_CHECKING:
    from capsroute.bench.baseline import Baseline
    from capsroute.bench.suite import Plan


def plan(args: argparse.Namespace) -> Plan:
    """What to measure. Raises a ValueError with one sentence, as all of these do."""
    from capsroute.bench import peers, shapes, suite, timing

    if args.device == "cuda":
        raise ValueError("--device cuda is another command: capsroute bench gpu --out DIR")
    if args.dtype not in suite.DTYPES:
        raise ValueError(f"--dtype must be among {', '.join(suite.DTYPES)}; got {args.dtype!r}")
    for name in ("rounds", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1; got {value}")
    families = [] if args.compare == "none" else bench_gpu.split(args.compare)
    peers.check_families(families)
    chosen: Sequence[shapes.Shape] = () if args.sweep is not None else shapes.SHAPES
    if args.shapes is not None:
        chosen = shapes.by_names(bench_gpu.split(args.shapes))
    gradients = ("all", "last") if args.gradient == "both" else (args.gradient,)
    rounds = timing.ROUNDS if args.rounds is None else args.rounds
    return suite.Plan(chosen, args.dtype, families, gradients, rounds)


def axes(args: argparse.Namespace) -> list[str]:
    """The axes to sweep."""
    from capsroute.bench import sweep

    if args.sweep is None:
        return []
    chosen = bench_gpu.split(args.sweep)
    sweep.check_axes(chosen)
    return chosen


def baseline(args: argparse.Namespace) -> Baseline | None:
    """The baseline to compare with, if one is asked for."""
    from capsroute.bench.baseline import Baseline

    if args.baseline is None:
        return None
    try:
        stored = Baseline.read(args.baseline)
    except OSError as error:
        raise ValueError(
            f"--baseline must be a file that can be read, got {str(args.baseline)!r}: {error.strerror}"
        ) from None
    except ValueError as error:
        raise ValueError(f"--baseline must be a file that --write-baseline wrote: {error}") from None
    if stored.dtype != args.dtype:
        raise ValueError(f"--baseline must be of the --dtype {args.dtype}, got one of {stored.dtype}")
    return stored


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse files that could not be written, before hours of work, with a CommandError."""
    from capsroute.bench.files import check_writable

    for name, path in (("--json", args.json), ("--write-baseline", args.write_baseline)):
        try:
            if path is not None:
                check_writable(path)
        except OSError as error:
            raise CommandError(
                f"{name} must be a file that can be written, got {str(path)!r}: {error.strerror}"
            ) from None
    try:
        if args.plot is not None:
            args.plot.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"--plot must be a folder that can be written, got {str(args.plot)!r}: {error.strerror}"
        ) from None


def require(package: str, user: str) -> None:
    """Raise a CommandError if a package of the extra ``bench`` is missing."""
    if importlib.util.find_spec(package) is None:
        raise CommandError(f"{user} needs the package {package}; install it with: pip install 'capsroute[bench]'")
