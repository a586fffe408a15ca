"""Drawn calls of the routing functions, a fixed small number of them, and the command that draws more."""

from __future__ import annotations

import pytest
import torch

import capsroute
from python_tests.reliability import results
from python_tests.reliability.fuzz import __main__ as command
from python_tests.reliability.fuzz import check, core, rounds
from python_tests.reliability.fuzz.call import Call
from python_tests.reliability.fuzz.kernels import CpuKernel
from python_tests.routing.cases import Case


@pytest.mark.parametrize("calls", [100, pytest.param(2000, marks=pytest.mark.nightly)])
def test_drawn_calls(calls: int) -> None:
    """The same ones each time."""
    tally = rounds.run(calls, None)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.total("outcome") >= calls
    assert tally.total("wrong calls") >= calls // rounds.WRONG_SHARE


def _call(**changes: object) -> Call:
    plain = {
        "entry": "dynamic_routing",
        "kernel": CpuKernel("baseline", "made", 1),
        "case": Case((3, 4, 2, 3, 5), bias=True, input_mask=True),
        "dtype": torch.float32,
        "values": "normal",
        "axes": (),
        "layouts": (),
        "poisoned": True,
        "autocast": False,
        "halves": (),
        "differentiable": ("x", "weight", "bias"),
        "details": ("coupling", "agreement"),
        "seed": 1,
    }
    return Call(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["output", "x", "weight", "bias", "detail coupling", "detail agreement"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_wrong_result_is_seen(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong by more than the rule allows, in one element."""
    right = check._actual

    def wrong(call: Call, tensors: dict[str, torch.Tensor], grad: torch.Tensor) -> dict[str, torch.Tensor]:
        found = right(call, tensors, grad)
        # The agreement is that of the votes with the output as it is returned: it is held to a wrong one too.
        element = found[name].view(-1)[int(found[name].abs().argmax())]
        element += 40 * torch.finfo(dtype).eps * element if dtype != torch.float64 else 1e-11 * element
        return found

    call = _call(dtype=dtype)
    assert check.check(call) == "right"
    monkeypatch.setattr(check, "_actual", wrong)
    with pytest.raises(AssertionError, match="output|agreement" if name == "output" else name):
        check.check(call)


def test_a_lost_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def routing(x: torch.Tensor, *others: torch.Tensor, **keywords: object) -> object:
        return original(x.detach() + 0 * x, *others, **keywords)

    original = capsroute.dynamic_routing
    monkeypatch.setattr(capsroute, "dynamic_routing", routing)
    with pytest.raises(AssertionError, match=r"x torch\.float32"):
        check.check(_call(poisoned=False, case=Case((3, 4, 2, 3, 5), bias=True)))


def test_the_command(tmp_path, monkeypatch, capsys) -> None:
    def run(examples: int, seed: int, processes: int) -> rounds.Tally:
        tally = rounds.run(examples, seed)
        tally.failures.append("planted")
        return tally

    monkeypatch.setattr(command, "run", run)
    assert command.main(["--examples", "4", "--json", str(tmp_path / "f.json")]) == 1
    found = results.read(tmp_path / "f.json")
    assert found["calls"] == sum(found["counts"]["dtype"].values()) == 4
    assert found["failures"] == ["planted"]
    assert {"commit", "environment"} <= found.keys()
    assert "4 calls, 1 failures" in capsys.readouterr().out


def test_nothing_failed_in_the_committed_figures() -> None:
    for name in ("fuzzing", "readers"):
        assert results.kept(name)["failures"] == []
    assert results.kept("fuzz-core")["crashes"] == 0


LOG = """processor seconds: 7.25
INFO: Loaded 1 modules   (350 inline 8-bit counters): 350 [0x1, 0x2),
#16 DONE   cov: 42 ft: 1234 corp: 9/85b lim: 4096 exec/s: 8 rss: 441Mb
Done 16 runs in 61 second(s)
stat::number_of_executed_units: 16
stat::slowest_unit_time_sec:    2
stat::peak_rss_mb:              441
"""


def test_the_log_of_libfuzzer(tmp_path, capsys) -> None:
    log = tmp_path / "log"
    for text, status in ((LOG, 0), (LOG + "Test unit written to crash-1\n", 1)):
        log.write_text(text)
        assert core.main([str(log), "--json", str(tmp_path / "f.json")]) == status
        found = results.read(tmp_path / "f.json")
        assert [found[name] for name in ("executions", "seconds", "counters covered")] == [16, 61, 42]
        assert (found["crashes"], found["processor seconds"]) == (status, 7.25)
    log.write_text("nothing")
    with pytest.raises(SystemExit):
        core.main([str(log)])
    assert "no whole log" in capsys.readouterr().err
