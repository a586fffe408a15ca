"""Extra memory is the peak of what a call takes beyond what it returns: checked on known allocations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from capsroute.bench.memory import MIB, Allocation, available_bytes, bytes_of, extra_bytes, peak


def block(mib: float) -> Tensor:
    return torch.empty(int(mib * MIB), dtype=torch.uint8)


def test_results_do_not_count() -> None:
    assert extra_bytes(lambda: [block(3), block(5)]) == 0


def test_temporaries_count() -> None:
    def work() -> list[Tensor]:
        temporary = block(7)
        result = block(3)
        del temporary
        return [result]

    assert extra_bytes(work) == 7 * MIB


def test_peak_is_of_what_lives_together() -> None:
    def work() -> list[Tensor]:
        for _ in range(3):
            one = block(4)
            del one
        two, three = block(2), block(1)
        del two, three
        return []

    assert extra_bytes(work) == 4 * MIB


def test_a_view_keeps_its_whole_storage_out() -> None:
    assert extra_bytes(lambda: [block(6)[:10]]) == 0


def test_what_autograd_saves_counts() -> None:
    x = torch.ones(MIB, requires_grad=True)

    def work() -> list[Tensor]:
        saved = x.exp()  # 4 MiB, kept for the backward
        return [saved.detach().sum(), *torch.autograd.grad(saved.sum(), x)]

    assert extra_bytes(work) == pytest.approx(4 * MIB, abs=1024)


def test_memory_of_the_caller_given_back_does_not_count() -> None:
    before = [block(9)]

    def work() -> list[Tensor]:
        before.clear()
        block(2)
        return []

    assert extra_bytes(work) == 2 * MIB


def test_an_address_used_again() -> None:
    """A temporary counts although the result later lives at its address."""
    events = [Allocation(1, 10), Allocation(1, -10), Allocation(1, 4), Allocation(2, 3), Allocation(2, -3)]
    assert peak(events, kept={1}) == 10
    assert peak(events, kept=set()) == 10
    assert peak(events[2:], kept={1}) == 3


def test_results_given_back_are_no_results() -> None:
    assert peak([Allocation(1, 10), Allocation(1, -10)], kept=set()) == 10


def test_failing_work_fails() -> None:
    def work() -> list[Tensor]:
        raise KeyError("x")

    with pytest.raises(KeyError):
        extra_bytes(work)


def test_bytes() -> None:
    assert bytes_of(torch.zeros(3, 5), torch.zeros(7, dtype=torch.bfloat16)) == 74
    assert available_bytes() > 2**24
