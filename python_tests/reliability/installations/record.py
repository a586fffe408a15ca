"""The committed results: one entry for each way of installing, with each Python, torch, compiler and CUDA."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

KEYS = ("way", "system", "machine", "python", "torch", "compiler", "cuda")


@dataclass(frozen=True)
class Entry:
    """One installation.

    Attributes:
        way: Its name in :data:`.ways.WAYS`.
        what: What that way does.
        passed: Whether all was as it must be.
        said: What was seen, or what was wrong.
        date: When.
        commit: Of which state of the sources.
        command: What repeats it.
        python: Version; as are ``torch``, ``libc``, ``machine``, ``system`` and ``compiler``.
        cuda: Of the nvcc, or "none".
    """

    way: str
    what: str
    passed: bool
    said: list[str]
    date: str
    commit: str
    command: str
    python: str
    torch: str
    libc: str
    machine: str
    system: str
    compiler: str
    cuda: str

    @property
    def key(self) -> tuple[str, ...]:
        """Entries that agree in this are the same installation at different times."""
        return tuple(str(getattr(self, name)) for name in KEYS)


def read(path: Path) -> list[Entry]:
    """What a file holds; nothing where there is none."""
    if not path.exists():
        return []
    return [Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["installations"]]


def put(path: Path, entry: Entry) -> None:
    """Write an entry into a file, in place of the former one of the same installation."""
    entries = {former.key: former for former in read(path)} | {entry.key: entry}
    ordered = [asdict(entries[key]) for key in sorted(entries)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"installations": ordered}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
