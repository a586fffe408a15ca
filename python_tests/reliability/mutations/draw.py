"""Draws mutations by a seed: so many of each part of the op, of each kind alike, and few of one function."""

from __future__ import annotations

import ast
import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from . import in_cpp, in_python
from .change import Change
from .mutation import Mutation

_FLOORS = "autograd backends calls checks core details dispatch functional ops options output_axes passes reference"


class Area(NamedTuple):
    """A part of the op: its share of the mutations, and its files."""

    share: float
    files: str  # a pattern


AREAS = {
    "python": Area(0.25, rf"capsroute/(routing/)?({_FLOORS.replace(' ', '|')}|result|vmap)\.py"),
    "cpu": Area(0.35, r"csrc/cpu/.*\.(h|cpp)"),
    "cuda": Area(0.30, r"csrc/cuda/.*\.(h|cpp|cuh|cu)"),
    "shared": Area(0.10, r"csrc/((shared|bindings)/.*|[^/]*)\.(h|cpp)"),
}
MOST_OF_A_FUNCTION = 2
SPARE = 0.4  # for those that do not compile

# Not compiled, or never run, where there is no GPU.
NOT_RUN = ("csrc/cuda/host.cu", "csrc/cuda/absent.cpp", "csrc/cuda/archs.cpp", "csrc/cuda/device.cuh")
NOT_CALLED = {
    "csrc/bindings.cpp": {"on_cpu"},
    "csrc/bindings/cuda.h": {"unusable"},
    "capsroute/backends.py": {"_cuda_missing"},
    "capsroute/routing/backends.py": {"_cuda_missing"},
}
# These decide how long a call takes, and not what it answers: no test can see most changes to them.
SPEED = {
    "csrc/cpu/choice.cpp": {"Cost", "filled", "made", "tile", "wave", "tile_fits"},  # the model of time
    "csrc/cuda/plan.cpp": {"cost", "choose_division"},  # the model of time
    "csrc/cpu/plan.cpp": {"divide_inputs"},  # how large a chunk is
    "csrc/cpu/kept_plan.cpp": {"samples_of_wave", "bytes_per_sample"},  # how large a wave is
    "csrc/cpu/inputs_in_lanes/plan.cpp": {"samples_of_wave", "bytes_per_sample"},
    "csrc/cpu/kept.h": {"panel_votes"},  # how many weights are turned at once
    "csrc/cpu/inputs_in_lanes/state.h": {"panel_votes"},
    "csrc/cpu/team.h": {"Team", "pause", "processors"},  # how long threads spin
    "csrc/cpu/peak_loops.cpp": {"peak_loop"},  # a measurement
}
_SPEED_LINE = re.compile("prefetch")


def _candidates(tree: Path, area: Area) -> dict[str, list[tuple[str, str, Change]]]:
    """By kind: the file, its text and a change."""
    found: dict[str, list[tuple[str, str, Change]]] = defaultdict(list)
    for path in sorted((*tree.glob("csrc/**/*"), *tree.glob("capsroute/**/*.py"))):
        name = path.relative_to(tree).as_posix()
        if name in NOT_RUN or not re.fullmatch(area.files, name):
            continue
        text = path.read_text(encoding="utf-8")
        for change in (in_python if path.suffix == ".py" else in_cpp).changes(text):
            line = text[text.rfind("\n", 0, change.start) : text.find("\n", change.end)]
            left_out = SPEED.get(name, set()) | NOT_CALLED.get(name, set())
            if change.function not in left_out and not _SPEED_LINE.search(line):
                found[change.kind].append((name, text, change))
    return found


def mutation(area: str, spare: bool, file: str, text: str, change: Change, trees: Sequence[Path]) -> Mutation | None:
    """With as many lines around it as make it stand once in each tree; None where that cannot be."""
    first = text.rfind("\n", 0, change.start) + 1
    last = text.index("\n", change.end) + 1
    after = change.applied(text)[first : last + len(change.replacement) - (change.end - change.start)]
    digest = hashlib.sha256(f"{file} {change.start} {after}".encode()).hexdigest()[:6]
    above, below = text[:first].splitlines(keepends=True), text[last:].splitlines(keepends=True)
    for lines in range(1, 8):
        found = Mutation(
            id=f"{area}-{digest}",
            area=area,
            spare=spare,
            file=file,
            function=change.function,
            line=text.count("\n", 0, change.start) + 1,
            kind=change.kind,
            before=text[first:last],
            after=after,
            above="".join(above[-lines:]),
            below="".join(below[:lines]),
        )
        if all(found.path(tree) is not None for tree in trees):
            return found
    return None


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def draw(seed: int, count: int, trees: Sequence[Path]) -> list[Mutation]:
    """Mutations of the first tree that can be applied to each."""
    drawn: list[Mutation] = []
    for name, area in AREAS.items():
        generator = random.Random(f"{seed} {name}")
        candidates = _candidates(trees[0], area)
        of_function: Counter[tuple[str, int]] = Counter()
        of_area: list[Mutation] = []
        wanted = round(count * area.share)
        while len(of_area) < wanted + round(wanted * SPARE) and any(candidates.values()):
            kind = generator.choice(sorted(kind for kind, each in candidates.items() if each))
            file, text, change = candidates[kind].pop(generator.randrange(len(candidates[kind])))
            function = file, change.function_start
            if of_function[function] == MOST_OF_A_FUNCTION or (name == "python" and not _parses(change.applied(text))):
                continue
            found = mutation(name, len(of_area) >= wanted, file, text, change, trees)
            if found is not None:
                of_area.append(found)
                of_function[function] += 1
        drawn += of_area
    return drawn
