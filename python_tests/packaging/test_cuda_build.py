"""Which nvcc and which architectures a build takes, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from sysconfig import get_platform

import pybind11
import pytest

from .test_build_options import failed_build
from .tree import clean_environment


def needs_nvcc(test: Callable[..., None]) -> Callable[..., None]:
    """A test that takes nvcc, whose start alone takes seconds."""
    return pytest.mark.nightly(pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is missing")(test))


def program(folder: Path, name: str, text: str) -> Path:
    """A program that prints `text`, whatever it is asked."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    path.chmod(0o755)
    return path


def fake_nvcc(folder: Path, version: str, *archs: int) -> str:
    """An nvcc that says which it is and what it knows, and compiles nothing."""
    known = "\n".join(f"compute_{arch}" for arch in archs)
    return str(program(folder, "nvcc", f"Cuda compilation tools, release {version}, V{version}.99\n{known}"))


def configured(tree: Path, folder: Path, **changes: str) -> str:
    """What CMake says while it sets up a build that nothing then compiles."""
    environment = clean_environment(**changes)
    options = [f"-D{name}={value}" for name, value in environment.items() if name.startswith("CAPSROUTE_")]
    done = subprocess.run(
        [
            *("cmake", "-S", str(tree), "-B", str(folder), "-G", "Ninja", *options),
            *(f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nvcc_that_is_too_old_is_refused(source_tree: Path, tmp_path: Path) -> None:
    nvcc = fake_nvcc(tmp_path, "12.3", 75, 80, 86, 89, 90)
    said = failed_build(source_tree, CAPSROUTE_CUDA="1", CUDACXX=nvcc).strip().splitlines()[-1]
    assert said.startswith(
        f"capsroute: CAPSROUTE_CUDA=1 was asked for, but {nvcc} is of CUDA 12.3: install 12.4 or newer"
    )


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("version", "fault"),
    [("12.3", "is of CUDA 12.3: install 12.4 or newer"), ("13.0", "cannot compile here (CAPSROUTE_CUDA=1 shows why)")],
)
def test_nvcc_that_will_not_do_is_left_out_of_an_automatic_build(
    source_tree: Path, tmp_path: Path, version: str, fault: str
) -> None:
    nvcc = fake_nvcc(tmp_path / "bin", version, 75, 80, 86, 89, 90)
    said = configured(source_tree, tmp_path / "build", CAPSROUTE_CUDA="auto", CUDACXX=nvcc)
    assert f"CUDA architectures none, {nvcc} {fault}" in said


def test_architecture_that_nvcc_does_not_know_is_refused(source_tree: Path, tmp_path: Path) -> None:
    nvcc = fake_nvcc(tmp_path, "12.4", 75, 80, 86, 87, 89, 90)
    said = failed_build(source_tree, CAPSROUTE_CUDA="1", CUDACXX=nvcc, CAPSROUTE_CUDA_ARCHS="80,120")
    assert f"capsroute: CAPSROUTE_CUDA_ARCHS names 120, which {nvcc} of CUDA 12.4 does not know" in said


@needs_nvcc
@pytest.mark.parametrize(
    ("gpus", "archs"),
    [
        ("9.0", "90"),
        ("8.9\n7.5\n8.9", "75, 89"),
        ("12.1\n10.3", "100, 120"),  # newer minor versions run what was compiled for the first
        ("7.0", "75, 80, 86, 89, 90, 100, 120"),  # too old for this build, which others may still use
    ],
)
def test_architectures_are_those_of_the_gpus(source_tree: Path, tmp_path: Path, gpus: str, archs: str) -> None:
    program(tmp_path / "bin", "nvidia-smi", gpus)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    said = configured(source_tree, tmp_path / "build", CAPSROUTE_CUDA="1", PATH=path)
    assert f"CUDA architectures {archs} by nvcc" in said


@needs_nvcc
def test_native_without_a_gpu_is_refused(source_tree: Path, tmp_path: Path) -> None:
    program(tmp_path, "nvidia-smi", "No devices were found")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    said = failed_build(source_tree, CAPSROUTE_CUDA="1", CAPSROUTE_CUDA_ARCHS="native", PATH=path)
    assert "capsroute: CAPSROUTE_CUDA_ARCHS=native was asked for, but nvidia-smi shows no GPU that" in said


@needs_nvcc
def test_wheel_with_cuda_imports_without_a_driver(source_tree: Path, tmp_path: Path) -> None:
    left_over = source_tree / "build" / f"lib.{get_platform()}-{sys.implementation.cache_tag}" / "capsroute"
    left_over.mkdir(parents=True, exist_ok=True)
    (left_over / "_emulated.left-over.so").touch()
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", str(tmp_path)]
    environment = clean_environment(CAPSROUTE_CUDA="1", CAPSROUTE_CUDA_ARCHS="90")
    built = subprocess.run([*command, str(source_tree)], env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "_emulated" in name and name.endswith(".so")]
        archive.extractall(tmp_path / "installed")
    (module,) = (tmp_path / "installed" / "capsroute").glob("_native*.so")
    needed = subprocess.run(["readelf", "-d", str(module)], capture_output=True, text=True, check=True).stdout
    assert "libcudart" not in needed
    assert "libcuda." not in needed
    code = "import json, capsroute; print(json.dumps(capsroute.build_info()))"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(tmp_path / "installed"), CUDA_VISIBLE_DEVICES=""),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(printed.stdout)["cuda_archs"] == [90]
