#!/usr/bin/env python3
"""Writes a table of what every CUDA kernel of a built module uses, and fails where a fast kernel spills.

A register that does not fit goes to the stack, which lies in device memory, and so does an array that is indexed at run
time; either makes a kernel slow without making it wrong, so no other test shows it. The numbers are read by
``cuobjdump`` from the module itself, for every architecture that it holds, and not from what the compiler once said.

Limits: no stack in a fast kernel, a number of fast instantiations, and a size of the module.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FAST_KERNELS = ("forward_kernel", "backward_kernel", "last_kernel")
MOST_FAST_INSTANTIATIONS = 48
MOST_BYTES = 25_000_000


class ResourceError(Exception):
    """The table cannot be made."""


@dataclass(frozen=True)
class Usage:
    """What one kernel uses on one architecture: registers, and bytes of stack, of a thread."""

    kernel: str
    arch: int
    registers: int
    stack: int

    @property
    def fast(self) -> bool:
        """Whether this is an instantiation of a kernel that must not spill."""
        return self.kernel.partition("<")[0] in FAST_KERNELS


def output_of(*command: str, text: str | None = None) -> str:
    """Standard output of a command that reads `text`.

    Raises:
        ResourceError: The program is missing or fails.
    """
    try:
        return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise ResourceError(f"{command[0]} is needed and was not found") from None
    except subprocess.CalledProcessError as error:
        raise ResourceError(f"{' '.join(command)} failed: {error.stderr.strip()}") from None


def find_cuobjdump() -> str:
    """The ``cuobjdump`` on PATH, else that of the package nvidia-cuda-cuobjdump in this environment.

    Raises:
        ResourceError: There is none.
    """
    on_path = shutil.which("cuobjdump")
    if on_path:
        return on_path
    for folder in sys.path:
        for found in Path(folder).glob("nvidia/*/bin/cuobjdump"):
            return str(found)
    raise ResourceError("cuobjdump was not found: pip install nvidia-cuda-cuobjdump")


def short_name(signature: str) -> str:
    """``forward_kernel<2, Direction(1)>`` of a demangled signature: no result, namespaces or parameters."""
    signature = signature.replace("(anonymous namespace)::", "")
    name = re.sub(r"\(([\w:]+)\)(-?\d+)", r"\1{\2}", signature)  # what casts look like: (capsroute::cuda::Direction)1
    name = name.partition("(")[0].removeprefix("void ")
    return re.sub(r"\w+::", "", name).replace("{", "(").replace("}", ")")


def parse(dump: str) -> list[Usage]:
    """All kernels in what ``cuobjdump --dump-resource-usage`` prints, with names as they stand there."""
    found = []
    arch = 0
    kernel = ""
    for line in dump.splitlines():
        if match := re.match(r"arch = sm_(\d+)", line):
            arch = int(match[1])
        elif match := re.match(r"\s+Function (\S+):$", line):
            kernel = match[1]
        elif match := re.match(r"\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+) ", line):
            registers, stack, local = map(int, match.groups())
            found.append(Usage(kernel, arch, registers, stack + local))
    return found


def demangled(usages: list[Usage]) -> list[Usage]:
    """The same with short names.

    Raises:
        ResourceError: ``c++filt`` is missing.
    """
    mangled = sorted({usage.kernel for usage in usages})
    signatures = output_of("c++filt", text="\n".join(mangled)).splitlines()
    names = dict(zip(mangled, map(short_name, signatures), strict=True))
    return [Usage(names[u.kernel], u.arch, u.registers, u.stack) for u in usages]


def natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def faults(usages: list[Usage], module_bytes: int) -> list[str]:
    """A sentence for each limit that is passed."""
    stacks: dict[str, list[str]] = {}
    for usage in usages:
        if usage.fast and usage.stack:
            stacks.setdefault(usage.kernel, []).append(f"{usage.stack} bytes on sm_{usage.arch}")
    found = [f"{kernel} is a fast kernel and has a stack: {', '.join(at)}." for kernel, at in stacks.items()]
    fast = {usage.kernel for usage in usages if usage.fast}
    if not fast:
        found.append(f"The module holds no kernel named {', '.join(FAST_KERNELS)}.")
    if len(fast) > MOST_FAST_INSTANTIATIONS:
        found.append(f"The module holds {len(fast)} fast kernels; at most {MOST_FAST_INSTANTIATIONS} are allowed.")
    if module_bytes > MOST_BYTES:
        found.append(f"The module has {module_bytes:,} bytes; at most {MOST_BYTES:,} are allowed.")
    return found


def cell(usage: Usage | None) -> str:
    """What the table says of one kernel on one architecture."""
    if usage is None:
        return "–"
    return f"{usage.registers} + {usage.stack} B stack" if usage.stack else str(usage.registers)


def table(usages: list[Usage]) -> str:
    """Kernels by architectures, as a table of Markdown."""
    archs = sorted({usage.arch for usage in usages})
    by_place = {(usage.kernel, usage.arch): usage for usage in usages}
    rows = [
        [f"`{kernel}`", *(cell(by_place.get((kernel, arch))) for arch in archs)]
        for kernel in sorted({usage.kernel for usage in usages}, key=natural)
    ]
    head = ["kernel", *(f"sm_{arch}" for arch in archs)]
    rule = ["---", *["---:"] * len(archs)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def report(usages: list[Usage], module_bytes: int, facts: Iterable[str]) -> str:
    """The whole document."""
    fast = [usage for usage in usages if usage.fast]
    slow = [usage for usage in usages if not usage.fast]
    bullets = [
        f"{len({usage.kernel for usage in fast})} fast kernels (at most {MOST_FAST_INSTANTIATIONS})",
        f"of their {len(fast)} compilations, one for each architecture, {sum(u.stack > 0 for u in fast)} have a stack",
        f"module: {module_bytes / 1e6:.1f} MB (at most {MOST_BYTES / 1e6:.0f})",
        *facts,
    ]
    parts = [
        "# What the CUDA kernels use",
        "Read from the compiled module by `make cuda-check RESOURCES=docs/results/kernel-resources.md`.",
        "\n".join(f"* {bullet}" for bullet in bullets),
        "The numbers are registers of a thread. A stack means that a kernel spills registers to memory, or indexes an\n"
        "array at run time; a fast kernel must have none. Shared memory is asked for at the launch and is not in here.",
        "## Fast kernels",
        table(fast),
    ]
    if slow:
        parts += ["## Other kernels", table(slow)]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status: 0 within the limits, 1 not, 2 the table cannot be made."""
    parser = argparse.ArgumentParser(description="Lists what the CUDA kernels of a module use.")
    parser.add_argument("module", type=Path, help="the compiled module")
    parser.add_argument("--out", type=Path, required=True, help="file of Markdown to write")
    parser.add_argument("--fact", action="append", default=[], help="a line more for the head of the document")
    parser.add_argument("--cuobjdump", help="the program to read with, if not that on PATH or in this environment")
    options = parser.parse_args(arguments)
    try:
        if not options.module.exists():
            raise ResourceError(f"{options.module} does not exist: build it first")
        dump = output_of(options.cuobjdump or find_cuobjdump(), "--dump-resource-usage", str(options.module))
        usages = demangled(parse(dump))
    except ResourceError as error:
        print(f"kernel_resources: {error}", file=sys.stderr)
        return 2
    module_bytes = os.stat(options.module).st_size
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(report(usages, module_bytes, options.fact))
    found = faults(usages, module_bytes)
    for sentence in found:
        print(f"kernel_resources: {sentence}", file=sys.stderr)
    kernels = {usage.kernel for usage in usages}
    print(f"{options.out}: {len(kernels)} kernels on {len({usage.arch for usage in usages})} architectures")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
