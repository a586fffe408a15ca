"""What the packaging tests share: a clean source tree, and the distributions built from it once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .tree import Distributions, clean_environment, copy_of_the_tree


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, without anything that was built before, in a path that is not plain ASCII."""
    return copy_of_the_tree(tmp_path_factory.mktemp("source") / "a path with späces" / "capsroute")


@pytest.fixture(scope="session")
def distributions(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """An sdist, and a wheel built from that sdist, both in isolated environments (which hold no torch)."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(source_tree)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return Distributions(sdist, wheel)
