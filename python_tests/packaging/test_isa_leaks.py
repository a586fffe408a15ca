"""The check of the instruction sets finds faults that are planted, and nothing in clean objects."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from .tree import load_script

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have one instruction set")

CLEAN = """
typedef float Vector __attribute__((vector_size(32)));
namespace NAME { void twice(float* p) { Vector v; __builtin_memcpy(&v, p, 32); v += v; __builtin_memcpy(p, &v, 32); } }
"""
WEAK = CLEAN + "inline float weak_one(float a) { return a + 1; }\nfloat (*user)(float) = weak_one;\n"
TARGETED = CLEAN + '__attribute__((target("avx2"))) void fast(float* p) { for (int i = 0; i < 64; ++i) p[i] *= 3; }\n'
AVX_FLAGS = ("-mavx2", "-mfma")


@pytest.fixture(scope="module")
def check() -> ModuleType:
    return load_script("check_isa_leaks")


def build(folder: Path, baseline: str, avx2: str) -> Path:
    """A build folder with one object of each kind, as CMake describes it."""
    entries = []
    for name, source, flags in (("baseline", baseline, ()), ("avx2", avx2, AVX_FLAGS)):
        (folder / f"{name}.cpp").write_text(source)
        command = ["c++", "-O3", *flags, f"-DNAME={name}", "-c", f"{name}.cpp", "-o", f"{name}.o"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        entries.append({"directory": str(folder), "command": " ".join(command), "file": f"{name}.cpp"})
    (folder / "compile_commands.json").write_text(json.dumps(entries))
    return folder


def test_clean_objects_pass_and_a_build_of_one_kind_alone_does_not(
    check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weak symbol in a baseline object is no fault."""
    assert check.main([str(build(tmp_path, WEAK, CLEAN))]) == 0
    assert "1 AVX objects and 1 baseline objects checked, 0 leaks" in capsys.readouterr().out
    commands = json.loads((tmp_path / "compile_commands.json").read_text())
    (tmp_path / "compile_commands.json").write_text(json.dumps(commands[:1]))
    assert check.main([str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("baseline", "avx2", "leaks"),
    [(CLEAN, WEAK, ["avx2.o: weak symbol weak_one(float)"]), (TARGETED, CLEAN, ["baseline.o: v", "ymm", "fast"])],
)
def test_leaks_are_found(
    check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], baseline: str, avx2: str, leaks: list[str]
) -> None:
    assert check.main([str(build(tmp_path, baseline, avx2))]) == 1
    said = capsys.readouterr().err
    assert [leak for leak in leaks if leak not in said] == []


@pytest.mark.parametrize(
    ("line", "avx"),
    [
        ("   0:\tvmovups (%rdi),%ymm0", True),
        ("   0:\tvaddps %zmm1,%zmm2,%zmm3", True),
        ("   0:\tvmulss %xmm1,%xmm0,%xmm0", True),
        ("   0:\tkmovw  %eax,%k1", True),
        ("   0:\tmulss  %xmm1,%xmm0", False),
        ("   0:\tverr   %ax", False),
        ("   0:\tmov    %eax,%ebx", False),
    ],
)
def test_every_kind_of_avx_code_is_known_and_nothing_else(check: ModuleType, line: str, avx: bool) -> None:
    assert bool(check.AVX_CODE.search(line)) is avx


def test_a_folder_without_a_build_is_no_success(
    check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(tmp_path)]) == 2
    assert "compile_commands.json does not exist: build first" in capsys.readouterr().err
