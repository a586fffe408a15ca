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

from .tree import ROOT, clean_environment

SOURCE_SUFFIXES = {".cpp", ".h", ".cu", ".cuh", ".cmake", ".css", ".html", ".ipynb", ".md", ".py", ".pyi", ".rst"}
SOURCE_FOLDERS = ("capsroute", "cmake", "csrc", "docs", "python_tests", "scripts")
LOOSE_FILES = {
    *("CHANGELOG.md", "CMakeLists.txt", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md"),
    *("pyproject.toml", "setup.py", "capsroute/py.typed", "cmake/emulation/CMakeLists.txt"),
    *(f"scripts/{name}" for name in ("build-core", "cross-checks", "cuda-check", "system-packages")),
}
ROUTE = """
import torch, capsroute, importlib.metadata, json
x, weight = torch.randn(5, 6, 3), torch.randn(6, 4, 2, 3)
with capsroute.testing.backend("cpu"):
    fused = capsroute.dynamic_routing(x, weight)
torch.testing.assert_close(fused, capsroute.reference.dynamic_routing(x, weight))
versions = capsroute.__version__, capsroute.build_info()["version"], importlib.metadata.version("capsroute")
print(json.dumps([capsroute.__file__, *versions]))
"""


def run(*command: str, cwd: Path, **changes: str) -> str:
    """The output of Python, which must end well, with the variables of a build."""
    command = (sys.executable, *command)
    environment = clean_environment(**changes)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an sdist holds."""
    folder = tmp_path_factory.mktemp("sdist")
    run("-c", f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})", cwd=source_tree)
    with tarfile.open(folder / f"capsroute-{__version__}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"capsroute-{__version__}"


def assert_is_the_package(names: set[str], tree: Path, *compiled: str) -> None:
    """Files that are installed: all modules, what types need, and nothing else."""
    modules = {str(path.relative_to(tree)) for path in (tree / "capsroute").rglob("*.py")}
    assert names - modules == {"capsroute/py.typed", "capsroute/_native.pyi", "capsroute/_emulated.pyi", *compiled}
    assert modules - names == set()


def test_sdist_holds_every_source(source_tree: Path, unpacked: Path) -> None:
    held = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*")}
    expected = LOOSE_FILES | {
        str(path.relative_to(source_tree))
        for folder in SOURCE_FOLDERS
        for path in (source_tree / folder).rglob("*")
        if path.suffix in SOURCE_SUFFIXES
    }
    assert expected - held == set()
    assert not [name for name in held if name.endswith((".so", ".o", ".pyc"))]


def test_a_build_from_the_sdist_installs_the_package_and_nothing_else(unpacked: Path, tmp_path: Path) -> None:
    run("setup.py", "-q", "build_py", "--build-lib", str(tmp_path), cwd=unpacked)
    assert_is_the_package({str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}, unpacked)


def test_metadata_say_what_is_needed(unpacked: Path) -> None:
    metadata = Parser().parsestr((unpacked / "PKG-INFO").read_text())
    required = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert sorted(text.split(">")[0] for text in required) == ["numpy", "torch"]
    assert metadata["License-Expression"] == "MIT"
    assert {"train", "bench", "test", "dev"} <= set(metadata.get_all("Provides-Extra", []))
    assert "capsroute = capsroute.cli:main" in (unpacked / "capsroute.egg-info/entry_points.txt").read_text()
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.nightly
def test_a_wheel_from_the_sdist_works_where_it_is_installed(source_tree: Path, tmp_path: Path) -> None:
    """Both are built in isolated environments, which hold no torch."""
    run("-m", "build", "--outdir", str(tmp_path), str(source_tree), cwd=tmp_path)
    assert (tmp_path / f"capsroute-{__version__}.tar.gz").exists()
    (wheel,) = tmp_path.glob(f"capsroute-{__version__}-*.whl")
    assert not wheel.name.endswith("-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    information = f"capsroute-{__version__}.dist-info"
    (module,) = (name for name in names if name.endswith(".so"))
    assert module.startswith("capsroute/_native.")
    assert_is_the_package({name for name in names if not name.startswith(information)}, source_tree, module)

    installed = tmp_path / "installed"
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(installed))
    run(*pip, str(wheel), cwd=tmp_path)
    file, *versions = json.loads(run("-c", ROUTE, cwd=installed, PYTHONPATH=str(installed)))
    assert Path(file).is_relative_to(installed)
    assert versions == [__version__] * 3
    assert __version__ in run("-m", "capsroute", "info", cwd=installed, PYTHONPATH=str(installed))
