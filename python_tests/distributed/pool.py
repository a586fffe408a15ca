"""Processes that are the ranks of the tests, started once: to start them takes longer than all they do."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

RANKS = 4
_SECONDS = 60.0  # after which a rank that says nothing hangs
_SECONDS_TO_START = 300.0  # all of them import torch at once

Task = Callable[..., Any]  # of the rank, the group, and what a test gives


def _serve(rank: int, directory: str, connection: Connection) -> None:
    torch.set_num_threads(1)
    connection.send_bytes(b"torch is imported")
    connection.recv_bytes()  # once it is on all ranks, of which none then waits long for the others
    dist.init_process_group(
        "gloo",
        init_method=f"file://{directory}/store",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=_SECONDS / 2),
    )
    groups = {ranks: dist.new_group(list(range(ranks))) for ranks in (1, 2, 3)} | {RANKS: None}
    while True:
        message = connection.recv_bytes()
        task, ranks, arguments, more = pickle.loads(message)
        try:
            answer: tuple[bool, Any] = True, task(rank, groups[ranks], *arguments, **more)
        except Exception:
            answer = False, traceback.format_exc()
        connection.send_bytes(pickle.dumps(answer))


class Ranks:
    """The processes. ``run`` gives a task to the first of them and returns what each answers."""

    def __init__(self, directory: Path) -> None:
        server = multiprocessing.get_context("forkserver")  # which imports torch once, and computes nothing itself
        server.set_forkserver_preload(["torch"])
        self._connections, self._processes = [], []
        self._broken = False
        for rank in range(RANKS):
            own, theirs = server.Pipe()
            process = server.Process(target=_serve, args=(rank, str(directory), theirs), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(own)
            self._processes.append(process)
        for connection in self._connections:
            assert connection.poll(_SECONDS_TO_START), "a rank does not start"
            connection.recv_bytes()
        for connection in self._connections:
            connection.send_bytes(b"go on")

    def run(self, task: Task, *arguments: Any, ranks: int = RANKS, **more: Any) -> list[Any]:
        """Call ``task(rank, group, *arguments, **more)``, a function of a module, on that many ranks, from 0 on.

        The group is of these, and the arguments are the same for all.
        """
        assert not self._broken, "an earlier test left the ranks waiting for each other"
        taking_part = self._connections[:ranks]
        for connection in taking_part:
            connection.send_bytes(pickle.dumps((task, ranks, arguments, more)))
        answers = []
        for rank, connection in enumerate(taking_part):
            if not connection.poll(_SECONDS):
                self._broken = True
                pytest.fail(f"rank {rank} of {ranks} hangs in {task.__name__}")
            answers.append(pickle.loads(connection.recv_bytes()))
        for rank, (fine, answer) in enumerate(answers):
            assert fine, f"rank {rank} of {ranks}: {answer}"
        return [answer for _, answer in answers]

    def stop(self) -> None:
        """End the processes, which have nothing to put away."""
        for process in self._processes:
            process.kill()
            process.join()
