"""All tests of this folder run on the GPU: new tensors are on it, and its kernels are forced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from capsroute import testing


@pytest.fixture(autouse=True)
def _on_the_gpu() -> Iterator[None]:
    torch.set_default_device("cuda")
    with testing.backend("cuda"):
        yield
    torch.set_default_device(None)
