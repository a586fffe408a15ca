"""Which option goes with which: one table for what is refused and for what ``--help`` says.

Every option of every command has a row. Most have an effect whatever else is given. The others need something; given
without it they would be lost without a word, so they are refused. Only what stands on the command line counts: a
default, or what a data set's preset or a checkpoint says, is nobody's wish.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsroute.cli.errors import CommandError
from capsroute.training.config import DATASETS, NEEDS, WITHOUT_FILES

__all__ = ["ALWAYS", "TABLE", "Needs", "describe", "given_options", "refuse_unused", "walk"]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Needs:
    """What an option is nothing without.

    Args:
        words: As they follow "it needs".
        met: Asked of the options and of what the command makes of them, by name.
    """

    words: str
    met: Callable[[Facts], bool]


ALWAYS = None


def _of_training(field: str) -> Needs:
    """The row of an option that configures a training, by what its field needs."""
    name, value = NEEDS[field]
    option = f"--{name.replace('_', '-')}"
    return Needs(option if value is True else f"{option} {value}", lambda facts: bool(facts[name] == value))


_FILES = [name for name in DATASETS if name not in WITHOUT_FILES]

TABLE: dict[str, dict[str, Needs | None]] = {
    "train": {
        "dataset": ALWAYS,
        "data_dir": Needs(
            f"a --dataset that is read from files, as {', '.join(_FILES)}",
            lambda facts: facts["dataset"] not in WITHOUT_FILES,
        ),
        "shift": ALWAYS,
        "network": ALWAYS,
        "iterations": _of_training("iterations"),
        "routing": _of_training("routing"),
        "reconstruction": ALWAYS,
        "reconstruction_weight": _of_training("reconstruction_weight"),
        "epochs": ALWAYS,
        "batch_size": ALWAYS,
        "lr": ALWAYS,
        "lr_decay": _of_training("lr_decay"),
        "schedule": ALWAYS,
        "warmup": ALWAYS,
        "ema": ALWAYS,
        "accumulate": ALWAYS,
        "compile": ALWAYS,
        "amp": ALWAYS,
        "seed": ALWAYS,
        "device": ALWAYS,
        "threads": ALWAYS,
        "rank_timeout": Needs("several ranks, which torchrun starts", lambda facts: facts["ranks"] > 1),
        "out": ALWAYS,
        "resume": ALWAYS,  # what configures a run and may not change is compared with the checkpoint
        "overwrite": Needs("--out", lambda facts: facts["out"] is not None),
    },
    "predict": {
        "images": ALWAYS,
        "checkpoint": ALWAYS,
        "reconstruction": ALWAYS,  # refused with the name of the file where a network has no decoder
        "overwrite": Needs("--reconstruction", lambda facts: facts["reconstruction"] is not None),
        "json": ALWAYS,
        "resize": ALWAYS,
        "invert": ALWAYS,
        "batch_size": ALWAYS,
        "device": ALWAYS,
        "threads": ALWAYS,
    },
    "experiment": {
        "name": ALWAYS,
        "full": ALWAYS,
        "data_dir": Needs("an experiment on a data set of files", lambda facts: facts["reads_files"]),
        "out": ALWAYS,
        "seeds": ALWAYS,
        "images": ALWAYS,
        "test_images": ALWAYS,
        "epochs": ALWAYS,
        "device": ALWAYS,
        "threads": ALWAYS,
    },
    "bench": {
        "device": ALWAYS,
        "shapes": ALWAYS,
        "sweep": ALWAYS,
        "dtype": ALWAYS,
        # A sweep alone is of one gradient.
        "gradient": Needs("--shapes for both", lambda facts: facts["gradient"] != "both" or facts["has_shapes"]),
        "compare": ALWAYS,
        "rounds": ALWAYS,
        "threads": ALWAYS,
        "json": ALWAYS,
        "plot": ALWAYS,
        "baseline": Needs("shapes and peers to compare", lambda facts: facts["has_shapes"] and facts["peers"]),
        "write_baseline": Needs("shapes and peers to compare", lambda facts: facts["has_shapes"] and facts["peers"]),
    },
    "bench training": dict.fromkeys(("batch", "convolutions", "compare", "rounds", "threads", "json"), ALWAYS),
    "bench gpu": {
        "out": ALWAYS,
        "shapes": ALWAYS,
        "precisions": ALWAYS,
        "compare": ALWAYS,
        "budget": ALWAYS,
        "max_autotune": Needs("--compare with compile", lambda facts: "compile" in facts["peers"]),
    },
    "info": {"json": ALWAYS},
}


def refuse_unused(command: str, args: argparse.Namespace, **made: object) -> None:
    """Refuses an option that is given and would have no effect.

    Args:
        command: A name in :data:`TABLE`.
        args: Its options, with those that stand on the command line in ``given``.
        **made: What the command has made of them, in their place or beside them.

    Raises:
        CommandError: There is one.
    """
    facts = {**vars(args), **made}
    for name, needs in TABLE[command].items():
        if needs is not None and name in args.given and not needs.met(facts):
            option = f"--{name.replace('_', '-')}"
            raise CommandError(f"{option} would have no effect: it needs {needs.words}; give that, or leave it out")


def walk(parser: argparse.ArgumentParser, command: str = "") -> Iterator[tuple[str, str, argparse.Action]]:
    """Every option and every positional argument of every command: the command, its name in the table, and itself."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from walk(below, f"{command} {name}".strip())
        elif command and action.dest != "help":
            yield command, action.dest.rpartition(":")[2], action


def describe(parser: argparse.ArgumentParser) -> None:
    """Adds to the help of each option what it needs."""
    for command, name, action in walk(parser):
        needs = TABLE[command].get(name)
        if needs is not None:
            action.help = f"{action.help}; needs {needs.words}"


def given_options(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> frozenset[str]:
    """Where the values of those options go that stand on a command line which the parser has accepted.

    The parser has no defaults any more afterwards.
    """
    for _, _, action in walk(parser):
        action.default = argparse.SUPPRESS
    return frozenset(vars(parser.parse_args(argv)))
