"""Loading the compiled module: it takes the OpenMP library of torch, and one sentence says why it cannot be loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.torch_version import TorchVersion

from capsroute import _loading

from .tree import ROOT, UNWANTED, clean_environment

IMPORTED = "import capsroute, pathlib; print(pathlib.Path('/proc/self/maps').read_text())"
MISSING = """
import sys

class Missing:
    said = ""

    def find_spec(self, name, path=None, target=None):
        if name == "capsroute._native":
            raise ImportError(self.said)

sys.meta_path.insert(0, Missing())
for Missing.said in {said}:
    try:
        import capsroute
    except ImportError as error:
        print(error)
"""
IMPORT = """
try:
    import capsroute
except ImportError as error:
    print(error)
"""
NO_LIBRARY = "libgomp.so.1: cannot open shared object file: No such file or directory"


def answer(code: str, folder: Path = ROOT) -> str:
    """What a program prints that finds the package in a folder."""
    command = [sys.executable, "-c", code]
    environment = clean_environment(PYTHONPATH=str(folder))
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_torch_comes_first_and_its_library_is_the_only_one() -> None:
    loaded = {line.split()[-1] for line in answer(IMPORTED).splitlines() if "libgomp" in line}
    own = {str(path) for path in (Path(torch.__file__).parent / "lib").glob("libgomp*")}
    if not own:
        pytest.skip("this torch brings no OpenMP library of GCC")
    assert loaded == own


OLD_LIBRARY = "/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by _native.so)"
OLD_C_LIBRARY = "/lib/libc.so.6: version `GLIBC_2.38' not found (required by _native.so)"


def test_what_cannot_be_loaded_is_answered_with_a_sentence_and_other_faults_are_not_taken_for_it() -> None:
    told = [NO_LIBRARY, OLD_LIBRARY, OLD_C_LIBRARY, "undefined symbol: nosuch"]
    openmp, cxx, c, other = answer(MISSING.format(said=told)).splitlines()
    assert openmp.startswith("capsroute needs libgomp.so.1, which this torch does not bring and the system does not")
    assert "apt install libgomp1" in openmp
    assert NO_LIBRARY in openmp
    assert cxx.startswith("capsroute was compiled for a newer C++ library (libstdc++) than the one that is loaded here")
    assert "pip install --no-binary" in cxx
    assert OLD_LIBRARY in cxx
    assert c.startswith("capsroute was compiled for a newer C library than")
    assert other == "undefined symbol: nosuch"


def test_source_folder_without_its_module_is_named(tmp_path: Path) -> None:
    tree = shutil.copytree(ROOT / "capsroute", tmp_path / "capsroute", ignore=UNWANTED)
    # What finds the modules of an editable installation would find them for this copy too.
    alone = "import sys; sys.meta_path[:] = [one for one in sys.meta_path if 'editable' not in repr(one)]"
    (said,) = answer(f"{alone}\n{IMPORT}", tmp_path).splitlines()
    assert said.startswith(f"capsroute in {tree} has no compiled module: where this is the source folder, leave it")


def test_module_of_another_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_native.cpython-27-x.so").touch()
    monkeypatch.setattr(_loading, "_HERE", tmp_path)
    said = _loading._explained(
        ImportError("cannot import name '_native' from partially initialized module 'capsroute'")
    )
    assert said is not None
    assert "was built for another Python (_native.cpython-27-x.so) and not for this one (.cpython-3" in said


@pytest.mark.parametrize(
    ("module", "version", "sentence"),
    [
        (torch, TorchVersion("2.4.1"), "capsroute needs torch 2.5 or newer, got 2.4.1: update torch"),
        (_loading, "99", "is of capsroute .* and the Python files beside it are of 99: build it again by pip install"),
    ],
)
def test_versions_that_do_not_fit_are_named(
    module: ModuleType, version: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "__version__", version)
    with pytest.raises(ImportError, match=sentence):
        _loading._check_versions()
