"""Builds and tests a tree with one mutation at a time, in a copy that is kept, so that builds are of what changed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..planted.build import copy_if_other
from .draw import AREAS
from .mutation import Mutation

Command = tuple[str, ...]

_CORE: Command = ("build/core/core_tests",)
_EMULATION: Command = ("build/core/emulation_tests",)
# These two look at the text of the sources, and would see any mutation.
_NOT_OF_TEXT = [f"--ignore=python_tests/reliability/{name}" for name in ("mutations", "planted")]


def _pytest(*arguments: str) -> Command:
    return ("python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *_NOT_OF_TEXT, *arguments)


_ROUTING, _ALL = _pytest("python_tests/routing", "-n", "2"), _pytest("python_tests", "-n", "2")
_BY_AREA: dict[str, list[Command]] = {
    "python": [_ROUTING, _pytest("python_tests/nn", "python_tests/parity", "python_tests/distributed"), _ALL],
    "cpu": [_CORE, _pytest("python_tests/routing", "-n", "2", "-k", "not cuda"), _ALL],
    "cuda": [_EMULATION, _pytest("python_tests/routing", "-n", "2", "-k", "cuda"), _ALL],
    "shared": [_CORE, _EMULATION, _ROUTING, _ALL],
}
# What most likely sees a mutation of an area comes first. What the commands run differs with the tree.
SUITES = {"old": _BY_AREA, "new": _BY_AREA}

BUILD: list[Command] = [
    ("python", "setup.py", "-q", "build_ext", "--inplace"),
    ("scripts/build-core", "build/core"),
]
BUILD_ENVIRONMENT = {"CAPSROUTE_EMULATION": "1", "CAPSROUTE_CUDA": "0", "CAPSROUTE_WERROR": "1"}
LONGEST = 6 * 3600.0  # of a command without a mutation
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "build", "__pycache__", "*.so")
_FAILURES = (r"^(?:FAILED|ERROR) (\S+::\S+)", r"^FAILED: (.*)", r"^ERROR (\S+)", r"^E  +(.*)")


class Run(NamedTuple):
    """How a command ended; None where it did not."""

    status: int | None
    text: str
    seconds: float

    def test(self) -> str:
        """The test that failed."""
        if self.status is None:
            return f"no end within {self.seconds:.0f} s"
        found = (re.search(pattern, self.text, re.MULTILINE) for pattern in _FAILURES)
        return next((match[1] for match in found if match), f"exit status {self.status}")

    def complaint(self) -> str:
        """The first line of a compiler that speaks of an error."""
        match = re.search(r"(?:error|FAILED): .*", self.text)
        return match[0] if match else self.text[-200:]


class Copy:
    """The copy of a tree that is mutated."""

    def __init__(self, tree: Path, folder: Path, python: str) -> None:
        self.folder, self._python = folder, python
        shutil.copytree(tree, folder, copy_function=copy_if_other, dirs_exist_ok=True, ignore=_NOT_COPIED)
        self._environment = {
            **os.environ,
            # cmake and ninja stand beside Python.
            "PATH": os.pathsep.join([str(Path(python).parent), os.environ["PATH"]]),
            # Python takes old bytecode for new where a file of the same size was changed twice in one second.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, command: Command, limit: float = LONGEST, **environment: str) -> Run:
        """Run a command; what it started ends with it."""
        # Hypothesis would begin with what failed for other mutations.
        shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        words = [self._python if word == "python" else word for word in command]
        start = time.monotonic()
        status: int | None = None
        # A file, because whoever was left alone by what ended would hold a pipe open.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env={**self._environment, **environment},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                pass
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            said.seek(0)
            return Run(status, said.read(), time.monotonic() - start)

    def build(self) -> Run:
        """Build the modules and the drivers, with warnings as errors; the first command that fails, or the last."""
        for command in BUILD:
            done = self.run(command, **BUILD_ENVIRONMENT)
            if done.status != 0:
                break
        return done


def _not_tried(by: str, why: str, seconds: float = 0.0) -> dict[str, Any]:
    return {"result": "no mutant", "by": by, "test": why, "seconds": seconds}


def _outcome(copy: Copy, mutation: Mutation, commands: Sequence[Command], clean: dict[str, float]) -> dict[str, Any]:
    """Build and test with a mutation that stands in the copy."""
    if mutation.area != "python":
        built = copy.build()
        if built.status != 0:
            return _not_tried("the compiler", built.complaint(), built.seconds)
    seconds = 0.0
    for command in commands:
        done = copy.run(command, limit=60 + 3 * clean[" ".join(command)])
        seconds += done.seconds
        if done.status != 0:
            return {"result": "caught", "by": " ".join(command), "test": done.test(), "seconds": seconds}
    return {"result": "missed", "by": None, "test": None, "seconds": seconds}


def try_one(copy: Copy, mutation: Mutation, commands: Sequence[Command], clean: dict[str, float]) -> dict[str, Any]:
    """The row of a mutation, after which the copy is as before."""
    path = mutation.path(copy.folder)
    if path is None:
        return {"id": mutation.id, **_not_tried("the tree", "its lines do not stand there once")}
    text = path.read_text(encoding="utf-8")
    path.write_text(mutation.applied(text), encoding="utf-8")
    try:
        return {"id": mutation.id, **_outcome(copy, mutation, commands, clean)}
    finally:
        path.write_text(text, encoding="utf-8")


def run(
    copy: Copy,
    mutations: Sequence[Mutation],
    suite: dict[str, list[Command]],
    state: dict[str, Any],
    save: Callable[[dict[str, Any]], None],
) -> str | None:
    """Goes on with the mutations where ``state`` ends: seconds of commands without a mutation, and rows.

    Returns:
        What fails without a mutation, or None.
    """
    clean, rows = state.setdefault("clean", {}), {row["id"]: row for row in state.setdefault("rows", [])}
    built = copy.build()
    if built.status != 0:
        return f"the build fails without a mutation:\n{built.text[-3000:]}"
    areas = [area for area in AREAS if any(mutation.area == area for mutation in mutations)]
    for command in dict.fromkeys(command for area in areas for command in suite[area]):
        if " ".join(command) not in clean:
            done = copy.run(command)
            if done.status != 0:
                return f"{' '.join(command)} fails without a mutation: {done.test()}\n{done.text[-3000:]}"
            clean[" ".join(command)] = round(done.seconds, 1)
            save(state)
    for area in areas:  # Python first: its mutations find the modules as they were built above
        of_area = [mutation for mutation in mutations if mutation.area == area]
        wanted = sum(not mutation.spare for mutation in of_area)
        for mutation in of_area:
            if sum(rows[m.id]["result"] != "no mutant" for m in of_area if m.id in rows) == wanted:
                break
            if mutation.id in rows:
                continue
            row = try_one(copy, mutation, suite[area], clean)
            rows[mutation.id] = {**row, "seconds": round(row["seconds"], 1)}
            state["rows"] = list(rows.values())
            save(state)
            print(f"{row['result']}: {mutation.id} {mutation.file}:{mutation.line}: {row['test']}", flush=True)
    return None
