#!/usr/bin/env python3
"""Prints what a build needs, from ``pyproject.toml``, for an installation without build isolation."""

from __future__ import annotations

from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]

project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())
print("\n".join(project["build-system"]["requires"]))
