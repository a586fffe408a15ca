"""A build that cannot be made ends with one sentence that says why, and no traceback."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .tree import clean_environment


def failed_build(tree: Path, **changes: str) -> str:
    """What a build that must fail says to the standard error.

    CMake looks for a compiler once, in a folder that is kept, unless the compiler is what is changed.
    """
    if "CXX" in changes:
        shutil.rmtree(tree / "build", ignore_errors=True)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    environment = clean_environment(**changes)
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if "CXX" in changes:
        shutil.rmtree(tree / "build")
    assert done.returncode == 1
    assert not list((tree / "capsroute").glob("_native*.so"))
    return done.stderr


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"CAPSROUTE_CUDA": "1", "CUDACXX": "/nonexistent/nvcc"},
            "CAPSROUTE_CUDA=1 was asked for, but no working nvcc",
        ),
        ({"CAPSROUTE_CUDA": "yes"}, "CAPSROUTE_CUDA must be auto, 0 or 1, but it is 'yes'."),
        ({"CAPSROUTE_CUDA_ARCHS": "80,sm_90"}, "CAPSROUTE_CUDA_ARCHS must be native, all or a list"),
        ({"CAPSROUTE_EMULATION": "2"}, "CAPSROUTE_EMULATION must be 0 or 1, but it is '2'."),
        ({"CAPSROUTE_CUDA_ARCHS": "90,103"}, "CAPSROUTE_CUDA_ARCHS names 103, but the kernels are written for 75, 80,"),
        (
            {"CAPSROUTE_CUDA_ARCHS": "70"},
            "CAPSROUTE_CUDA_ARCHS names 70, but the kernels are written for 75, 80,",
        ),
        (
            {"FORCE_CUDA": "1", "CAPSROUTE_CUDA": "", "CUDACXX": "/nonexistent/nvcc"},
            "FORCE_CUDA=1 was asked for, but no",
        ),
        ({"FORCE_CUDA": "yes", "CAPSROUTE_CUDA": ""}, "FORCE_CUDA must be 0 or 1, but it is 'yes'"),
        ({"CMAKE_ARGS": "-DCAPSROUTE_CUDA=maybe"}, "CAPSROUTE_CUDA must be auto, 0 or 1, but it is 'maybe'."),
        ({"CMAKE_ARGS": "'-DA"}, "CMAKE_ARGS cannot be taken apart (No closing quotation): '-DA."),
        ({"MAX_JOBS": "0"}, "MAX_JOBS must be a whole number of at least 1, but it is '0'."),
        ({"MAX_JOBS": "many"}, "MAX_JOBS must be a whole number of at least 1, but it is 'many'."),
    ],
)
def test_wrong_option_is_answered_with_one_sentence(source_tree: Path, changes: dict[str, str], sentence: str) -> None:
    lines = failed_build(source_tree, **changes).strip().splitlines()
    assert lines[-1].startswith(f"capsroute: {sentence}")
    assert lines[-1].endswith(".")
    assert not [line for line in lines if "Traceback" in line or "CMake Error" in line]


def test_missing_compiler_is_answered_with_what_cmake_says(source_tree: Path) -> None:
    lines = failed_build(source_tree, CXX="/nonexistent/c++").strip().splitlines()
    assert lines[-1] == "capsroute: CMake could not set up the build; what it says stands above."
    assert any("/nonexistent/c++" in line for line in lines)
    assert not [line for line in lines if "Traceback" in line]


def test_compiler_that_is_too_old_is_refused(source_tree: Path, tmp_path: Path) -> None:
    """Without the check a build fails in the middle, on pages of errors."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is missing")
    old = tmp_path / "g++-10"
    old.write_text(f'#!/bin/sh\nexec {compiler} -U__GNUC__ -D__GNUC__=10 "$@"\n')
    old.chmod(0o755)
    said = failed_build(source_tree, CXX=str(old)).strip().splitlines()[-1]
    assert said.startswith(f"capsroute: GCC 11 or newer is needed, but {old}")


@pytest.mark.parametrize("memory", [None, ValueError, -1], ids=["no os.sysconf", "unknown names", "unknown"])
def test_system_that_does_not_tell_its_memory_builds_on_all_cores(
    source_tree: Path, monkeypatch: pytest.MonkeyPatch, memory: type[Exception] | int | None
) -> None:
    monkeypatch.setattr(sys, "argv", ["setup.py", "--name"])
    jobs = runpy.run_path(str(source_tree / "setup.py"))["jobs"]
    monkeypatch.delenv("MAX_JOBS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)

    def sysconf(name: str) -> int:
        if isinstance(memory, int):
            return memory if name == "SC_PHYS_PAGES" else 4096
        raise ValueError(name)

    if memory is None:
        monkeypatch.delattr(os, "sysconf")
    else:
        monkeypatch.setattr(os, "sysconf", sysconf)
    assert jobs() == 7


def test_build_needs_no_torch(source_tree: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "scripts/build_requirements.py"], cwd=source_tree, capture_output=True, text=True, check=True
    )
    names = {line.split(">")[0] for line in printed.stdout.split()}
    assert names == {"setuptools", "pybind11", "ninja", "cmake"}
    sources = [path for path in (source_tree / "csrc").rglob("*") if path.suffix in {".cpp", ".h", ".cu", ".cuh"}]
    assert sources
    assert not [
        path for path in sources if "#include <torch" in path.read_text() or "#include <ATen" in path.read_text()
    ]
