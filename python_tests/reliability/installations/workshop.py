"""A folder to build and install in: the distributions, and environments that hold torch and no capsroute."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from python_tests.packaging.tree import ROOT, UNWANTED, clean_environment, copy_of_the_tree

IN_BASE = ("numpy", "pytest", "hypothesis", "setuptools", "packaging")  # besides torch


class Failure(Exception):
    """An installation that did not come out as it must; one line, and then what was printed."""


def run(command: Sequence[object], *, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """What a command prints; by default with the variables of this process without what steers a build.

    Raises:
        Failure: It could not start, or ended with another status than 0.
    """
    words = [str(word) for word in command]
    own = clean_environment() if environment is None else environment
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        done = subprocess.run(words, cwd=cwd, env=own, check=False, **output)
    except OSError as error:
        raise Failure(f"{words[0]} could not be started: {error}") from error
    if done.returncode != 0:
        raise Failure(f"{' '.join(words[:6])} … ended with status {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment that a test may fill; torch is in reach, and capsroute is not."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        """Its folder of packages."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def pip(self, *arguments: object, cwd: Path, environment: dict[str, str] | None = None) -> str:
        """What pip prints."""
        command = [self.python, "-m", "pip", "--disable-pip-version-check", *arguments]
        return run(command, cwd=cwd, environment=environment)

    def files(self) -> set[str]:
        """All that lies in its folders of packages and programs, but for bytecode."""
        found = (path for folder in (self.site, self.folder / "bin") for path in folder.rglob("*"))
        return {str(path.relative_to(self.folder)) for path in found if "__pycache__" not in path.parts}


@dataclass
class Workshop:
    """Builds once what several ways of installing need."""

    folder: Path  # an empty one, for everything
    python: str  # the interpreter to install for
    torch: str  # what pip installs as torch, unless a base is given
    given_base: Path | None = None  # an environment of that interpreter with torch and pytest, and no capsroute
    built: Path | None = None  # a folder with an sdist and wheels that were built before
    build: dict[str, str] = field(default_factory=dict)  # variables that steer the builds, such as CXX or CUDACXX

    @functools.cached_property
    def base(self) -> Environment:
        """The environment with torch, which no way of installing changes."""
        if self.given_base is not None:
            return Environment(self.given_base)
        made = Environment(self.folder / "base")
        run([self.python, "-m", "venv", made.folder], cwd=self.folder)
        made.pip("install", "--quiet", "--no-compile", self.torch, *IN_BASE, cwd=self.folder)
        return made

    def environment(self, name: str) -> Environment:
        """A new environment that finds the packages of the base behind its own."""
        made = Environment(self.folder / "environments" / name)
        run([self.base.python, "-m", "venv", made.folder], cwd=self.folder)
        made.pip("uninstall", "--quiet", "--yes", "setuptools", cwd=self.folder)  # too old for torch; the base has one
        (made.site / "torch_of_the_base.pth").write_text(f"{self.base.site}\n")
        held = run([made.python, "-c", "import importlib.util as u; print(u.find_spec('capsroute'))"], cwd=self.folder)
        if held.strip() != "None":
            raise Failure(f"the environment that must be empty finds capsroute: {held.strip()}")
        return made

    def variables(self, **changes: str) -> dict[str, str]:
        """The variables of a build."""
        return clean_environment(**(self.build | changes))

    @functools.cached_property
    def tree(self) -> Path:
        """A copy of the sources, in a path with spaces and letters that are not ASCII."""
        return copy_of_the_tree(self.folder / "a path with späces" / "капсула")

    @functools.cached_property
    def sdist(self) -> Path:
        """Built from the tree, in isolation."""
        return self._distribution("--sdist", self.tree, "*.tar.gz")

    @functools.cached_property
    def wheel(self) -> Path:
        """Built from the sdist, in isolation, by the Python that it is for."""
        unpacked = self.folder / "unpacked"
        shutil.unpack_archive(self.sdist, unpacked, filter="data")
        (source,) = unpacked.iterdir()
        return self._distribution("--wheel", source, "*.whl")

    def _distribution(self, kind: str, source: Path, pattern: str) -> Path:
        if self.built is not None:
            return self._found(self.built, pattern)
        folder = self.folder / kind.strip("-")
        builder = Environment(self.folder / "builder")
        if not builder.folder.exists():
            run([self.base.python, "-m", "venv", builder.folder], cwd=self.folder)
            builder.pip("install", "--quiet", "build", cwd=self.folder)
        command = [builder.python, "-m", "build", kind, "--outdir", folder, source]
        run(command, cwd=self.folder, environment=self.variables())
        (made,) = folder.glob(pattern)
        return made

    def _found(self, folder: Path, pattern: str) -> Path:
        code = "import sys; print('cp%d%d' % sys.version_info[:2])"
        tag = "" if pattern == "*.tar.gz" else run([self.base.python, "-c", code], cwd=self.folder).strip()
        found = sorted(path for path in folder.glob(pattern) if f"-{tag}" in path.name)
        if len(found) != 1:
            raise Failure(f"{folder} must hold one {pattern} for this Python, and it holds {len(found)}")
        return found[0].resolve()

    @functools.cached_property
    def tests(self) -> Path:
        """The tests and the documents, and no ``capsroute`` beside them."""
        folder = self.folder / "tests of the installed package"
        folder.mkdir()
        for name in ("python_tests", "docs"):
            shutil.copytree(ROOT / name, folder / name, ignore=UNWANTED)
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        return folder

    @functools.cached_property
    def facts(self) -> dict[str, str]:
        """What the environment of an installation is: Python, torch, C library, system, compilers."""
        code = (
            "import json, platform, torch; print(json.dumps({'python': platform.python_version(),"
            " 'torch': torch.__version__, 'libc': ' '.join(platform.libc_ver()), 'machine': platform.machine(),"
            " 'system': platform.freedesktop_os_release()['PRETTY_NAME']}))"
        )
        found = json.loads(run([self.base.python, "-c", code], cwd=self.folder).splitlines()[-1])
        compiler = run([self.build.get("CXX", "c++"), "--version"], cwd=self.folder).splitlines()[0]
        nvcc = self.build.get("CUDACXX")
        cuda = run([nvcc, "--version"], cwd=self.folder) if nvcc else ""
        released = [line.split("release ")[1].split(",")[0] for line in cuda.splitlines() if "release " in line]
        return found | {"compiler": compiler, "cuda": released[0] if released else "none"}


def without_compiler(folder: Path, **changes: str) -> dict[str, str]:
    """Variables of a process that finds no program at all, and whose compilers fail where they are named."""
    empty = folder / "no programs"
    empty.mkdir(exist_ok=True)
    return clean_environment(PATH=str(empty), CC="false", CXX="false", **changes)


def program(name: str, kind: str = "program") -> str:
    """The full name of a program.

    Raises:
        Failure: There is none of that name.
    """
    found = shutil.which(name)
    if found is None:
        raise Failure(f"there is no {kind} named {name}")
    return os.path.abspath(found)


THIS_PYTHON = sys.executable
