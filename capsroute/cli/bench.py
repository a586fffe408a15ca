"""``capsroute bench``: the routing op beside plain PyTorch and ``torch.compile``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capsroute.cli import bench_gpu, bench_training
from capsroute.cli.bench_options import (
    add_shared,
    check_counts,
    check_files,
    families,
    not_writable,
    require,
    split,
)
from capsroute.cli.errors import CommandError
from capsroute.cli.option_table import TABLE, refuse_unused

if TYPE_CHECKING:
    from capsroute.bench.baseline import Baseline
    from capsroute.bench.record import Record
    from capsroute.bench.suite import Plan

_OTHERS = {"training": bench_training, "gpu": bench_gpu}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the command ``bench``."""
    parser = subparsers.add_parser(
        "bench",
        help="time the routing op beside plain PyTorch and torch.compile",
        description="Time dynamic routing on the CPU, forward and forward + backward, beside plain PyTorch (einsum and "
        "bmm) and torch.compile of both, with extra memory and the share of the machine's measured limits. The "
        "instruction set is the widest that the CPU has, or that of the environment variable CAPSROUTE_CPU_ISA.",
        epilog="Exit status: 0; 1 if a result of capsroute is wrong or a ratio is lost; 2 if options make no sense.",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cpu (default); for cuda there is bench gpu"
    )
    parser.add_argument(
        "--shapes",
        metavar="A,B",
        help="names from the table of shapes, separated by commas; all by default, none beside --sweep",
    )
    parser.add_argument(
        "--sweep",
        metavar="B,I,J,T",
        help="how the cost grows from the MNIST shape: over samples (B), input capsules (I), output capsules (J), "
        "iterations (T) or threads; one or several of B,I,J,T,threads",
    )
    parser.add_argument("--dtype", default="float32", help="float32 (default), float64, bfloat16 or float16")
    parser.add_argument(
        "--gradient",
        choices=("all", "last", "both"),
        default="both",
        help="for the backward; both by default, all in a sweep",
    )
    add_shared(parser, "--compare", "--rounds", "--threads", "--json")
    parser.add_argument("--plot", metavar="DIR", type=Path, help="draw speed-ups, shares of the limit and sweeps (PNG)")
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        type=Path,
        help="fail where a ratio to the peers is more than 20 %% below this file's",
    )
    parser.add_argument(
        "--write-baseline", metavar="FILE", type=Path, help="write the ratios of this run, for a later --baseline"
    )
    others = parser.add_subparsers(dest="other", metavar="training | gpu", title="other benchmarks")
    for module in _OTHERS.values():
        module.add_parser(others)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the command, or one of the other benchmarks below it.

    Returns:
        The exit status: 0, or 1 if a result of capsroute differs from the reference, or a ratio is lost.

    Raises:
        CommandError: Options that make no sense, files that cannot be read or written, or a package that is missing.
    """
    if args.other is not None:
        misplaced = [f"--{name.replace('_', '-')}" for name in TABLE["bench"] if name in args.given]
        if misplaced:
            raise CommandError(
                f"options of bench {args.other} go after the word {args.other}; got {' '.join(misplaced)} before it"
            )
        return _OTHERS[args.other].run(args)
    require("rich", "bench")
    if args.plot is not None:
        require("matplotlib", "bench --plot")
    try:
        plan, axes, baseline = _plan(args), _axes(args), _baseline(args)
    except ValueError as error:
        raise CommandError(str(error)) from None
    refuse_unused("bench", args, has_shapes=bool(plan.shapes), peers=plan.compare)
    check_files([("--json", args.json), ("--write-baseline", args.write_baseline)])
    try:
        if args.plot is not None:
            args.plot.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable("--plot", "folder", args.plot, error) from None
    record = _measure(args, plan, axes)
    return 0 if all([record.sound, _kept(args, record, baseline)]) else 1


def _plan(args: argparse.Namespace) -> Plan:
    """What to measure. Raises a ValueError with one sentence, as all of these do."""
    from capsroute.bench import shapes, suite, timing

    if args.device == "cuda":
        raise ValueError("--device cuda is another command: capsroute bench gpu --out DIR")
    if args.dtype not in suite.DTYPES:
        raise ValueError(f"--dtype must be among {', '.join(suite.DTYPES)}; got {args.dtype!r}")
    check_counts(args, "rounds", "threads")
    chosen: Sequence[shapes.Shape] = () if args.sweep is not None else shapes.SHAPES
    if args.shapes is not None:
        chosen = shapes.by_names(split(args.shapes))
    gradients = ("all", "last") if args.gradient == "both" else (args.gradient,)
    rounds = timing.ROUNDS if args.rounds is None else args.rounds
    return suite.Plan(chosen, args.dtype, families(args), gradients, rounds)


def _axes(args: argparse.Namespace) -> list[str]:
    """The axes to sweep."""
    from capsroute.bench import sweep

    if args.sweep is None:
        return []
    chosen = split(args.sweep)
    sweep.check_axes(chosen)
    return chosen


def _baseline(args: argparse.Namespace) -> Baseline | None:
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


def _measure(args: argparse.Namespace, plan: Plan, axes: Sequence[str]) -> Record:
    """Run, show and write everything."""
    import torch
    from rich.console import Console

    from capsroute.bench import ceilings, environment, plots, suite, sweep
    from capsroute.bench.baseline import Baseline
    from capsroute.bench.record import Record
    from capsroute.bench.report import LiveReport

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    limits = ceilings.measure(suite.DTYPES[plan.dtype])
    record = Record(environment.describe(), limits)
    with LiveReport(Console()) as report:
        report.headline(f"{plan.dtype} on {record.headline}")
        for shape, rows in suite.run(plan, limits, report.tell):
            report.add(shape, rows)
            record.rows += rows
            _write(args.json, record)
        of_sweep = dataclasses.replace(plan, gradients=("all",)) if args.gradient == "both" else plan
        for point, shape, rows in sweep.run(axes, of_sweep, limits, report.tell):
            report.add(shape, rows)
            record.swept += [(point, row) for row in rows]
            _write(args.json, record)
    if args.plot is not None:
        plots.draw(args.plot, record)
    if args.write_baseline is not None:
        Baseline.of(record.environment, plan.dtype, record.rows).write(args.write_baseline)
    return record


def _write(path: Path | None, record: Record) -> None:
    if path is not None:
        record.write(path)


def _kept(args: argparse.Namespace, record: Record, baseline: Baseline | None) -> bool:
    """Say how the run compares with the baseline; whether no ratio was lost."""
    if baseline is None:
        return True
    from capsroute.bench.baseline import compare
    from capsroute.bench.environment import headline

    now, before = headline(record.environment), headline(baseline.environment)
    if now != before:
        print(f"The baseline is of {before}.")
    verdict = compare(baseline, record.rows)
    for sentence in verdict.losses:
        print(sentence)
    print(f"{len(verdict.losses)} of {verdict.compared} ratios are lost, compared with {args.baseline}.")
    if verdict.compared == 0:
        print("A comparison of nothing proves nothing: --shapes or --compare leave out all that the baseline has.")
    return verdict.compared > 0 and not verdict.losses
