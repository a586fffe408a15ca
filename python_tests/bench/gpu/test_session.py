"""Whole runs in small on a CPU: what they write, and what they make of wrong results, refusals and broken devices."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import capsroute
from capsroute import testing
from capsroute.bench.gpu import correctness, plan, plots, session, variants
from capsroute.bench.gpu.budget import Budget
from capsroute.bench.gpu.folder import Folder
from capsroute.bench.gpu.plan import PRECISIONS, Plan
from capsroute.bench.gpu.record import Record
from capsroute.bench.gpu.session import Session
from capsroute.bench.gpu.timings import failed
from capsroute.bench.shapes import Shape

from ...packaging.tree import ROOT
from .stand_in import CpuDevice

ODD = Shape("odd", 5, 7, 3, 4, 6, 4, "")
MNIST = Shape("mnist", 6, 9, 4, 5, 3, 3, "")
EAGER = Plan([ODD, MNIST], compare=["eager"])
DRAW = plots.draw
ALONE = Plan([MNIST], [PRECISIONS["float32"]], compare=[])


@pytest.fixture(autouse=True)
def _little(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, whose drawing takes seconds, and but for what looks at all of it checks in one precision."""
    monkeypatch.setattr(plots, "draw", lambda *_: None)
    if request.function not in (test_everything_is_written, test_on_the_emulated_kernels):
        monkeypatch.setattr(correctness, "PRECISIONS", {"float32": PRECISIONS["float32"]})


def run(wanted: Plan, folder: Path, device: CpuDevice | None = None, **options: Any) -> tuple[Record, list[str]]:
    said: list[str] = []
    found = Session(wanted, device or CpuDevice(), Folder(folder), said.append, **options).run()
    return found, said


def test_everything_is_written(tmp_path: Path) -> None:
    found, said = run(EAGER, tmp_path / "a" / "b")
    assert found.sound
    assert found.finished
    assert found.notes == found.faults == []
    DRAW(tmp_path / "a" / "b", found.rows)
    files = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert files == {"gpu.json", "gpu.md", "speedup.png", "floor.png", "batches.png"}
    content = json.loads((tmp_path / "a" / "b" / "gpu.json").read_text())
    assert content["environment"]["gpu"]["name"] == "stand-in"
    assert content["environment"]["capsroute"]["version"] == capsroute.__version__
    assert content["states"][0]["moment"] == "at the start"
    assert content["ceilings"]["bandwidth"] > 0
    # 4 precisions, 2 gradients; automatic and 3 fusions, then automatic and plain on a few samples; 2 shapes
    assert len(content["checks"]) == 4 * 2 * 6 * 2
    assert all(check["passed"] for check in content["checks"])
    assert {check["samples"] for check in content["checks"]} == {4, 5, 6}
    # per shape and precision: forward 4 + 2 contenders, two backwards 1 + 2; the sweep has one batch beside 6
    assert len(content["rows"]) == 2 * 3 * (6 + 3 + 3) + (6 + 3)
    assert [row["shape"] for row in content["rows"]][:36] == ["mnist"] * 36
    for row in content["rows"]:
        assert row["problem"] is None
        assert row["error"] < 0.1
        figures = row["figures"]
        assert 0 < figures["kernel"]["lower"] <= figures["kernel"]["median"] <= figures["kernel"]["upper"]
        assert figures["replay_seconds"] > 0
        assert figures["host_seconds"] > 0
        assert row["floor"]["seconds"] > 0
        assert (row["kernel"] is None) == row["contender"].startswith("eager")
    assert any(line.startswith("mnist, float32, forward: capsroute ") for line in said)
    text = (tmp_path / "a" / "b" / "gpu.md").read_text()
    assert text.startswith("# Routing on stand-in\n")
    for title in ("## Correctness", "### Forward, tf32", "### Forward + backward (last), bfloat16"):
        assert title in text
    assert "What went wrong" not in text
    assert "has not come to its end" not in text


@pytest.mark.usefixtures("quick_compiler")
def test_compiled_peers_follow_the_faster_formulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SWEEP", ())
    monkeypatch.setattr(plan, "PASSES", (None, "last"))
    found, _ = run(replace(ALONE, compare=["eager", "compile"]), tmp_path)
    assert found.sound
    for gradient in (None, "last"):
        rows = [row for row in found.rows if row.gradient == gradient]
        eager = {row.contender: row.seconds or 0.0 for row in rows if row.contender.startswith("eager")}
        compiled = [row for row in rows if row.contender.startswith("compile")]
        assert [row.problem for row in compiled] == [None]
        assert compiled[0].contender.split()[1] == min(eager, key=lambda name: eager[name]).split()[1]
        assert compiled[0].figures is not None


def test_a_compiler_that_fails_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Callable[..., Tensor]:
        def route(x: Tensor, weight: Tensor) -> Tensor:
            raise KeyError("no compiler")

        return route

    monkeypatch.setattr("capsroute.bench.peers.compiled", broken)
    found, _ = run(replace(ALONE, compare=["compile"]), tmp_path)
    assert found.sound  # it is not the package that failed
    rows = [row for row in found.rows if row.contender.startswith("compile")]
    assert {row.problem for row in rows} == {"failed: KeyError: 'no compiler'"}
    assert "compile bmm: failed: KeyError" in (tmp_path / "gpu.md").read_text()


def test_a_wrong_kernel_is_reported_and_timing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = correctness._results

    def wrong(problem: Any, kernel: str) -> dict[str, Tensor]:
        factor = 1.1 if kernel == "cluster" else 1.0
        return {name: t * factor for name, t in results(problem, kernel).items()}

    monkeypatch.setattr(correctness, "_results", wrong)
    found, said = run(ALONE, tmp_path)
    assert not found.sound
    assert {check.variant for check in found.checks if check.passed is False} == {"cluster"}
    assert len(found.rows) == (4 + 1 + 1) + (4 + 1)
    assert all(row.problem is None for row in found.rows)
    assert any(line.startswith("WRONG: mnist, float32, all, ") for line in said)
    text = (tmp_path / "gpu.md").read_text()
    assert "| mnist | 10 of 12 **WRONG**, " in text
    assert "| mnist **WRONG** | 6, 9, 4, 5, 3, 3 | " in text
    assert "gradient last, kernel cluster: output is wrong by" in text


def test_other_bits_in_a_second_run_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, calls = correctness._results, []

    def trembling(problem: Any, kernel: str) -> dict[str, Tensor]:
        found = results(problem, kernel)
        calls.append(kernel)
        if len(calls) % 2 == 0:
            found["weight"].view(-1)[0] = torch.nextafter(found["weight"].view(-1)[0].float(), torch.tensor(9.0))
        return found

    monkeypatch.setattr(correctness, "_results", trembling)
    checks = list(correctness.check(ODD, CpuDevice()))
    single = [check for check in checks if check.precision == "float32"]
    assert {check.problem for check in single} == {"a second run gives other bits in weight"}


def test_a_kernel_that_does_not_take_a_shape_is_no_fault_and_one_that_fails_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "cluster": "the CUDA kernel that was asked for cannot run this problem on this device",
        "grid": "the CUDA runtime refused a call",
    }

    @contextlib.contextmanager
    def forced(variant: str) -> Iterator[None]:
        if variant in said:
            raise RuntimeError(said[variant])
        yield

    monkeypatch.setattr(variants, "forced", forced)
    found, _ = run(ALONE, tmp_path)
    verdicts = {check.variant: (check.passed, check.problem) for check in found.checks}
    assert verdicts["cluster"] == (None, variants.REFUSED)
    assert verdicts["grid"] == (False, "RuntimeError: the CUDA runtime refused a call")
    rows = {row.contender: row for row in found.rows if row.gradient is None}
    assert rows["capsroute cluster"].problem == variants.REFUSED
    assert {row.contender for row in found.rows if failed(row)} == {"capsroute grid"}
    assert not found.sound
    assert "kernel grid: RuntimeError: the CUDA runtime refused a call" in (tmp_path / "gpu.md").read_text()


def test_the_sentence_of_a_refusal_is_that_of_the_core() -> None:
    (source,) = (ROOT / "csrc").rglob("status.cpp")
    assert variants.is_refusal(RuntimeError(source.read_text(encoding="utf-8")))
    assert not variants.is_refusal(RuntimeError("the CUDA runtime refused a call"))


class Breaking(CpuDevice):
    """A device that an illegal access has made useless."""

    broken = False

    def synchronize(self) -> None:
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_broken_device_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, results = Breaking(), correctness._results

    def breaking(problem: Any, kernel: str) -> dict[str, Tensor]:
        device.broken = kernel == "launches"
        return results(problem, kernel)

    monkeypatch.setattr(correctness, "_results", breaking)
    found, _ = run(EAGER, tmp_path, device)
    assert not found.sound
    assert not found.finished
    assert len(found.checks) == 3  # automatic, grid, cluster
    text = (tmp_path / "gpu.md").read_text()
    assert "The run ended early: the device stopped working: CUDA error: an illegal memory access" in text
    assert "has not come to its end" in text


def test_limits_that_cannot_be_measured_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("capsroute.bench.gpu.ceilings.measure", fails)
    found, _ = run(ALONE, tmp_path)
    assert not found.sound
    assert found.faults == ["The run ended early: the limits of the device could not be measured: out of memory"]


def test_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    """Every look at the clock takes a second: the checks have half of the time, the first shape some of the rest."""
    now = iter(range(1000))
    budget = Budget(26, clock=lambda: float(next(now)))
    found, _ = run(EAGER, tmp_path, budget=budget)
    assert found.sound
    assert found.finished
    assert {row.shape for row in found.rows} == {"mnist"}
    assert found.notes[-1].startswith("Left out for lack of time: timing of odd, float32, forward; odd, tf32, forward;")
    assert "Left out for lack of time" in (tmp_path / "gpu.md").read_text()


def test_checks_take_at_most_half_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check takes 30 s of 100: a second one would end after half of them, which is left for the timings."""
    now = [0.0]

    def slow(shape: Shape, device: CpuDevice) -> Iterator[object]:
        now[0] += 30
        return iter([])

    monkeypatch.setattr(correctness, "check", slow)
    found, said = run(replace(ALONE, shapes=[ODD, MNIST]), tmp_path, budget=Budget(100, clock=lambda: now[0]))
    assert found.notes == ["Left out for lack of time: checks of odd."]
    assert sum(line.startswith("checked") for line in said) == 1
    assert {row.shape for row in found.rows} >= {"mnist", "odd"}


def test_a_run_that_is_stopped_leaves_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the file at each line that the run tells: nothing that was finished before is missing."""
    rows: list[int] = []
    drawn: list[int] = []
    monkeypatch.setattr(plots, "draw", lambda folder, found: drawn.append(len(found)))

    def look(line: str) -> None:
        if ", forward" in line:
            rows.append(len(json.loads((tmp_path / "gpu.json").read_text())["rows"]))
        if line.startswith("mnist, tf32"):
            raise KeyboardInterrupt

    plan = replace(ALONE, precisions=[PRECISIONS["float32"], PRECISIONS["tf32"]])
    with pytest.raises(KeyboardInterrupt):
        Session(plan, CpuDevice(), Folder(tmp_path), look).run()
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert rows == [0, 4]
    assert not content["finished"]
    assert [row["precision"] for row in content["rows"]] == ["float32"] * 4 + ["tf32"] * 4
    assert drawn == [8]


def test_a_peer_that_does_not_fit_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuDevice, "free_bytes", lambda self: 1000)
    monkeypatch.setattr(correctness, "check", lambda *_: [])
    found, _ = run(replace(ALONE, compare=["eager"]), tmp_path)
    assert found.sound
    assert all("GiB are free" in str(row.problem) for row in found.rows if row.contender.startswith("eager"))
    assert "## What was left out" in (tmp_path / "gpu.md").read_text()


def test_figures_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    (tmp_path / "batches.png").write_text("old")
    Folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_commit_is_of_this_checkout() -> None:
    found = session.commit()
    if (ROOT / ".git").exists():
        assert found is not None
        assert len(found.rstrip("+")) == 40
    else:
        assert found is None


needs_emulation = pytest.mark.skipif(
    importlib.util.find_spec("capsroute._emulated") is None, reason="this build has no emulated CUDA kernels"
)


@needs_emulation
def test_on_the_emulated_kernels() -> None:
    """Every kernel, precision and gradient by the rule of the benchmark, as on a GPU."""
    with testing.backend("cuda_emulated"):
        checks = list(correctness.check(Shape("tiny", 5, 6, 8, 5, 16, 3, ""), CpuDevice("cuda_emulated")))
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == 4 * 2 * 6
    exact, tf32 = ([c.excess for c in checks if (c.precision, c.variant) == (p, "grid")] for p in ("float32", "tf32"))
    assert exact != tf32  # torch's switch reaches the kernels


@needs_emulation
def test_a_refusal_of_the_emulated_kernels() -> None:
    """A device without clusters has no kernel that needs several blocks in one."""
    wide = Shape("wide", 2, 2, 16, 64, 64, 2, "")
    with testing.backend("cuda_emulated"), testing.emulated_device(architecture=80):
        checks = correctness._check(wide, PRECISIONS["float32"], "all", variants.FUSIONS, CpuDevice("cuda_emulated"))
        found = {check.variant: (check.passed, check.problem) for check in checks}
    assert found == {"grid": (True, None), "cluster": (None, variants.REFUSED), "launches": (True, None)}
