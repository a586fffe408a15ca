"""The limits of the machine, and the loop of multiply-adds that one of them comes from."""

from __future__ import annotations

import pytest
import torch

from capsroute import _native
from capsroute.bench import ceilings
from capsroute.bench.ceilings import Ceilings


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_ROUNDS", 1000)
    monkeypatch.setattr(ceilings, "_BYTES", 4096)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_both_are_measured(dtype: torch.dtype) -> None:
    limits = ceilings.measure(dtype, rounds=5)
    assert 1e6 < limits.flops < 1e15
    assert 1e6 < limits.bandwidth < 1e15


def test_the_limit_is_the_larger_time() -> None:
    limits = Ceilings(flops=100.0, bandwidth=10.0)
    assert limits.seconds(200, 10) == 2.0
    assert limits.seconds(200, 30) == 3.0


def test_headline() -> None:
    assert Ceilings(1e11, 2.5e10).headline == "measured limits: 100 GFLOP/s (multiply-adds), 25.0 GB/s (copy)"


def test_operations_are_those_of_all_rounds_and_threads(cpu_isa: str) -> None:
    one = _native.cpu_multiply_adds(1, 1, False)
    assert one % 2 == 0
    assert one == 2 * _native.cpu_multiply_adds(1, 1, True)  # as many registers, half as many numbers in each
    assert _native.cpu_multiply_adds(7, 1, False) == 7 * one
    threads = 2 if _native.build_info()["openmp"] else 1
    assert _native.cpu_multiply_adds(1, 2, False) == threads * one


def test_wider_instruction_sets_do_more_per_round() -> None:
    before, done = _native.cpu_isa(), []
    for isa in _native.usable_cpu_isas():
        _native.choose_cpu_isa(isa)
        done.append(_native.cpu_multiply_adds(1, 1, False))
    _native.choose_cpu_isa(before)
    assert done == sorted(set(done))


@pytest.mark.parametrize(("rounds", "threads"), [(0, 1), (1, 0), (-1, 1)])
def test_bad_numbers(rounds: int, threads: int) -> None:
    with pytest.raises(ValueError, match="rounds and threads must be at least 1"):
        _native.cpu_multiply_adds(rounds, threads, False)
