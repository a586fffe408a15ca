#!/usr/bin/env python3
"""Checks that code compiled for one instruction set cannot run on a processor without it.

Two ways lead there, and both end in an illegal instruction on somebody else's machine:

* An object compiled for AVX2 or AVX-512 holds a weak symbol (an inline function of a library, say). The linker keeps
  one copy of each weak symbol, perhaps this one, and baseline code then calls it.
* An object compiled for the baseline holds AVX code itself, through a target attribute or a stray flag.

The objects and how each was compiled are read from ``compile_commands.json`` of the build folder, so that no list of
files is kept here. Needs ``nm`` and ``objdump``.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

WEAK_KINDS = frozenset("WVu")
# `ymm` and `zmm` registers, mask registers, and the VEX forms (leading v) of what SSE does with `xmm`.
AVX_CODE = re.compile(r"\t(?:v\w+\s.*%xmm|.*%[yz]mm\d|.*%k[0-7]\b)")


class LeakCheckError(Exception):
    """The check could not be made."""


def output_of(*command: str) -> str:
    """Standard output of a command.

    Raises:
        LeakCheckError: The program is missing or fails.
    """
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise LeakCheckError(f"{command[0]} is needed and was not found (Debian: apt install binutils)") from None
    except subprocess.CalledProcessError as error:
        raise LeakCheckError(f"{shlex.join(command)} failed: {error.stderr.strip()}") from None


def weak_symbols(object_file: Path) -> list[str]:
    """Names (demangled) of the weak symbols that `object_file` defines."""
    found = []
    for line in output_of("nm", "--defined-only", "--demangle", "--format=posix", str(object_file)).splitlines():
        match = re.match(r"(.*) ([A-Za-z]) ", line)
        if match and match[2] in WEAK_KINDS:
            found.append(match[1])
    return found


def avx_instructions(object_file: Path) -> list[str]:
    """The instructions of `object_file` that need AVX or more, each with the function that holds it."""
    found = []
    function = "?"
    for line in output_of("objdump", "-d", "--demangle", "--no-show-raw-insn", str(object_file)).splitlines():
        if line.endswith(">:"):
            function = line.split("<", 1)[1][:-2]
        elif AVX_CODE.search(line):
            found.append(f"{' '.join(line.split()[1:])} in {function}")
    return found


def leaks(build: Path) -> tuple[list[str], int, int]:
    """All leaks of a build folder, and how many objects were seen for special instruction sets and for the baseline.

    Raises:
        LeakCheckError: The folder is no build folder, or an object is missing.
    """
    commands = build / "compile_commands.json"
    if not commands.exists():
        raise LeakCheckError(f"{commands} does not exist: build first")
    messages: list[str] = []
    counts = {True: 0, False: 0}
    for entry in json.loads(commands.read_text()):
        words = shlex.split(entry["command"])
        object_file = Path(entry["directory"], words[words.index("-o") + 1])
        if not object_file.exists():
            raise LeakCheckError(f"{object_file} does not exist: build first")
        special = any(word.startswith("-mavx") for word in words)
        counts[special] += 1
        if special:
            messages += [f"{object_file}: weak symbol {name}" for name in weak_symbols(object_file)]
        else:
            messages += [f"{object_file}: {text}" for text in avx_instructions(object_file)]
    return messages, counts[True], counts[False]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status: 0 clean, 1 leaks, 2 the check could not be made."""
    parser = argparse.ArgumentParser(description="Checks that no code leaks between instruction sets.")
    parser.add_argument("build", nargs="+", type=Path, help="a CMake build folder for x86-64")
    folders = parser.parse_args(arguments).build
    if platform.machine() not in ("x86_64", "AMD64"):
        print(f"check_isa_leaks: nothing to check, {platform.machine()} has one instruction set in this project")
        return 0
    found: list[str] = []
    for folder in folders:
        try:
            messages, special, baseline = leaks(folder)
        except LeakCheckError as error:
            print(f"check_isa_leaks: {error}", file=sys.stderr)
            return 2
        if not (special and baseline):
            print(f"check_isa_leaks: {folder} holds {special} AVX and {baseline} baseline objects", file=sys.stderr)
            return 2
        print(f"{folder}: {special} AVX objects and {baseline} baseline objects checked, {len(messages)} leaks")
        found += messages
    for message in found[:50]:
        print(message, file=sys.stderr)
    if len(found) > 50:
        print(f"... and {len(found) - 50} more", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
