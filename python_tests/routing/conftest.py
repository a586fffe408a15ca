"""Settings of the tests of the op, and which of them are too large for the emulation."""

from __future__ import annotations

import pytest
import torch

from .cases import Case

# B·I·J·D of the largest case that runs on the emulated device, a second or two forward and backward. Larger ones run on
# the CPU kernels and on a GPU; what they show beside smaller ones, test_emulated.py asks for by name.
EMULATED_VOTES = 150_000


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would take the emulation too long."""
    left_out = [item for item in items if _too_large(getattr(item, "callspec", None))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _too_large(parameters: object) -> bool:
    chosen = getattr(parameters, "params", {})
    case = chosen.get("case")
    return "cuda_emulated" in chosen.values() and isinstance(case, Case) and case.votes() > EMULATED_VOTES


@pytest.fixture(autouse=True)
def _one_thread(_torch_settings: None) -> None:
    """Small problems on one thread, whatever else runs on the machine; the tests of threads set their own number."""
    torch.set_num_threads(1)
