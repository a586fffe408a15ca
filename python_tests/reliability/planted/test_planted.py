"""The table of faults fits the sources and the committed figures. Planting them all takes many minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .. import results
from .__main__ import main, plant
from .build import ROOT, Run, Tree
from .faults import FAULTS, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_text_to_replace_stands_there_once(fault: Fault) -> None:
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.text) == 1
    assert fault.replacement != fault.text


def test_committed_figures_are_of_these_faults_and_all_were_caught() -> None:
    content = results.kept("planted")
    rows = [(row["fault"], row["file"], row["build"], row["driver"]) for row in content["faults"]]
    assert rows == [(fault.name, fault.file, fault.build, fault.driver) for fault in FAULTS]
    assert all(row["caught"] and row["said"] for row in content["faults"])
    assert content["caught"] == content["planted"] == len(FAULTS) >= 12
    assert {fault.build for fault in FAULTS} == {"plain", "address", "thread"}


def _tree(monkeypatch: pytest.MonkeyPatch, folder: Path, drive: Run) -> Tree:
    monkeypatch.setattr(Tree, "build", lambda *_: Run(0, ""))
    monkeypatch.setattr(Tree, "drive", lambda *_: drive)
    return Tree(folder)


@pytest.mark.parametrize(
    ("drive", "caught"),
    [
        (Run(1, "x\n==7==ERROR: AddressSanitizer: use-after-poison on address 0x12 in /a/b/csrc/c.h\n"), True),
        (Run(0, "==7==ERROR: AddressSanitizer: use-after-poison\n"), False),
        (Run(1, "something else is wrong\n"), False),
    ],
)
def test_only_the_failure_that_is_expected_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drive: Run, caught: bool
) -> None:
    fault = FAULTS[0]
    tree = _tree(monkeypatch, tmp_path, drive)
    before = (tmp_path / fault.file).read_text()
    row = plant(tree, fault)
    assert row["caught"] is caught
    assert row["said"] != "something else is wrong"
    assert (tmp_path / fault.file).read_text() == before == (ROOT / fault.file).read_text()


def test_a_copy_that_fails_without_a_fault_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _tree(monkeypatch, tmp_path, Run(1, "broken"))
    assert main(["--build", "plain", "--folder", str(tmp_path)]) == 1
    assert "fails without a fault" in capsys.readouterr().err


def test_a_copy_that_is_used_again_keeps_its_age(tmp_path: Path) -> None:
    """Or what was built with a fault would pass for built without it."""
    Tree(tmp_path)
    path = tmp_path / FAULTS[0].file
    with Tree(tmp_path).planted(FAULTS[0]):
        pass
    restored = path.stat().st_mtime_ns
    Tree(tmp_path)
    assert path.stat().st_mtime_ns == restored > (ROOT / FAULTS[0].file).stat().st_mtime_ns


def test_no_such_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "none of this name"]) == 2
    assert capsys.readouterr().err == "there is no such fault\n"
