#!/usr/bin/env python3
"""Goes through the list of a release and says of each point whether it holds: scripts/release.py 0.2.0.

Changes nothing, unless --tag is given and every point holds: then it makes the tag. It never pushes; it prints the
commands that do.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN = ("lint", "test", "docs", "build")
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
BRANCH = "main"

Answer = str | None  # what is wrong, or None


def numbers(version: str) -> tuple[int, ...]:
    """The three numbers of a version, which compare as versions do."""
    return tuple(map(int, version.split(".")))


class Tree:
    """A checkout, and what is asked of it."""

    def __init__(self, root: Path, version: str) -> None:
        self.root, self.version = root, version

    def git(self, *arguments: str) -> str:
        """What git prints, or nothing where it fails."""
        command = ["git", "-C", str(self.root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def version_is_written(self) -> Answer:
        """The one home of the version has it."""
        text = (self.root / "capsroute/_version.py").read_text(encoding="utf-8")
        return None if f'__version__ = "{self.version}"' in text else "capsroute/_version.py has another version"

    def version_is_newer(self) -> Answer:
        """No tag has it, or a later one."""
        tags = [tag[1:] for tag in self.git("tag", "--list", "v*").split() if VERSION.fullmatch(tag[1:])]
        late = [tag for tag in tags if numbers(tag) >= numbers(self.version)]
        return f"there is a tag v{max(late, key=numbers)} already" if late else None

    def changelog_is_dated(self) -> Answer:
        """The newest section of the changelog is that of the version, and has a date."""
        text = (self.root / "CHANGELOG.md").read_text(encoding="utf-8")
        section = next(iter(re.findall(r"^## (.+)$", text, re.MULTILINE)), "")
        if not section.startswith(f"[{self.version}]"):
            return f"the first section of CHANGELOG.md is not that of {self.version}"
        dated = re.fullmatch(rf"\[{re.escape(self.version)}\] - \d{{4}}-\d{{2}}-\d{{2}}", section)
        return None if dated else f"the section of CHANGELOG.md has no date: '{section}'"

    def branch_is_right(self) -> Answer:
        """Releases are made from one branch."""
        branch = self.git("rev-parse", "--abbrev-ref", "HEAD")
        return None if branch == BRANCH else f"the branch is '{branch}', not '{BRANCH}'"

    def tree_is_clean(self) -> Answer:
        """What is tagged is what is tested."""
        changed = self.git("status", "--porcelain").splitlines()
        such = f"such as {changed[0].split()[-1]}" if changed else ""
        return f"{len(changed)} files are changed or not committed, {such}" if changed else None

    def made(self, *words: str) -> Answer:
        """A command of the project passes; it prints what it prints."""
        status = subprocess.run(words, cwd=self.root, check=False).returncode
        return None if status == 0 else f"'{' '.join(words)}' ended with status {status}"

    def distributions_are_right(self) -> Answer:
        """An sdist and a wheel can be built, and their metadata are what the index takes."""
        with tempfile.TemporaryDirectory() as folder:
            wrong = self.made(sys.executable, "-m", "build", "--outdir", folder)
            built = [str(path) for path in Path(folder).iterdir()]
            return wrong or self.made(sys.executable, "-m", "twine", "check", "--strict", *built)


def check(tree: Tree, skipped: Sequence[str]) -> bool:
    """Print the list with what holds; whether all of it does."""
    points: dict[str, Callable[[], Answer]] = {
        f"capsroute/_version.py says {tree.version}": tree.version_is_written,
        "the version is newer than all tags": tree.version_is_newer,
        "the changelog has a dated section": tree.changelog_is_dated,
        f"the branch is {BRANCH}": tree.branch_is_right,
        "nothing is changed or left over": tree.tree_is_clean,
        **{f"make {name}": partial(tree.made, "make", name) for name in RUN[:3]},
        "sdist and wheel": tree.distributions_are_right,
    }
    passed_over = ["sdist and wheel" if name == "build" else f"make {name}" for name in skipped]
    complete = True
    for title, holds in points.items():
        wrong = "skipped, so not known" if title in passed_over else holds()
        complete = complete and wrong is None
        print(f"[{' ' if wrong else 'x'}] {title}{f': {wrong}' if wrong else ''}", flush=True)
    return complete


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the script; the status is 0, 1 where a point does not hold, or 2 where the arguments are wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("version", help="such as 0.2.0, as in capsroute/_version.py")
    parser.add_argument("--skip", default="", metavar="LIST", help=f"points not to run, of {','.join(RUN)}")
    parser.add_argument("--tag", action="store_true", help="make the tag, if every point holds")
    arguments = parser.parse_args(argv)
    skipped = [name for name in arguments.skip.split(",") if name]
    if not VERSION.fullmatch(arguments.version):
        parser.error(f"a version is three numbers such as 0.2.0, not '{arguments.version}'")
    if unknown := [name for name in skipped if name not in RUN]:
        parser.error(f"--skip takes {','.join(RUN)}, not '{unknown[0]}'")
    tree, tag = Tree(root, arguments.version), f"v{arguments.version}"
    if not check(tree, skipped):
        print("Not ready.", file=sys.stderr)
        return 1
    if not arguments.tag:
        print(f"Ready; --tag makes the tag {tag}.")
        return 0
    if wrong := tree.made("git", "tag", "--annotate", tag, "--message", f"capsroute {arguments.version}"):
        print(wrong, file=sys.stderr)
        return 1
    print(f"Tagged. What publishes it:\n  git push origin {BRANCH}\n  git push origin {tag}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
