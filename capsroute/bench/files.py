"""Files that grow while a run goes on: each state replaces the last one as a whole."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from capsroute.training.paths import AnyPath, as_path


def check_writable(path: AnyPath) -> None:
    """Raise an OSError now if :func:`replace` could not write ``path`` later; an existing file stays as it is."""
    path = as_path("path", path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _partial(path).touch()
    _partial(path).unlink()


def replace(path: AnyPath, text: str) -> None:
    """Write ``text`` in place of what ``path`` holds, so that a reader never meets half a file."""
    path = as_path("path", path)
    _partial(path).write_text(text, encoding="utf-8")
    os.replace(_partial(path), path)


def write_json(path: AnyPath, content: Any) -> None:
    """Write content as JSON in place of what ``path`` holds; what JSON has no number for, NaN and infinity, is null."""
    replace(path, json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")
