"""The ranks, and one thread for the process that compares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from .pool import Ranks


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Four processes with process groups of the first one, two, three and all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        started = Ranks(tmp_path_factory.mktemp("ranks"))
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def _one_thread(_torch_settings: None) -> None:
    torch.set_num_threads(1)
