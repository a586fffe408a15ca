"""Builds the compiled modules by CMake; everything else about the package stands in ``pyproject.toml``.

``capsroute._native`` is always built; ``capsroute._emulated``, which only tests need, with ``CAPSROUTE_EMULATION=1``.

Environment variables: ``CAPSROUTE_CUDA`` (auto, 0, 1), ``CAPSROUTE_CUDA_ARCHS`` (native, all, or a list),
``CAPSROUTE_EMULATION``, ``CAPSROUTE_WERROR``, ``CAPSROUTE_OPENMP`` (0, 1), and what other packages read too:
``FORCE_CUDA``, ``TORCH_CUDA_ARCH_LIST``, ``CMAKE_ARGS`` and ``MAX_JOBS``; see docs/install.md. For developers
``CAPSROUTE_BUILD_BOTH`` adds the drivers of csrc/tests, from the same objects, in ``build/core``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CMAKE_AT_LEAST = (3, 24)
BYTES_PER_JOB = 4 << 30
NATIVE, EMULATED = "capsroute._native", "capsroute._emulated"
# Options of CMakeLists.txt that an environment variable of the same name sets; CMake checks their values.
CMAKE_OPTIONS = (
    "CAPSROUTE_BUILD_BOTH",
    "CAPSROUTE_CUDA",
    "CAPSROUTE_CUDA_ARCHS",
    "CAPSROUTE_EMULATION",
    "CAPSROUTE_OPENMP",
    "CAPSROUTE_SANITIZE",
    "CAPSROUTE_WERROR",
)


def stop(sentence: str) -> SystemExit:
    """What ends a build that cannot go on: one sentence and exit status 1, no traceback."""
    return SystemExit(f"capsroute: {sentence}")


def programs(name: str) -> list[str]:
    """All programs of that name: on PATH first, then beside this Python (an environment that is not activated)."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), sysconfig.get_path("scripts")]
    found = (shutil.which(name, path=folder) for folder in folders if folder)
    return list(dict.fromkeys(path for path in found if path))


def find_cmake() -> str:
    """The first CMake that works and is new enough."""
    seen = []
    for path in programs("cmake"):
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"version (\d+)\.(\d+)", answer.stdout)
        if version and (int(version[1]), int(version[2])) >= CMAKE_AT_LEAST:
            return path
        seen.append(f"{path} ({version[0] if version else 'does not run'})")
    needed = ".".join(map(str, CMAKE_AT_LEAST))
    raise stop(f"CMake {needed} or newer is needed (pip install cmake); found: {', '.join(seen) or 'none'}.")


def find_ninja() -> str:
    """The first Ninja that works."""
    for path in programs("ninja"):
        if subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    raise stop("Ninja is needed (pip install ninja).")


def jobs() -> int:
    """How many compilers to run at once: MAX_JOBS, else what cores and memory (4 GiB each) allow."""
    asked = os.environ.get("MAX_JOBS")
    if asked is not None:
        if not asked.isdecimal() or int(asked) < 1:
            raise stop(f"MAX_JOBS must be a whole number of at least 1, but it is '{asked}'.")
        return int(asked)
    cores = os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return cores
    return max(1, min(cores, memory // BYTES_PER_JOB)) if memory > 0 else cores


def cmake_arguments() -> list[str]:
    """What CMAKE_ARGS hands on to CMake."""
    given = os.environ.get("CMAKE_ARGS", "")
    try:
        return shlex.split(given)
    except ValueError as error:
        raise stop(f"CMAKE_ARGS cannot be taken apart ({error}): {given}.") from None


def configure(command: list[str]) -> None:
    """Runs CMake's first step; a sentence of ours in what it says is passed on alone, anything else whole."""
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        sys.stderr.write(done.stderr)
        return
    ours = re.search(r"capsroute: (.+?)\n(?:\n|Call Stack|CMake )", done.stderr, re.DOTALL)
    if ours:
        raise stop(" ".join(ours[1].split()))
    sys.stderr.write(done.stderr)
    raise stop("CMake could not set up the build; what it says stands above.")


class CMakeBuild(build_ext):
    """Compiles all modules in one run of CMake and Ninja, in a folder that is kept, so that a second build is quick."""

    def run(self) -> None:
        """Builds the modules; one that was built before and is not asked for now goes, or it would be taken for new."""
        super().run()
        wanted = {self.get_ext_fullname(ext.name) for ext in self.extensions}
        folders = {Path(self.get_ext_fullpath(NATIVE)).parent, Path(self.build_lib, "capsroute")}
        for folder in folders:
            for name in {NATIVE, EMULATED} - wanted:
                for stale in folder.glob(f"{name.rpartition('.')[2]}.*.so"):
                    stale.unlink()

    def build_extensions(self) -> None:
        """Builds all modules and leaves them where setuptools looks for them."""
        import pybind11  # a requirement of the build, not of reading this file

        targets = [Path(self.get_ext_fullpath(ext.name)).resolve() for ext in self.extensions]
        if os.name == "nt":
            raise stop("Windows is not supported, as the kernels are written for GCC and Clang: use Linux, or WSL 2.")
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            raise stop(f"the C headers of {sys.executable} are missing (Debian: apt install python3-dev).")
        cmake, at_once, more = find_cmake(), jobs(), cmake_arguments()
        # CMake remembers what it is told, so that other arguments need another folder.
        own = f"-{zlib.crc32(shlex.join(more).encode()):08x}" if more else ""
        folder = ROOT / "build" / f"cmake-{sysconfig.get_config_var('SOABI')}{own}"
        configure(
            [
                cmake,
                *("-S", str(ROOT), "-B", str(folder), "-G", "Ninja"),
                f"-DCMAKE_MAKE_PROGRAM={find_ninja()}",
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={targets[0].parent}",
                f"-DCMAKE_RUNTIME_OUTPUT_DIRECTORY={ROOT / 'build' / 'core'}",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                # An option that is not set is unset in CMake's memory too, or the last build's would stay.
                *(f"-D{name}={os.environ[name]}" if name in os.environ else f"-U{name}" for name in CMAKE_OPTIONS),
                *more,
            ]
        )
        built = subprocess.run([cmake, "--build", str(folder), "--parallel", str(at_once)], check=False)
        if built.returncode != 0:
            raise stop("the compiler failed; what it says stands above.")
        for target in targets:
            if not target.exists():
                raise stop(f"the build ended without {target.name}.")


modules = [NATIVE, EMULATED] if os.environ.get("CAPSROUTE_EMULATION") == "1" else [NATIVE]
setup(ext_modules=[Extension(name, sources=[]) for name in modules], cmdclass={"build_ext": CMakeBuild})
