"""The committed results: one entry for each way of installing, with each Python, torch, compiler and CUDA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# A way and what it does, whether it passed, what was seen or wrong, when, of which commit, by what command; and the
# facts of the environment, see Workshop.facts.
Entry = dict[str, Any]
KEYS = ("way", "system", "machine", "python", "torch", "compiler", "cuda")


def key(entry: Entry) -> tuple[str, ...]:
    """Entries that agree in this are the same installation at different times."""
    return tuple(entry[name] for name in KEYS)


def read(path: Path) -> list[Entry]:
    """What a file holds; nothing where there is none."""
    if not path.exists():
        return []
    entries: list[Entry] = json.loads(path.read_text(encoding="utf-8"))["installations"]
    return entries


def put(path: Path, entry: Entry) -> None:
    """Write an entry into a file, in place of the former one of the same installation."""
    entries = {key(former): former for former in read(path)} | {key(entry): entry}
    ordered = [entries[each] for each in sorted(entries)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"installations": ordered}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
