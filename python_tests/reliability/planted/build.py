"""A copy of the core's sources in which faults are planted, and its builds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .faults import Fault

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("csrc", "cmake", "CMakeLists.txt", "capsroute/_version.py", "scripts")
SECONDS = 1800  # longer than any driver takes that goes on
# One instruction set is enough to see a fault, and a third of the work.
OPTIONS = ("-DCAPSROUTE_X86_64=OFF", "-DCAPSROUTE_WERROR=OFF")
# The first race is enough.
ENVIRONMENT = {
    "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:halt_on_error=1",
    "OMP_NUM_THREADS": "1",
}


class Run(NamedTuple):
    """What a driver said, and whether it was content."""

    status: int
    text: str

    def line(self, pattern: str) -> str | None:
        """The first line that matches, from there on, without addresses, process numbers and folders."""
        for line in self.text.splitlines():
            if found := re.search(pattern, line):
                said = re.sub(r" on address .*|0x[0-9a-f]+ ?|==\d+==| \(pid=\d+\)", "", line[found.start() :])
                return re.sub(r"/\S+/csrc/", "csrc/", said).strip()
        return None


def copy_if_other(source: str, copy: str) -> str:
    """Copies a file unless it is there already: the age of its copy says what must be built again."""
    if not (Path(copy).exists() and Path(copy).read_bytes() == Path(source).read_bytes()):
        shutil.copyfile(source, copy)
        shutil.copymode(source, copy)
    return copy


class Tree:
    """The copy. Builds are made when first asked for, and then changed a file at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = dict(os.environ)
        for name in SOURCES:
            source, copy = ROOT / name, folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, copy_function=copy_if_other, dirs_exist_ok=True)
            else:
                copy_if_other(str(source), str(copy))

    def build(self, kind: str, driver: str) -> Run:
        """Builds one driver of csrc/tests with a sanitizer, or plain."""
        folder = self._folder / "build" / kind
        options = list(OPTIONS)
        if kind != "plain":
            options.append(f"-DCAPSROUTE_SANITIZE={kind}")
        command = ["cmake", "-S", ".", "-B", str(folder), "-G", "Ninja", "-DCAPSROUTE_BUILD_TESTS=ON", *options]
        if not (folder / "build.ninja").exists():
            configured = self._run(command, kind)
            if configured.status != 0:
                return configured
        return self._run(["cmake", "--build", str(folder), "--target", driver], kind)

    def drive(self, kind: str, driver: str) -> Run:
        """Runs a driver that was built."""
        return self._run([str(self._folder / "build" / kind / driver)], kind)

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        """The fault stands in the copy."""
        path = self._folder / fault.file
        text = path.read_text(encoding="utf-8")
        if text.count(fault.text) != 1:
            raise ValueError(f"{fault.file} does not hold the text once that is to be replaced: {fault.text}")
        path.write_text(text.replace(fault.text, fault.replacement), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    def _run(self, command: list[str], kind: str) -> Run:
        environment = {**self._environment, **ENVIRONMENT}
        if kind == "thread":
            found = subprocess.run(["scripts/clang-with-archer"], cwd=ROOT, capture_output=True, text=True, check=False)
            if found.returncode != 0:
                return Run(found.returncode, found.stderr)
            environment["CXX"], environment["OMP_TOOL_LIBRARIES"] = found.stdout.split()
        else:
            environment["CXX"] = "g++"
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Run(0, f"{command[0]} did not end within {SECONDS} s")
        return Run(done.returncode, done.stdout)
