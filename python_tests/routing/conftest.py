"""Settings of the tests of the op."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread(_torch_settings: None) -> None:
    """Small problems on one thread, whatever else runs on the machine; the tests of threads set their own number."""
    torch.set_num_threads(1)
