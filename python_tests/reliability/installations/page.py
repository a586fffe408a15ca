"""The tables of docs/reliability/installations.md, which follow from the committed results alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .record import Entry

# What is supported, and how it is found in an entry: a cell is tested where an installation with it passed.
CELLS: dict[str, tuple[Callable[[Entry], str], tuple[str, ...]]] = {
    "Python": (lambda entry: _minor(entry["python"]), ("3.10", "3.11", "3.12", "3.13", "3.14")),
    "torch": (lambda entry: _minor(entry["torch"]), tuple(f"2.{minor}" for minor in range(5, 16))),
    "CUDA of the build": (lambda entry: entry["cuda"], ("none", "12.4", "12.9", "13.0", "13.5")),
    "compiler": (
        lambda entry: _compiler(entry["compiler"]),
        ("GCC 11", "GCC 12", "GCC 13", "GCC 14", "GCC 16", "Clang"),
    ),
    "C library": (lambda entry: entry["libc"], ("glibc 2.28", "glibc 2.36", "glibc 2.43", "musl")),
    "machine": (lambda entry: entry["machine"], ("x86_64", "aarch64", "arm64 (macOS)")),
}


def block(entries: Sequence[Entry]) -> list[str]:
    """What stands between the markers of the page: the lines without them."""
    passed = [entry for entry in entries if entry["passed"]]
    lines = ["| | tested | untested |", "|---|---|---|"]
    for title, (value, supported) in CELLS.items():
        seen = {value(entry) for entry in passed}
        tested = [name for name in supported if name in seen]
        untested = [name for name in supported if name not in seen]
        lines.append(f"| {title} | {', '.join(tested) or '-'} | {', '.join(untested) or '-'} |")
    lines += ["", "| way | Python | torch | compiler | CUDA | system | result |", "|---|---|---|---|---|---|---|"]
    for entry in entries:
        facts = {
            **entry,
            "compiler": _compiler(entry["compiler"]),
            "result": "passed" if entry["passed"] else "**failed**",
        }
        cells = (_escaped(facts[name]) for name in ("way", "python", "torch", "compiler", "cuda", "system", "result"))
        lines.append(f"| {' | '.join(cells)} |")
    for entry in entries:
        lines += ["", f"`{entry['command']}`"]
        lines += [f"({entry['date'][:10]}, commit {entry['commit']}, torch {entry['torch']})", ""]
        lines += [f"- {_escaped(line)}" for line in entry["said"]]
    return lines


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _compiler(line: str) -> str:
    """A short name of what ``c++ --version`` says, such as "GCC 12"."""
    if "clang" in line.lower():
        return "Clang"
    numbers = [word for word in line.split() if word[0].isdigit() and word.count(".") == 2]
    return f"GCC {numbers[-1].split('.')[0]}" if numbers else line


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
