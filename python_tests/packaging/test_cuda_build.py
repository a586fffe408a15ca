"""Which nvcc and which architectures a build takes, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from sysconfig import get_platform

import pybind11
import pytest

from capsroute.routing import backends

from .test_build_options import failed_build
from .tree import ROOT, clean_environment


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


# What CMakeLists.txt has done when it asks for CUDA, without a compiler to look for.
SCRIPT = """
cmake_minimum_required(VERSION 3.24)
list(APPEND CMAKE_MODULE_PATH "{root}/cmake")
set(PROJECT_SOURCE_DIR "{root}")
set(PROJECT_BINARY_DIR "${{CMAKE_CURRENT_LIST_DIR}}")
set(CMAKE_CXX_COMPILER c++)
include(CapsrouteOptions)
{then}
"""
ARCHS = """
set(nvcc nvcc)
set(nvcc_version 13.0)
set(nvcc_archs {known})
include(CapsrouteArchs)
capsroute_choose_archs()
string(REPLACE "--generate-code=arch=compute_" "" code "${{generate_code}}")
message("${{archs_fault}}" "${{CAPSROUTE_CUDA_ARCHS_BUILT}}${{archs_note}} from ${{code}}")
"""
CUDA = """
include(CapsrouteCuda)
message("${CAPSROUTE_CUDA_SUMMARY}")
"""


def scripted(folder: Path, then: str, **changes: str) -> str:
    """What the modules of CMake say in a script, words one space apart."""
    script = folder / "script.cmake"
    script.write_text(SCRIPT.format(root=ROOT, then=then))
    environment = clean_environment(**changes)
    options = [f"-D{name}={value}" for name, value in environment.items() if name.startswith("CAPSROUTE_")]
    command = ["cmake", *options, "-P", str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return " ".join((done.stdout + done.stderr).split())


TORCHS = "TORCH_CUDA_ARCH_LIST"
EVERY = "75;80;86;89;90;100;120 from 75,code=[sm_75];80,code=[compute_80,sm_80,sm_86,sm_89];90,code=[compute_90,sm_90,"


@pytest.mark.parametrize(
    ("gpus", "changes", "said"),
    [
        # A GPU runs what was compiled for an earlier minor version; a system on a chip only its own, or PTX.
        ("8.9\n7.5\n8.9", {}, "75;89 from 75,code=[sm_75];80,code=[sm_89]"),
        ("12.1\n10.3", {}, "100;120 from 90,code=[sm_100,sm_120]"),
        ("10.7", {}, "100 from 90,code=[sm_100]"),
        ("8.7", {}, "87 from 80,code=[sm_87]"),
        ("11.0", {}, EVERY),  # with an nvcc that does not know it
        ("13.0", {}, EVERY),
        ("7.0", {}, "the GPU of this machine has compute capability 7.0 and the kernels need 7.5 or newer"),
        ("7.0", {"CAPSROUTE_CUDA_ARCHS": "all"}, EVERY),
        ("7.0", {"CAPSROUTE_CUDA_ARCHS": "native"}, "shows no GPU that nvcc compiles the kernels for, only [7.0]: "),
        ("9.0", {"CAPSROUTE_CUDA_ARCHS": "87"}, "87 from 80,code=[sm_87]"),
        # As torch.utils.cpp_extension reads it.
        ("9.0", {TORCHS: "8.0;8.6+PTX"}, "80;86 (of TORCH_CUDA_ARCH_LIST) from 80,code=[compute_80,sm_80,sm_86]"),
        ("9.0", {TORCHS: "7.0 7.5 9.0a"}, "75;90 (of TORCH_CUDA_ARCH_LIST without 7.0) from"),
        (
            "9.0",
            {TORCHS: "Turing Hopper"},
            "75;90 (of TORCH_CUDA_ARCH_LIST) from 75,code=[compute_75,sm_75];90,code=[comp",
        ),
        ("9.0", {TORCHS: "native"}, "90 from 90,code=[sm_90]"),
        ("9.0", {TORCHS: "6.1"}, "TORCH_CUDA_ARCH_LIST='6.1' names nothing that the kernels and nvcc 13.0 can"),
        ("9.0", {TORCHS: "sm_80"}, "TORCH_CUDA_ARCH_LIST names 'sm_80', but it must be a list such as"),
        ("9.0", {TORCHS: "8.0", "CAPSROUTE_CUDA_ARCHS": "90"}, "90 (CAPSROUTE_CUDA_ARCHS goes before TORCH_CUDA_ARCH"),
    ],
)
def test_architectures_that_are_compiled_for(tmp_path: Path, gpus: str, changes: dict[str, str], said: str) -> None:
    program(tmp_path / "bin", "nvidia-smi", gpus)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    then = ARCHS.format(known="75 80 86 87 88 89 90 100 120")
    assert said in scripted(tmp_path, then, PATH=path, **changes)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            "a.h:5: fatal error: nv/target: No such file or directory",
            "nv/target is missing, so install nvidia-cuda-cccl",
        ),
        ("a.h:5: fatal error: 'cub/cub.h' file not found", "cub/cub.h is missing, so install nvidia-cuda-cccl"),
        ("fatal error: crt/config.h: No such file or directory", "crt/config.h is missing, so install nvidia-cuda-crt"),
        ("sh: 1: cu13/bin/../nvvm/bin/cicc: not found", "cicc is missing, so install nvidia-nvvm"),
        ("ld: cannot find -lcudart_static", "cudart_static is missing, so install nvidia-cuda-runtime"),
        (
            "a.h:1: error: #error -- unsupported GNU version!\nb",
            "a.h:1: error: #error -- unsupported GNU version! (CAPS",
        ),
    ],
)
def test_nvcc_that_cannot_compile_what_the_kernels_include_is_refused(tmp_path: Path, printed: str, said: str) -> None:
    """As that of PyPI without a package that it does not ask for; CMake's own check lets it pass."""
    nvcc = Path(fake_nvcc(tmp_path, "13.5", 75, 90))
    (tmp_path / "printed").write_text(printed)
    with nvcc.open("a") as script:
        script.write(f'case "$*" in *probe.cu*) cat "{tmp_path}/printed" >&2; exit 1;; esac\n')
    needed, found = (scripted(tmp_path, CUDA, CAPSROUTE_CUDA=cuda, CUDACXX=str(nvcc)) for cuda in ("1", "auto"))
    assert f"capsroute: CAPSROUTE_CUDA=1 was asked for, but {nvcc} cannot compile here: {said}" in needed
    assert found.startswith(f"none, {nvcc} cannot compile here: {said.partition(' (')[0]}")


def test_what_only_capsroute_is_told_goes_before_what_all_extensions_are(tmp_path: Path) -> None:
    said = scripted(tmp_path, CUDA, CAPSROUTE_CUDA="0", FORCE_CUDA="1")
    assert said == "none, as asked (CAPSROUTE_CUDA=0 goes before FORCE_CUDA=1)"


def test_advice_names_what_the_build_takes() -> None:
    """The list of architectures stands in CMake, which an installed package has not."""
    options = (ROOT / "cmake/CapsrouteOptions.cmake").read_text(encoding="utf-8")
    for name, mine in (("KNOWN", backends._ARCHS), ("ON_CHIP", backends._ON_CHIP)):
        found = re.search(rf"set\(CAPSROUTE_CUDA_ARCHS_{name} ([\d ]+)\)", options)
        assert found is not None
        assert tuple(map(int, found[1].split())) == mine


def test_nvcc_that_is_too_old_is_refused(source_tree: Path, tmp_path: Path) -> None:
    nvcc = fake_nvcc(tmp_path, "12.3", 75, 80, 86, 89, 90)
    said = failed_build(source_tree, CAPSROUTE_CUDA="1", CUDACXX=nvcc).strip().splitlines()[-1]
    assert said.startswith(
        f"capsroute: CAPSROUTE_CUDA=1 was asked for, but {nvcc} is of CUDA 12.3: install 12.4 or newer"
    )


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("version", "fault"),
    [("12.3", "is of CUDA 12.3: install 12.4 or newer"), ("13.0", "cannot compile here: it wrote no program")],
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
def test_nvcc_compiles_for_the_gpus(source_tree: Path, tmp_path: Path) -> None:
    program(tmp_path / "bin", "nvidia-smi", "8.9\n8.7")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    said = configured(source_tree, tmp_path / "build", CAPSROUTE_CUDA="1", PATH=path)
    assert "CUDA architectures 87, 89 by nvcc" in said


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
