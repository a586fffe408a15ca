"""``capsroute experiment``: tests what capsule networks are said to do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from capsroute.cli.errors import CommandError
from capsroute.cli.option_table import refuse_unused

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Adds the command to the parser of ``capsroute``."""
    parser = subparsers.add_parser(
        "experiment",
        help="test what capsule networks are said to do",
        description="Tests a claim about capsule networks: trains networks for several seeds, prints what was "
        "measured, and writes it as NAME.json with a figure NAME.png. The defaults take minutes on two cores.",
        epilog="Experiments:\n" + _experiments(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="one of those below")
    parser.add_argument("--full", action="store_true", help="the paper's network and all images, for hours or a GPU")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder of the data set; what is absent is fetched into it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("runs/experiments"), help="folder of the results (%(default)s)"
    )
    sizes = parser.add_argument_group("sizes, where they are to differ from the default or the full form")
    sizes.add_argument("--seeds", type=int, metavar="N", help="independent repetitions")
    sizes.add_argument("--images", type=int, metavar="N", help="training images")
    sizes.add_argument("--test-images", type=int, metavar="N", help="test images")
    sizes.add_argument("--epochs", type=int, metavar="N", help="passes over the training images")
    place = parser.add_argument_group("where")
    place.add_argument("--device", metavar="NAME", default="auto", help="auto (default), cpu or cuda")
    place.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")


def _experiments() -> str:
    """A line for each."""
    from capsroute.experiments.table import EXPERIMENTS

    width = max(map(len, EXPERIMENTS))
    return "\n".join(f"  {name:<{width}}  {question}" for name, question in EXPERIMENTS.items())


def run(args: argparse.Namespace) -> int:
    """Runs an experiment.

    Raises:
        CommandError: Something that the user can mend.
    """
    from capsroute.training import TrainingError

    try:
        return _run(args)
    except TrainingError as error:
        raise CommandError(str(error)) from error


def _run(args: argparse.Namespace) -> int:
    from capsroute.cli.threads import set_threads
    from capsroute.experiments import load
    from capsroute.experiments.run import run_experiment
    from capsroute.training.run import choose_device

    experiment = load(args.name)
    refuse_unused("experiment", args, reads_files=experiment.reads_files)
    set_threads(args.threads)
    scale = experiment.full if args.full else experiment.quick
    scale = scale.changed(seeds=args.seeds, images=args.images, test_images=args.test_images, epochs=args.epochs)
    device = choose_device(args.device)
    record = run_experiment(experiment, scale, args.full, device=device, data_dir=args.data_dir, out=args.out)
    print("\n".join(["", record.headline, "", *experiment.report(record), ""]))
    print(f"written: {args.out / experiment.name}.json and .png")
    return 0
