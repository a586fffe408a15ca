"""The release script refuses what is not ready, says why, and makes a tag only where everything holds."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from .tree import load_script


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return load_script("release")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout in which version 0.2.0 is ready, but for what takes a build."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")
    (tmp_path / "capsroute").mkdir()
    (tmp_path / "capsroute/_version.py").write_text('__version__ = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [0.2.0] - 2031-02-03\n\n## [0.1.0] - 2030-01-01\n")
    (tmp_path / "Makefile").write_text("lint test docs:\n\t@true\n")
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path)
    git(tmp_path, "tag", "v0.1.0")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Change it")


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    commit(folder)


WRONG = {
    "another version": (
        lambda tree: write(tree, "capsroute/_version.py", '__version__ = "0.1.9"\n'),
        "capsroute/_version.py has another version",
    ),
    "a tag": (lambda tree: git(tree, "tag", "v0.2.0"), "there is a tag v0.2.0 already"),
    "a later tag": (lambda tree: git(tree, "tag", "v0.10.0"), "there is a tag v0.10.0 already"),
    "no section": (
        lambda tree: write(tree, "CHANGELOG.md", "## [0.1.0] - 2030-01-01\n"),
        "the first section of CHANGELOG.md is not that of 0.2.0",
    ),
    "no date": (
        lambda tree: write(tree, "CHANGELOG.md", "## [0.2.0] - unreleased\n"),
        "the section of CHANGELOG.md has no date: '[0.2.0] - unreleased'",
    ),
    "another branch": (lambda tree: git(tree, "switch", "-qc", "side"), "the branch is 'side', not 'main'"),
    "a file left over": (lambda tree: (tree / "left").touch(), "1 files are changed or not committed, such as left"),
    "lint that fails": (
        lambda tree: write(tree, "Makefile", "test docs:\n\t@true\nlint:\n\t@false\n"),
        "[ ] make lint: 'make lint' ended with status 2",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_ready_is_refused(
    release: ModuleType, checkout: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    change, sentence = WRONG[name]
    change(checkout)
    tags = git(checkout, "tag")
    assert release.main(["0.2.0", "--tag", "--skip", "build"], checkout) == 1
    printed = capfd.readouterr()
    assert sentence in printed.out
    assert printed.out.count("[ ]") == 2, "this point, and the build that was skipped"
    assert printed.err.endswith("Not ready.\n")
    assert git(checkout, "tag") == tags


def test_what_was_skipped_does_not_count_as_done(
    release: ModuleType, checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["0.2.0", "--tag", "--skip", "lint,build"], checkout) == 1
    printed = capfd.readouterr().out
    assert "[ ] make lint: skipped, so not known" in printed
    assert "[ ] sdist and wheel: skipped, so not known" in printed
    assert git(checkout, "tag") == "v0.1.0"


def test_what_is_ready_is_tagged_when_that_is_asked_for_and_never_pushed(
    release: ModuleType, checkout: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release.Tree, "distributions_are_right", lambda tree: None)
    assert release.main(["0.2.0"], checkout) == 0
    assert "Ready; --tag makes the tag v0.2.0." in capfd.readouterr().out
    assert git(checkout, "tag") == "v0.1.0"
    assert release.main(["0.2.0", "--tag"], checkout) == 0
    assert capfd.readouterr().out.endswith("  git push origin main\n  git push origin v0.2.0\n")
    assert git(checkout, "rev-parse", "v0.2.0^{commit}") == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["v0.2.0"], "a version is three numbers such as 0.2.0, not 'v0.2.0'"),
        (["0.2"], "a version is three numbers such as 0.2.0, not '0.2'"),
        (["0.2.0", "--skip", "tests"], "--skip takes lint,test,docs,build, not 'tests'"),
    ],
)
def test_wrong_arguments_are_answered_with_a_sentence(
    release: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        release.main(arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
