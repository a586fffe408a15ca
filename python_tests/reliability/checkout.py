"""The commit that figures are of; needs neither torch nor capsroute."""

from __future__ import annotations

import subprocess
from pathlib import Path

from python_tests.packaging.tree import ROOT


def commit(tree: Path = ROOT) -> str:
    """Of a checkout, marked where it was changed since; or that there is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
