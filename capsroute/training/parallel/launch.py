"""How a process finds the others that ``torchrun`` started with it, and what it says when it loses them."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from capsroute.training.errors import TrainingError
from capsroute.training.parallel.ranks import ALONE, Ranks

__all__ = [
    "RANK_TIMEOUT",
    "joined",
    "lost_ranks_named",
    "ranks_of_environment",
    "resume_command",
    "threads_per_rank",
]

RANK_TIMEOUT = 300.0
"""Seconds for which a rank waits for another one, unless told otherwise."""


def ranks_of_environment() -> Ranks:
    """The place of this process, from the variables that ``torchrun`` sets; :data:`ALONE` without them.

    Raises:
        TrainingError: They are incomplete, or are no numbers.
    """
    if not os.environ.get("WORLD_SIZE") or _number("WORLD_SIZE") == 1:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    absent = [name for name in (*names, "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if absent:
        raise TrainingError(
            f"the environment variable WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {absent[0]} is not set: start the "
            "ranks by torchrun"
        )
    return Ranks(*(_number(name) for name in names))


def _number(name: str) -> int:
    value = os.environ[name]
    if not value.isdecimal():
        raise TrainingError(f"the environment variable {name} must be a number, got {value!r}")
    return int(value)


def threads_per_rank(ranks: Ranks) -> int | None:
    """The cores of this machine divided among its ranks; None for one process, which keeps torch's choice."""
    if ranks.size == 1:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // ranks.local_size)


def resume_command(ranks: Ranks, checkpoint: Path, options: Mapping[str, object] | None = None) -> str:
    """What to type into a shell to go on from a checkpoint, on this machine.

    Args:
        ranks: Of the run.
        checkpoint: File.
        options: What else was given, of what checkpoints do not hold: values by the names of the options, without
            their dashes.
    """
    words = ["capsroute", "train", "--resume", str(checkpoint)]
    if ranks.size > 1:
        words = ["torchrun", "--nproc-per-node", str(ranks.local_size), "-m", *words]
    for name, value in (options or {}).items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)


@contextmanager
def joined(ranks: Ranks, device: torch.device, timeout: float = RANK_TIMEOUT) -> Iterator[None]:
    """Within it, the ranks can talk to each other: by gloo, and on GPUs by NCCL too.

    Args:
        ranks: From :func:`ranks_of_environment`.
        device: Where the network of this rank runs.
        timeout: Seconds after which a rank that does not answer counts as lost.

    Raises:
        TrainingError: The others cannot be reached.
    """
    if ranks.size == 1:
        yield
        return
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            timeout=timedelta(seconds=timeout),
            rank=ranks.rank,
            world_size=ranks.size,
        )
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise TrainingError(f"cannot join the other ranks at {place}: {_first_line(error)}") from error
    with lost_ranks_named(ranks, lambda: "start again"):
        yield
    # Not after an error: the others may be gone, and NCCL would wait for them.
    distributed.destroy_process_group()


@contextmanager
def lost_ranks_named(ranks: Ranks, advice: Callable[[], str]) -> Iterator[None]:
    """Turns the error of a rank that has lost another one into one sentence, with ``advice`` asked for only then.

    Raises:
        TrainingError: Another rank ended, or did not answer in time.
    """
    try:
        yield
    except RuntimeError as error:
        if ranks.size == 1 or not _from_communication(error):
            raise
        # torchrun ends those who are left by this signal, maybe before they have said why.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise TrainingError(f"another rank ended or did not answer ({_first_line(error)}): {advice()}") from error


def _from_communication(error: Exception) -> bool:
    """Gloo raises a plain RuntimeError, by which its name is in the path of the source that it names."""
    return isinstance(error, distributed.DistError) or any(name in str(error) for name in ("gloo", "NCCL"))


def _first_line(error: Exception) -> str:
    """The first sentence, without the place in the source."""
    line = str(error).split("\n")[0]
    if line.startswith("["):
        line = line.partition("] ")[2]
    return line.split(". ")[0]
