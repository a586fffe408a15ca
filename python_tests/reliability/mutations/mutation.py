"""A mutation by its text, so that it can be applied to any tree that has this text, wherever the file stands."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

# Where files went since trees were last compared.
RENAMED = (
    (r"csrc/cpu/kept\.h", "csrc/cpu/inputs_in_lanes/state.h"),
    (r"csrc/cpu/kept_", "csrc/cpu/inputs_in_lanes/"),
    (r"csrc/cpu/(agreement|backward|coupling|forward|passes|votes)\.h", r"csrc/cpu/samples_in_lanes/\1.h"),
    (r"csrc/(options|problem|squash|status)\.", r"csrc/shared/\1."),
    (r"capsroute/(\w+\.py)", r"capsroute/routing/\1"),
)


@dataclass(frozen=True)
class Mutation:
    """Whole lines, and those around them that make them stand in the file once."""

    id: str
    area: str
    spare: bool  # takes the place of one that does not compile
    file: str  # in the tree of the draw
    function: str
    line: int
    kind: str
    before: str
    after: str
    above: str
    below: str

    def path(self, tree: Path) -> Path | None:
        """The file of a tree that it can be applied to, if there is one."""
        moved = [re.sub(f"^{pattern}", name, self.file) for pattern, name in RENAMED]
        for name in dict.fromkeys([self.file, *moved]):
            path = tree / name
            if path.exists() and path.read_text(encoding="utf-8").count(self.above + self.before + self.below) == 1:
                return path
        return None

    def applied(self, text: str) -> str:
        """The mutated file."""
        return text.replace(self.above + self.before + self.below, self.above + self.after + self.below)


def write(path: Path, mutations: list[Mutation], origin: dict[str, object]) -> None:
    """Write a drawn set, with what it was drawn from."""
    content = {**origin, "mutations": [asdict(each) for each in mutations]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> list[Mutation]:
    """The mutations of a drawn set."""
    return [Mutation(**each) for each in json.loads(path.read_text(encoding="utf-8"))["mutations"]]
