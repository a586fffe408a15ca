"""The compiled module takes the OpenMP library of torch, and one sentence says so where there is none to take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .tree import clean_environment

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
NO_LIBRARY = "libgomp.so.1: cannot open shared object file: No such file or directory"


def answer(code: str) -> str:
    command = [sys.executable, "-c", code]
    environment = clean_environment(PYTHONPATH=str(Path(__file__).resolve().parents[2]))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_torch_comes_first_and_its_library_is_the_only_one() -> None:
    loaded = {line.split()[-1] for line in answer(IMPORTED).splitlines() if "libgomp" in line}
    own = {str(path) for path in (Path(torch.__file__).parent / "lib").glob("libgomp*")}
    if not own:
        pytest.skip("this torch brings no OpenMP library of GCC")
    assert loaded == own


def test_missing_library_is_answered_with_a_sentence_and_other_faults_are_not_taken_for_it() -> None:
    said, other = answer(MISSING.format(said=[NO_LIBRARY, "undefined symbol: nosuch"])).splitlines()
    assert said.startswith("capsroute needs libgomp.so.1, which this torch does not bring and the system does not have")
    assert "apt install libgomp1" in said
    assert NO_LIBRARY in said
    assert other == "undefined symbol: nosuch"
