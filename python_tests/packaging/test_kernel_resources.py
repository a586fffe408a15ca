"""The table of what the CUDA kernels use finds faults that are planted, and nothing in clean modules."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from .test_cuda_build import needs_nvcc, program
from .tree import load_script

FORWARD = "_ZN9capsroute4cuda14forward_kernelILi2ELNS0_4ModeE1EEEvNS0_1PE"
PLAIN = "_ZN9capsroute4cuda12plain_kernelIfEEvNS0_1PE"


@pytest.fixture(scope="module")
def resources() -> ModuleType:
    return load_script("kernel_resources")


def dump(*archs: tuple[int, dict[str, tuple[int, int]]]) -> str:
    """What cuobjdump prints: for each architecture its kernels, each with registers and stack."""
    lines = []
    for arch, kernels in archs:
        lines += ["", "Fatbin elf code:", "================", f"arch = sm_{arch}", "code version = [1,8]", ""]
        lines += ["Resource usage:", " Common:", "  GLOBAL:0"]
        for name, (registers, stack) in kernels.items():
            lines.append(f" Function {name}:")
            lines.append(
                f"  REG:{registers} STACK:{stack} SHARED:0 LOCAL:0 CONSTANT[0]:552 TEXTURE:0 SURFACE:0 SAMPLER:0"
            )
    return "\n".join([*lines, "", "Fatbin ptx code:", "================", "arch = sm_120", "compressed"])


def run(resources: ModuleType, folder: Path, text: str) -> tuple[int, Path]:
    """Exit status for a module of which cuobjdump prints `text`, and the file that was written."""
    module = folder / "module.so"
    module.touch()
    written = folder / "report.md"
    cuobjdump = str(program(folder, "cuobjdump", text))
    return resources.main([str(module), "--out", str(written), "--cuobjdump", cuobjdump]), written


def test_clean_module_passes_and_is_listed(resources: ModuleType, tmp_path: Path) -> None:
    clean = dump((80, {FORWARD: (168, 0), PLAIN: (40, 0)}), (90, {FORWARD: (182, 0), PLAIN: (38, 48)}))
    status, written = run(resources, tmp_path, clean)
    assert status == 0
    lines = written.read_text().splitlines()
    assert "| kernel | sm_80 | sm_90 |" in lines
    assert "| `forward_kernel<2, Mode(1)>` | 168 | 182 |" in lines
    assert "| `plain_kernel<float>` | 40 | 38 + 48 B stack |" in lines  # slow kernels may


def test_spill_in_a_fast_kernel_fails(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, written = run(resources, tmp_path, dump((80, {FORWARD: (168, 0)}), (90, {FORWARD: (255, 16)})))
    assert status == 1
    assert "forward_kernel<2, Mode(1)> is a fast kernel and has a stack: 16 bytes on sm_90." in capsys.readouterr().err
    assert "| `forward_kernel<2, Mode(1)>` | 168 | 255 + 16 B stack |" in written.read_text()


def test_module_that_is_too_large_fails(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "MOST_BYTES", -1)
    assert run(resources, tmp_path, dump((90, {FORWARD: (168, 0)})))[0] == 1
    assert "The module has 0 bytes; at most -1 are allowed." in capsys.readouterr().err


def test_too_many_fast_kernels_fail(resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernels = {f"_ZN9capsroute4cuda11last_kernelILi{number}EEEvNS0_1PE": (40, 0) for number in range(49)}
    assert run(resources, tmp_path, dump((90, kernels)))[0] == 1
    assert "The module holds 49 fast kernels; at most 48 are allowed." in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", dump((90, {PLAIN: (40, 0)}))])
def test_module_without_fast_kernels_fails(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert run(resources, tmp_path, text)[0] == 1
    assert "The module holds no kernel named forward_kernel" in capsys.readouterr().err


def test_missing_module_and_missing_program_are_answered_with_a_sentence(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tmp_path / "module.so"
    arguments = [str(module), "--out", str(tmp_path / "report.md"), "--cuobjdump", "/nonexistent/cuobjdump"]
    assert resources.main(arguments) == 2
    assert f"{module} does not exist: build it first" in capsys.readouterr().err
    module.touch()
    assert resources.main(arguments) == 2
    assert "/nonexistent/cuobjdump is needed and was not found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        ("void capsroute::cuda::plain_kernel<float>(capsroute::cuda::Parameters)", "plain_kernel<float>"),
        ("capsroute::cuda::step_kernel(capsroute::cuda::Parameters)", "step_kernel"),
        ("void capsroute::cuda::(anonymous namespace)::last_kernel<2, (char)4>(int)", "last_kernel<2, char(4)>"),
        ("void forward_kernel<(capsroute::cuda::Direction)1, 4>(int)", "forward_kernel<Direction(1), 4>"),
    ],
)
def test_names_are_short(resources: ModuleType, signature: str, name: str) -> None:
    assert resources.short_name(signature) == name


@needs_nvcc
def test_stack_of_a_real_kernel_is_found(
    resources: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "planted.cu"
    source.write_text("""
        __global__ void forward_kernel(float* data, const int* indices, int count) {
            float local[40];
            for (int i = 0; i < 40; ++i) local[i] = data[i];
            for (int i = 0; i < count; ++i) local[indices[i]] += 1;
            for (int i = 0; i < 40; ++i) data[i] = local[i];
        }
        __global__ void last_kernel(float* data) { data[threadIdx.x] = 1; }
    """)
    module = tmp_path / "planted.so"
    nvcc = shutil.which("nvcc")
    assert nvcc is not None
    subprocess.run([nvcc, "-arch=sm_90", "-Xcompiler=-fPIC", "-shared", str(source), "-o", str(module)], check=True)
    assert resources.main([str(module), "--out", str(tmp_path / "report.md")]) == 1
    assert "forward_kernel is a fast kernel and has a stack: 160 bytes on sm_90." in (said := capsys.readouterr().err)
    assert "last_kernel" not in said
