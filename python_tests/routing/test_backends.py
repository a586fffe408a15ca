"""Which kernel a call takes: forced backends, instruction sets, ``explain``, and the warning of a fall back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import pytest
import torch

import capsroute
from capsroute import reference, testing
from capsroute.routing import backends, core

from .cases import Case, votes_of

CASE = Case((9, 8, 4, 5, 3))
ENTRY = pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])


def arguments(entry: str, device: str = "") -> dict[str, torch.Tensor]:
    tensors = CASE.tensors(torch.float32)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    return {name: t.to(device) for name, t in tensors.items()} if device else tensors


@ENTRY
def test_forced_reference_is_the_reference(entry: str) -> None:
    """Bit for bit, and without a warning: it was asked for."""
    tensors = arguments(entry)
    with testing.backend("reference"), warnings.catch_warnings():
        warnings.simplefilter("error")
        forced = getattr(capsroute, entry)(**tensors)
    assert torch.equal(forced, getattr(reference, entry)(**tensors))


@ENTRY
def test_kernels_are_not_the_reference(entry: str, backend: str) -> None:
    """The call reaches a registered op; a silent fall back would make every comparison pass."""
    given = arguments(entry)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        getattr(capsroute, entry)(**given)
    names = {event.key for event in profile.key_averages()}
    assert any(name.startswith("capsroute::") for name in names), names
    assert not names & {"aten::einsum", "aten::bmm", "aten::exp", "aten::mul"}, names


def test_nested_backends_restore() -> None:
    def now() -> str:
        return capsroute.explain(**arguments("dynamic_routing"))

    outside = now()
    with testing.backend("reference"):
        inside = now()
        with testing.backend("cpu"):
            assert now() != inside
        assert now() == inside
    assert now() == outside
    with pytest.raises(KeyError), testing.backend("reference"):
        raise KeyError
    assert now() == outside


def test_a_forced_backend_is_forced_for_its_thread_only() -> None:
    said: list[str] = []
    with testing.backend("reference"):
        thread = threading.Thread(target=lambda: said.append(capsroute.explain(**arguments("dynamic_routing"))))
        thread.start()
        thread.join()
    assert said == [capsroute.explain(**arguments("dynamic_routing"))]


def test_explain_names_the_kernel_and_the_reason(cpu_isa: str) -> None:
    said = capsroute.explain(**arguments("dynamic_routing"))
    assert "cpu" in said
    assert repr(cpu_isa) in said
    with testing.backend("reference"):
        said = capsroute.explain(**arguments("dynamic_routing"))
    assert "reference" in said
    assert "forced" in said
    assert "meta" in capsroute.explain(**arguments("dynamic_routing", "meta"))


def test_explain_checks_its_arguments() -> None:
    with pytest.raises(ValueError, match="iterations"):
        capsroute.explain(**arguments("dynamic_routing"), iterations=0)


@ENTRY
def test_fall_back_warns_once(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without a kernel takes the reference and says so, once."""
    monkeypatch.setattr(backends, "_warned", set())
    monkeypatch.setattr(backends, "choose", lambda device: backends.Choice("reference", "there is no kernel for 'xpu'"))
    given = arguments(entry)
    with pytest.warns(RuntimeWarning, match="reference.*xpu") as caught:
        output = getattr(capsroute, entry)(**given)
    assert caught[0].filename == __file__
    assert torch.equal(output, getattr(reference, entry)(**given))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(capsroute, entry)(**given)


def test_explain_names_the_backend(backend: str) -> None:
    assert repr(backend) in capsroute.explain(**arguments("dynamic_routing"))


class _Driver:
    """Stands in for the compiled core of a build with CUDA kernels, on a machine with one GPU."""

    def __init__(self, archs: list[int], problem: str) -> None:
        self.cuda_archs = lambda: archs
        self.cuda_unusable = lambda index: problem


@pytest.mark.parametrize(("archs", "problem", "texts"), [
    ([], "", ["no CUDA kernels", "CAPSROUTE_CUDA=1"]),
    ([80, 90], "not_built", ["cuda:1", "75", "80, 90", "CAPSROUTE_CUDA_ARCHS=75"]),
    ([80, 90], "cudaErrorInsufficientDriver: too old", ["cuda:1", "cudaErrorInsufficientDriver", "update the driver"]),
])  # fmt: skip
def test_cuda_that_cannot_be_used(
    archs: list[int], problem: str, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reason that says what to do: for the fall back, and as an error when the backend is forced."""
    monkeypatch.setattr(backends, "_native", _Driver(archs, problem))
    monkeypatch.setattr(backends, "_answers", {})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 5))
    device = torch.device("cuda", 1)
    choice = backends.choose(device)
    assert choice.name == "reference"
    with testing.backend("cuda"), pytest.raises(ValueError, match="'cuda' was forced") as caught:
        backends.choose(device)
    for text in texts:
        assert text in choice.reason
        assert text in str(caught.value)


def test_cuda_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_native", _Driver([90], ""))
    monkeypatch.setattr(backends, "_answers", {})
    assert backends.choose(torch.device("cuda", 0)).name == "cuda"
    with testing.backend("cuda"), pytest.raises(ValueError, match="'cuda', got 'cpu'"):
        backends.choose(torch.device("cpu"))


@pytest.mark.parametrize(("error", "text"), [
    (ModuleNotFoundError("no module"), "CAPSROUTE_EMULATION=1"),
    (ImportError("undefined symbol: f"), "undefined symbol: f"),
])  # fmt: skip
def test_emulation_that_cannot_be_used(error: ImportError, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise error

    monkeypatch.setattr(core, "emulated", missing)
    monkeypatch.setattr(backends, "_answers", {})
    assert not capsroute.build_info()["emulation"]
    with testing.backend("cuda_emulated"), pytest.raises(ValueError, match=text):
        capsroute.dynamic_routing(**arguments("dynamic_routing"))


def test_instruction_set_in_force(cpu_isa: str) -> None:
    info = capsroute.build_info()
    assert info["cpu_isa"] == cpu_isa
    assert cpu_isa in info["cpu_isas"]


def test_instruction_sets_switch_back() -> None:
    before = capsroute.build_info()["cpu_isa"]
    assert set(testing.usable_cpu_isas()) <= set(capsroute.build_info()["cpu_isas"])
    for name in testing.usable_cpu_isas():
        with testing.cpu_isa(name):
            pass
        assert capsroute.build_info()["cpu_isa"] == before


def _in_a_process(isa: str) -> subprocess.CompletedProcess[str]:
    program = "import capsroute; print(capsroute.build_info()['cpu_isa'])"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CAPSROUTE_CPU_ISA": isa},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_environment_variable_forces_an_instruction_set(cpu_isa: str) -> None:
    assert _in_a_process(cpu_isa).stdout.split() == [cpu_isa]


def test_unknown_instruction_set_in_the_environment() -> None:
    """Said, not silently replaced by another."""
    result = _in_a_process("sse9")
    said = result.stdout + result.stderr
    assert "CAPSROUTE_CPU_ISA" in said
    assert "sse9" in said
    assert all(isa in said for isa in testing.usable_cpu_isas())
