"""The source tree, and how a build is run on its own."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
BUILD_VARIABLES = ("CAPSROUTE_", "CUDA", "MAX_JOBS", "PYTHONPATH")


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment without what steers a build, and with `changes`; CUDA is left out unless they ask for it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(BUILD_VARIABLES)}
    return kept | {"CAPSROUTE_CUDA": "0"} | changes


def load_script(name: str) -> ModuleType:
    """The module of that name in ``scripts``, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the module that they stand in
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Distributions:
    sdist: Path
    wheel: Path
