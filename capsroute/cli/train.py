"""``capsroute train``: trains CapsNet on real images."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsroute.cli.errors import CommandError
from capsroute.cli.option_table import refuse_unused

if TYPE_CHECKING:
    from capsroute.training import TrainConfig
    from capsroute.training.parallel.ranks import Ranks
    from capsroute.training.storage.checkpoint import Checkpoint

__all__ = ["add_parser", "run"]

# What checkpoints do not hold: a run goes on with what was given of it.
_PLACE_OPTIONS = ("data_dir", "device", "threads", "rank_timeout")
_TOGGLE = argparse.BooleanOptionalAction


def add_parser(subparsers: Any) -> None:
    """Adds the command to the parser of ``capsroute``.

    What configures the training has the names of :class:`~capsroute.training.TrainConfig` and no default here: an
    option that is not given takes the value of the resumed checkpoint, or of the data set's preset.
    """
    parser = subparsers.add_parser(
        "train",
        help="train CapsNet on handwritten digits",
        description="Trains CapsNet (Sabour et al. 2017). Options that are not given suit the data set.",
        epilog=_defaults(),
        argument_default=None,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", metavar="NAME", help="digits (default, no download) or mnist")
    data.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder of MNIST's IDX files; what is absent is fetched into it"
    )
    data.add_argument("--shift", type=int, metavar="PIXELS", help="largest random shift of training images")

    model = parser.add_argument_group("network")
    model.add_argument("--network", metavar="NAME", help="capsnet (default), or pooling-cnn to compare with")
    model.add_argument("--iterations", type=int, metavar="N", help="routing iterations (default: 3)")
    model.add_argument("--routing", metavar="HOW", help="fused (default) or reference, its definition in plain PyTorch")
    model.add_argument("--reconstruction", action=_TOGGLE, help="with or without the decoder (default: with)")
    model.add_argument("--reconstruction-weight", type=float, metavar="W", help="of the squared error per image")

    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=int, metavar="N", help="passes over the training set")
    training.add_argument("--batch-size", type=int, metavar="N", help="images per step")
    training.add_argument("--lr", type=float, metavar="RATE", help="learning rate of Adam at the start")
    training.add_argument("--lr-decay", type=float, metavar="FACTOR", help="of the learning rate, per epoch")
    training.add_argument("--schedule", metavar="NAME", help="of the learning rate: exponential (default) or cosine")
    training.add_argument("--warmup", type=int, metavar="STEPS", help="in which the learning rate rises (default: 0)")
    training.add_argument("--ema", type=float, metavar="DECAY", help="average the weights; test and save the average")
    training.add_argument("--accumulate", type=int, metavar="N", help="take the images of a step in N parts")
    training.add_argument("--compile", action=_TOGGLE, help="torch.compile of the network (default: off)")
    training.add_argument("--amp", action=_TOGGLE, help="autocast in bfloat16 (default: off)")
    training.add_argument(
        "--seed", type=int, metavar="N", help="of parameters, order and shifts, below 2**32 (default: 0)"
    )

    place = parser.add_argument_group("where")
    place.add_argument("--device", metavar="NAME", help="auto (default), cpu or cuda")
    place.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads (default: torch's choice; the cores divided among ranks)"
    )
    place.add_argument(
        "--rank-timeout",
        type=float,
        metavar="SECONDS",
        help="how long ranks that torchrun started wait for one another (default: 300)",
    )
    place.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: a new one in runs/)")
    place.add_argument(
        "--resume",
        type=Path,
        metavar="PATH",
        help="checkpoint, or folder of a run, to go on from; there, without --out",
    )
    place.add_argument("--overwrite", action="store_true", help="remove an older run in --out")


def _defaults() -> str:
    """What the options that are not given are, by data set."""
    from capsroute.training.config import DATASETS, TrainConfig, preset

    names = ("epochs", "batch_size", "lr", "lr_decay", "shift", "reconstruction_weight")
    sentences = []
    for dataset in DATASETS:
        config = TrainConfig(**preset(dataset))
        options = (f"--{name.replace('_', '-')} {getattr(config, name)}" for name in names)
        sentences.append(f"Defaults for {dataset}: {', '.join(options)}.")
    return " ".join(sentences)


def run(args: argparse.Namespace) -> int:
    """Trains.

    Returns:
        0, or 128 plus the number of the signal that ended the training early.

    Raises:
        CommandError: Something that the user can mend.
    """
    from capsroute.training import TrainingError
    from capsroute.training.parallel.launch import ranks_of_environment
    from capsroute.training.parallel.ranks import ALONE, SharedError

    ranks = ALONE
    try:
        ranks = ranks_of_environment()
        return _run(args, ranks)
    except SharedError:
        return 2  # rank 0 says it
    except (TrainingError, CommandError) as error:
        raise CommandError(f"rank {ranks.rank}: {error}" if ranks.size > 1 else str(error)) from error


def _run(args: argparse.Namespace, ranks: Ranks) -> int:
    from capsroute.cli.threads import set_threads
    from capsroute.training.parallel.launch import RANK_TIMEOUT, joined, resume_command, threads_per_rank
    from capsroute.training.run import choose_device, train
    from capsroute.training.storage.checkpoint import load_checkpoint

    set_threads(args.threads if args.threads is not None else threads_per_rank(ranks))
    timeout = RANK_TIMEOUT if args.rank_timeout is None else args.rank_timeout
    if not 0 < timeout < 1e6:
        raise CommandError(f"rank_timeout must be above 0 and below a million seconds, got {timeout}")
    device = choose_device("auto" if args.device is None else args.device, ranks)
    checkpoint = load_checkpoint(_checkpoint_of(args.resume)) if args.resume is not None else None
    config = _configuration(args, checkpoint)
    refuse_unused("train", args, ranks=ranks.size, **config.as_dict())
    out = args.out or (checkpoint.path.parent if checkpoint is not None else _new_folder(config.dataset))
    values = {name.replace("_", "-"): getattr(args, name) for name in _PLACE_OPTIONS}
    resume_options = {name: value for name, value in values.items() if value is not None}
    with joined(ranks, device, timeout):
        result = train(
            config,
            out,
            device=device,
            data_dir=args.data_dir,
            resume=checkpoint,
            overwrite=args.overwrite,
            ranks=ranks,
            resume_options=resume_options,
        )
    if result.interrupted_by is not None:
        if ranks.main:
            command = resume_command(ranks, out / "checkpoint.pt", resume_options)
            print(f"interrupted; go on with: {command}", file=sys.stderr)
        return 128 + result.interrupted_by
    if ranks.main:
        print(f"test accuracy: {result.test_accuracy:.4f}")
    return 0


def _checkpoint_of(path: Path) -> Path:
    """The file itself, or the one of that name in the folder of a run."""
    from capsroute.training.storage.runfolder import RunFolder

    return RunFolder(path).checkpoint if os.path.isdir(path) else path  # Path.is_dir fails on a name that is too long


def _configuration(args: argparse.Namespace, checkpoint: Checkpoint | None) -> TrainConfig:
    """What was given explicitly, on top of the checkpoint or of the preset of the data set."""
    from capsroute.training import TrainConfig, preset

    values = {field.name: getattr(args, field.name) for field in fields(TrainConfig)}
    given = {name: value for name, value in values.items() if value is not None}
    if checkpoint is not None:
        return checkpoint.config.resumed_with(given)
    return TrainConfig(**{**preset(given.get("dataset", "digits")), **given}, allow_unused=True)


def _new_folder(dataset: str) -> Path:
    from datetime import datetime

    return Path("runs") / f"{dataset}-{datetime.now():%Y%m%d-%H%M%S}"
