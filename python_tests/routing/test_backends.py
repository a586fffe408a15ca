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
from capsroute import backends, reference, testing

from .cases import Case, votes_of

CASE = Case((9, 8, 4, 5, 3))
ENTRY = pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])


def arguments(entry: str, device: str = "cpu") -> dict[str, torch.Tensor]:
    tensors = CASE.tensors(torch.float32)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    return {name: t.to(device) for name, t in tensors.items()}


@ENTRY
def test_forced_reference_is_the_reference(entry: str) -> None:
    """Bit for bit, and without a warning: it was asked for."""
    tensors = arguments(entry)
    with testing.backend("reference"), warnings.catch_warnings():
        warnings.simplefilter("error")
        forced = getattr(capsroute, entry)(**tensors)
    assert torch.equal(forced, getattr(reference, entry)(**tensors))


@ENTRY
def test_kernels_are_not_the_reference(entry: str) -> None:
    """On the CPU the call reaches a registered op; a silent fall back would make every comparison pass."""
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
    with pytest.warns(RuntimeWarning, match="reference.*meta") as caught:
        output = getattr(capsroute, entry)(**arguments(entry, "meta"))
    assert caught[0].filename == __file__
    assert output.shape == (9, 5, 3)
    assert output.device.type == "meta"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(capsroute, entry)(**arguments(entry, "meta"))


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
