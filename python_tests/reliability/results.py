"""The figures of the long runs: files of JSON that say when, where and from what they came."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsroute.bench import environment

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/results/reliability"


def commit() -> str:
    """Of the checkout, marked where it was changed since; or that there is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "no commit"


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write figures with the commit and the environment that they are of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"commit": commit(), "environment": environment.describe(), **content}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """The figures in a file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
