"""A clean source tree, which the packaging tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tree import copy_of_the_tree


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, without anything that was built before, in a path that is not plain ASCII."""
    return copy_of_the_tree(tmp_path_factory.mktemp("source") / "a path with späces" / "capsroute")
