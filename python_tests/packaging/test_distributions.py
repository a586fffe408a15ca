"""The sdist holds everything, the wheel holds what users need and nothing else, and both say the same version."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from capsroute._version import __version__

from .tree import ROOT, Distributions, clean_environment

SOURCE_SUFFIXES = {".cpp", ".h", ".cu", ".cuh", ".cmake", ".css", ".html", ".ipynb", ".md", ".py", ".pyi", ".rst"}
SOURCE_FOLDERS = ("capsroute", "cmake", "csrc", "docs", "python_tests", "scripts")
LOOSE_FILES = {
    "CHANGELOG.md",
    "CMakeLists.txt",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "capsroute/py.typed",
    "cmake/emulation/CMakeLists.txt",
    "pyproject.toml",
    "scripts/build-core",
    "scripts/cross-checks",
    "scripts/cuda-check",
    "scripts/system-packages",
    "setup.py",
}


@pytest.fixture(scope="module")
def installed(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(distributions.wheel)], check=True, capture_output=True)
    return folder


def run_installed(installed: Path, *arguments: str) -> str:
    """Output of Python with the installed wheel in front of everything else, run away from the source tree."""
    environment = clean_environment(PYTHONPATH=str(installed))
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sdist_holds_every_source(source_tree: Path, distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    expected = LOOSE_FILES | {
        str(path.relative_to(source_tree))
        for folder in SOURCE_FOLDERS
        for path in (source_tree / folder).rglob("*")
        if path.suffix in SOURCE_SUFFIXES
    }
    assert expected - held == set()
    assert {"csrc/cuda/device.cuh", "csrc/cuda/host.cu", "csrc/emulation/device.h"} <= held
    assert not [name for name in held if name.endswith((".so", ".o", ".pyc"))]


def test_wheel_holds_the_package_and_nothing_else(source_tree: Path, distributions: Distributions) -> None:
    names = zipfile.ZipFile(distributions.wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"capsroute", f"capsroute-{__version__}.dist-info"}
    assert len([name for name in names if name.startswith("capsroute/_native.") and name.endswith(".so")]) == 1
    assert {"capsroute/py.typed", "capsroute/_native.pyi"} <= set(names)
    modules = {str(path.relative_to(source_tree)) for path in (source_tree / "capsroute").rglob("*.py")}
    assert modules - set(names) == set()
    suffixes = {Path(name).suffix for name in names if name.startswith("capsroute/")}
    assert suffixes == {".py", ".pyi", ".so", ".typed"}


def test_wheel_is_of_this_platform_and_says_what_it_needs(distributions: Distributions) -> None:
    assert not distributions.wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(distributions.wheel) as wheel:
        metadata = Parser().parsestr(wheel.read(f"capsroute-{__version__}.dist-info/METADATA").decode())
        entry_points = wheel.read(f"capsroute-{__version__}.dist-info/entry_points.txt").decode()
    required = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert sorted(text.split(">")[0] for text in required) == ["numpy", "torch"]
    assert metadata["License-Expression"] == "MIT"
    assert {"train", "bench", "test", "dev"} <= set(metadata.get_all("Provides-Extra", []))
    assert "capsroute = capsroute.cli:main" in entry_points


def test_version_is_the_same_everywhere(distributions: Distributions, installed: Path) -> None:
    assert distributions.sdist.name == f"capsroute-{__version__}.tar.gz"
    assert distributions.wheel.name.startswith(f"capsroute-{__version__}-")
    code = (
        "import json, importlib.metadata, capsroute;"
        "print(json.dumps([capsroute.__file__, capsroute.__version__, capsroute.build_info()['version'],"
        " importlib.metadata.version('capsroute')]))"
    )
    file, *versions = json.loads(run_installed(installed, "-c", code))
    assert Path(file).is_relative_to(installed)
    assert versions == [__version__] * 3
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_installed_wheel_routes_with_its_kernels(installed: Path) -> None:
    code = (
        "import torch, capsroute\n"
        "x, weight = torch.randn(5, 6, 3), torch.randn(6, 4, 2, 3)\n"
        "with capsroute.testing.backend('cpu'):\n"
        "    fused = capsroute.dynamic_routing(x, weight)\n"
        "plain = capsroute.reference.dynamic_routing(x, weight)\n"
        "print((fused - plain).abs().max().item() < 1e-5, fused.shape == plain.shape)\n"
    )
    assert run_installed(installed, "-c", "import capsroute.testing\n" + code).split() == ["True", "True"]


def test_command_of_the_installed_wheel(installed: Path) -> None:
    assert __version__ in run_installed(installed, "-m", "capsroute", "info")
