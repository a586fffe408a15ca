"""Small limits and one thread: what is tested is the run, not the machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .stand_in import quick


@pytest.fixture(autouse=True)
def _quick(_torch_settings: None) -> Iterator[None]:
    with quick():
        yield
