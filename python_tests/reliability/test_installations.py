"""What the page of the installations may call tested, and what the command says of wrong arguments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from python_tests.packaging.tree import ROOT, copy_of_the_tree
from python_tests.reliability.installations import page, record, ways
from python_tests.reliability.installations.__main__ import RESULTS, main
from python_tests.reliability.installations.workshop import Failure, Workshop, run

ENTRY = {
    **dict.fromkeys(("what", "libc", "machine", "system"), "-"),
    "way": "sdist",
    "passed": True,
    "said": ["imported"],
    "date": "2031-02-03T04:05:06+00:00",
    "commit": "abc",
    "command": "python -m …",
    "python": "3.12.1",
    "torch": "2.8.0+cpu",
    "cuda": "none",
    "compiler": "g++-13 (Debian 13.3.0-16) 13.3.0",
}
FAILED = {**ENTRY, "passed": False, "said": ["no"]}


def test_page_has_every_way() -> None:
    text = (ROOT / "docs/reliability/installations.md").read_text(encoding="utf-8")
    assert {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")} == set(ways.WAYS)


def test_everything_that_was_committed_passed_and_names_its_commit() -> None:
    entries = record.read(RESULTS)
    assert entries
    assert [record.key(entry) for entry in entries if not entry["passed"] or entry["commit"] == "unknown"] == []
    assert {entry["way"] for entry in entries} <= set(ways.WAYS)


def test_only_what_passed_is_called_tested() -> None:
    (python,) = [line for line in page.block([ENTRY]) if line.startswith("| Python")]
    assert python == "| Python | 3.12 | 3.10, 3.11, 3.13, 3.14 |"
    (compiler,) = [line for line in page.block([ENTRY]) if line.startswith("| compiler")]
    assert compiler.startswith("| compiler | GCC 13 | GCC 11, GCC 12, ")
    lines = page.block([FAILED])
    assert "| Python | - | 3.10, 3.11, 3.12, 3.13, 3.14 |" in lines
    assert any("**failed**" in line for line in lines)


def test_a_later_try_takes_the_place_of_a_former_one(tmp_path: Path) -> None:
    path = tmp_path / "results" / "some.json"
    wheel = {**ENTRY, "way": "wheel"}
    for entry in (ENTRY, wheel, FAILED):
        record.put(path, entry)
    assert record.read(path) == [FAILED, wheel]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--way", "pigeon"], "there is no way named pigeon; there are wheel, sdist"),
        (["--python", "/nonexistent/python"], "there is no Python named /nonexistent/python"),
        (["--cxx", "nosuch++"], "there is no program named nosuch++"),
    ],
)
def test_wrong_arguments_are_answered_with_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_command_that_fails_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="ended with status 3"):
        run(["sh", "-c", "echo said; exit 3"], cwd=tmp_path)
    with pytest.raises(Failure, match="could not be started"):
        run(["/nonexistent/program"], cwd=tmp_path)


def test_copies_bring_nothing_that_was_built(tmp_path: Path) -> None:
    """And the tests of an installation stand beside no capsroute."""
    tests, tree = Workshop(tmp_path, "python", "torch").tests, copy_of_the_tree(tmp_path / "a path with späces")
    assert (tests / "python_tests/routing").is_dir()
    assert not (tests / "capsroute").exists()
    assert (tree / "capsroute/__init__.py").exists()
    assert not (tree / "build").exists()
    assert not list(tmp_path.rglob("*.so"))
    assert subprocess.run(["git", "-C", str(tree), "status"], capture_output=True, check=False).returncode != 0
