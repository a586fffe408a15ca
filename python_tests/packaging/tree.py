"""The source tree, and how a build is run on its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
UNWANTED = shutil.ignore_patterns("__pycache__", "*.so", "results")
BUILD_VARIABLES = ("CAPSROUTE_", "CUDA", "FORCE_CUDA", "TORCH_CUDA", "CMAKE_ARGS", "MAX_JOBS", "PYTHONPATH")


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment without what steers a build, and with `changes`; CUDA is left out unless they ask for it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(BUILD_VARIABLES)}
    return kept | {"CAPSROUTE_CUDA": "0"} | changes


def copy_of_the_tree(folder: Path) -> Path:
    """A copy of what a build and its tests read: nothing that was built before, and no results of former runs."""
    folder.mkdir(parents=True)
    for name in ("capsroute", "cmake", "csrc", "docs", "python_tests", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=UNWANTED)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, folder)
    return folder


def load_script(name: str) -> ModuleType:
    """The module of that name in ``scripts``, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the module that they stand in
    spec.loader.exec_module(module)
    return module


def commit(tree: Path = ROOT) -> str:
    """The commit of a checkout, marked where it was changed since; or that there is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
