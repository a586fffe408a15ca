"""Builds and tests a tree with one mutation at a time, in a copy that is kept, so that builds are of what changed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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


class Suite(NamedTuple):
    """How a tree is built, and for each area its tests: those nearest to it, and last of all the whole suite."""

    build: Sequence[Command]
    areas: Mapping[str, Sequence[Command]]


def _pytest(*arguments: str) -> Command:
    return ("python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "2", *_NOT_OF_TEXT, *arguments)


def _only(kernels: str) -> Command:
    return ("env", f"CAPSROUTE_KERNELS={kernels}", *_pytest("python_tests", "-m", "kernels"))


_BUILD_MODULES: Command = ("python", "setup.py", "-q", "build_ext", "--inplace")
_ROUTING, _ALL = _pytest("python_tests/routing"), _pytest("python_tests")
_CASES = _pytest("python_tests/routing/test_cases.py", "python_tests/routing/test_option_table.py")
_NEIGHBOURS = _pytest("python_tests/nn", "python_tests/parity", "python_tests/distributed")
SUITES = {
    "old": Suite(
        [_BUILD_MODULES, ("scripts/build-core", "build/core")],
        {
            "python": [_ROUTING, _NEIGHBOURS, _ALL],
            "cpu": [_CORE, _pytest("python_tests/routing", "-k", "not cuda"), _ALL],
            "cuda": [_EMULATION, _pytest("python_tests/routing", "-k", "cuda"), _ALL],
            "shared": [_CORE, _EMULATION, _ROUTING, _ALL],
        },
    ),
    "new": Suite(
        [("env", "CAPSROUTE_BUILD_BOTH=1", *_BUILD_MODULES)],
        {
            "python": [_CASES, _ROUTING, _NEIGHBOURS, _ALL],
            "cpu": [_CORE, _CASES, _only("avx512,avx2,baseline"), _ALL],
            "cuda": [_EMULATION, _only("cuda"), _ALL],
            "shared": [_CORE, _EMULATION, _CASES, _ROUTING, _ALL],
        },
    ),
}
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

    def build(self, commands: Sequence[Command]) -> Run:
        """Build the modules and the drivers, with warnings as errors; the first command that fails, or the last."""
        for command in commands:
            done = self.run(command, **BUILD_ENVIRONMENT)
            if done.status != 0:
                break
        return done


def _not_tried(by: str, why: str, seconds: float = 0.0) -> dict[str, Any]:
    return {"result": "no mutant", "by": by, "test": why, "seconds": seconds}


def _outcome(
    copy: Copy, mutation: Mutation, build: Sequence[Command], tests: Sequence[Command], clean: Mapping[str, float]
) -> dict[str, Any]:
    """Build and test with a mutation that stands in the copy."""
    if mutation.area != "python":
        built = copy.build(build)
        if built.status != 0:
            return _not_tried("the compiler", built.complaint(), built.seconds)
    seconds = 0.0
    for command in tests:
        done = copy.run(command, limit=60 + 3 * clean[" ".join(command)])
        seconds += done.seconds
        if done.status != 0:
            return {"result": "caught", "by": " ".join(command), "test": done.test(), "seconds": seconds}
    return {"result": "missed", "by": None, "test": None, "seconds": seconds}


def try_one(
    copy: Copy, mutation: Mutation, build: Sequence[Command], tests: Sequence[Command], clean: Mapping[str, float]
) -> dict[str, Any]:
    """The row of a mutation, after which the copy is as before."""
    path = mutation.path(copy.folder)
    if path is None:
        return {"id": mutation.id, **_not_tried("the tree", "its lines do not stand there once")}
    text = path.read_text(encoding="utf-8")
    path.write_text(mutation.applied(text), encoding="utf-8")
    try:
        row = {"id": mutation.id, **_outcome(copy, mutation, build, tests, clean)}
    finally:
        path.write_text(text, encoding="utf-8")
    return {**row, "seconds": round(row["seconds"], 1)}


class Session:
    """A suite, tried in a copy; goes on where ``state`` ends: seconds of commands without a mutation, and rows."""

    def __init__(self, copy: Copy, suite: Suite, state: dict[str, Any], save: Callable[[dict[str, Any]], None]) -> None:
        self._copy, self._suite, self._state, self._save = copy, suite, state, save
        self._clean: dict[str, float] = state.setdefault("clean", {})
        self.rows: dict[str, dict[str, Any]] = {row["id"]: row for row in state.setdefault("rows", [])}

    def prepare(self, areas: Sequence[str], *, whole: bool) -> str | None:
        """Builds, and runs each command without a mutation. Returns what fails, or None."""
        built = self._copy.build(self._suite.build)
        if built.status != 0:
            return f"the build fails without a mutation:\n{built.text[-3000:]}"
        for command in dict.fromkeys(command for area in areas for command in self._tests(area, whole)):
            if " ".join(command) not in self._clean:
                done = self._copy.run(command)
                if done.status != 0:
                    return f"{' '.join(command)} fails without a mutation: {done.test()}\n{done.text[-3000:]}"
                self._clean[" ".join(command)] = round(done.seconds, 1)
                self._save(self._state)
        return None

    def attempt(self, mutation: Mutation, *, whole: bool) -> None:
        """Tries a mutation, and keeps the row."""
        tests = self._tests(mutation.area, whole)
        row = {**try_one(self._copy, mutation, self._suite.build, tests, self._clean), "whole": whole}
        self.rows[mutation.id] = row
        self._state["rows"] = list(self.rows.values())
        self._save(self._state)
        print(f"{row['result']}: {mutation.id} {mutation.file}:{mutation.line}: {row['test']}", flush=True)

    def _tests(self, area: str, whole: bool) -> Sequence[Command]:
        *nearest, everything = self._suite.areas[area]
        return [everything] if whole else nearest


def run(session: Session, mutations: Sequence[Mutation], *, whole: bool = False) -> str | None:
    """Tries the mutations with the tests nearest to them, or with the whole suite those that nothing nearer saw.

    Returns:
        What fails without a mutation, or None.
    """
    if whole:
        left = [each for each in mutations if session.rows.get(each.id, {}).get("result") == "missed"]
        left = [each for each in left if not session.rows[each.id]["whole"]]
        problem = session.prepare(list(dict.fromkeys(each.area for each in left)), whole=True)
        for each in left if problem is None else ():
            session.attempt(each, whole=True)
        return problem
    areas = [area for area in AREAS if any(mutation.area == area for mutation in mutations)]
    problem = session.prepare(areas, whole=False)
    for area in areas if problem is None else ():  # Python first: its mutations find the modules as they were built
        of_area = [mutation for mutation in mutations if mutation.area == area]
        wanted = sum(not mutation.spare for mutation in of_area)
        for mutation in of_area:
            if sum(session.rows[m.id]["result"] != "no mutant" for m in of_area if m.id in session.rows) == wanted:
                break
            if mutation.id not in session.rows:
                session.attempt(mutation, whole=False)
    return problem
