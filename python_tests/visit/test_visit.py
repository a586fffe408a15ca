"""What a call makes of its pieces, and whether the list of them can be run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from capsroute.bench import shapes
from capsroute.cli import main as capsroute_main

from .. import kernels
from ..gpu import sanitize
from . import command, profiled
from .outcomes import TestRecord
from .pieces import Piece, pieces
from .record import VisitRecord
from .visit import GRACE, ROOT, Visit


def visit(out: Path, *wanted: Piece, seconds: float = 60.0) -> VisitRecord:
    record = VisitRecord.read(out)
    Visit(record, seconds, lambda line: None, {**os.environ, "PYTHONPATH": str(ROOT)}).run(wanted)
    return VisitRecord.read(out)


def program(text: str) -> Callable[[float], list[str]]:
    return lambda seconds: [sys.executable, "-c", text]


def test_a_status_is_a_verdict_and_nothing_is_done_twice(tmp_path: Path) -> None:
    """Each piece has variables of its own."""
    told = program("import os; print(os.environ['PLANTED'])")
    good = Piece("good", "", told, least=1, environment={"PLANTED": "hello"})
    bad = Piece("bad", "", program("raise SystemExit(7)"), least=1)
    for _ in range(2):
        record = visit(tmp_path, good, bad)
    assert [record.pieces[name].verdict for name in ("good", "bad")] == ["right", "wrong"]
    assert "status 7" in record.pieces["bad"].note
    assert record.pieces["good"].calls == 1
    assert (tmp_path / "good.log").read_text() == "hello\n"


def test_without_time_a_piece_waits(tmp_path: Path) -> None:
    record = visit(tmp_path, Piece("long", "", program("1"), least=100), Piece("short", "", program("1"), least=1))
    assert [record.pieces[name].verdict for name in ("long", "short")] == ["open", "right"]


def test_what_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"import time; time.sleep(4); open({str(mark)!r}, 'w')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); time.sleep(60)"
    record = visit(tmp_path, Piece("hangs", "", program(parent), least=1, most=2))
    time.sleep(3)
    assert not mark.exists()
    assert record.pieces["hangs"].verdict == "wrong"
    assert "124" in record.pieces["hangs"].note


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    record = visit(tmp_path, Piece("counted", "", program("1"), least=1, needs="no-such-profiler"))
    assert record.pieces["counted"].verdict == "left out"
    assert "no-such-profiler" in record.pieces["counted"].note


def _tests(tmp_path: Path, *outcomes: str, status: int = 0) -> Piece:
    """A piece whose process adds these lines to the record of its tests."""
    lines = "".join(
        json.dumps({"test": "" if o == "all" else f"t{n}", "outcome": o}) + "\n" for n, o in enumerate(outcomes)
    )
    text = f"open({str(tmp_path / 'tests.jsonl')!r}, 'a').write({lines!r}); raise SystemExit({status})"
    return Piece("tests", "", program(text), tests=True, least=1)


@pytest.mark.parametrize(
    ("outcomes", "status", "verdict"),
    [
        (("passed", "skipped", "all"), 0, "right"),
        (("passed", "failed", "all"), 1, "wrong"),
        (("skipped", "all"), 0, "wrong"),  # nothing was shown
        (("all",), 5, "wrong"),
        (("passed", "all"), sanitize.STATUS, "wrong"),
    ],
)
def test_tests_are_judged_by_their_record(tmp_path: Path, outcomes: tuple[str, ...], status: int, verdict: str) -> None:
    record = visit(tmp_path, _tests(tmp_path, *outcomes, status=status))
    assert record.pieces["tests"].verdict == verdict


def test_tests_that_get_no_further_are_given_up(tmp_path: Path) -> None:
    record = visit(tmp_path, _tests(tmp_path, status=4))
    assert record.pieces["tests"].verdict == "wrong"
    assert record.pieces["tests"].calls == 3
    assert "status 4" in record.pieces["tests"].note


def test_tests_that_keep_ending_their_process_are_given_up(tmp_path: Path) -> None:
    """Each may have taken minutes, and nothing says that the next would fare better."""
    record = visit(tmp_path, _tests(tmp_path, "passed", "died", "died", "began", status=1))
    assert record.pieces["tests"].verdict == "wrong"
    assert "t3, the last of 3" in record.pieces["tests"].note


def test_pieces_of_a_group_run_side_by_side(tmp_path: Path) -> None:
    """Each waits for what the other leaves, so that one after the other would never end."""

    def waits(name: str, other: str) -> Piece:
        text = f"""
import pathlib, time
pathlib.Path({str(tmp_path / name)!r}).touch()
while not pathlib.Path({str(tmp_path / other)!r}).exists():
    time.sleep(0.01)
"""
        return Piece(name, "", program(text), least=1, most=30, group="pair")

    record = visit(tmp_path, Piece("first", "", program("1"), least=1), waits("a", "b"), waits("b", "a"))
    assert {name: state.verdict for name, state in record.pieces.items()} == dict.fromkeys(("first", "a", "b"), "right")


def test_a_piece_can_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "pieces", lambda *_: [Piece("build", "", program("print('built')"), least=1)])
    options = ["--rehearse", "--out", str(tmp_path)]
    for more in ([], [], ["--again", "build"]):
        assert command.main([*options, *more]) == 0
    assert (tmp_path / "build.log").read_text() == "built\nbuilt\n"
    assert VisitRecord.read(tmp_path).pieces["build"].calls == 1


def test_the_calls_to_profile() -> None:
    kernels.require("cuda_emulated")
    assert profiled.main(["--backend", "cuda_emulated", "--shrink", "64", "mnist"]) == 0


@pytest.mark.nightly
def test_a_rehearsal(tmp_path: Path) -> None:
    """The whole of it but training and times, which are rehearsed in tests of their own."""
    names = ["build", "routing-1", "routing-2", "memcheck", "ncu-mnist"]
    assert command.main(["--rehearse", "--out", str(tmp_path), "--only", *names]) == 0
    content = json.loads((tmp_path / "visit.json").read_text())
    assert content["environment"]["rehearsal"] is True
    assert {name: state["verdict"] for name, state in content["pieces"].items()} == dict.fromkeys(names, "right")
    passed = [TestRecord(tmp_path / f"routing-{part}.jsonl").outcomes() for part in (1, 2)]
    assert min(map(len, passed)) > 25
    assert not set(passed[0]) & set(passed[1])


def test_too_little_time_asks_for_another_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--rehearse", "--out", str(tmp_path), "--seconds", "1"]) == 3
    assert "call this again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--only", "nothing"], "no piece is called nothing"),
        (["--again", "nothing"], "no piece is called nothing"),
        (["--seconds", "-1"], "--seconds must be above 0"),
        (["--data-dir", "/no/such/folder"], "--data-dir must be a folder"),
        (["--out", "/dev/null/out"], "--out must be a folder that can be written"),
        ([], "no CUDA device"),
    ],
)
def test_wrong_arguments(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    rehearse = ["--rehearse"] if options else []
    with pytest.raises(SystemExit) as ended:
        command.main(["--out", str(tmp_path / "out"), *rehearse, *options])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


REAL = pieces(Path("/out"), Path("/data"), rehearse=False)


def test_sanitizers_see_each_tensor_by_itself() -> None:
    """The allocator's cache would hide accesses between tensors."""
    found = {piece.name: piece.environment for piece in REAL if piece.name in sanitize.TOOLS}
    assert found == dict.fromkeys(sanitize.TOOLS, sanitize.ENVIRONMENT)


def test_every_shape_is_timed() -> None:
    timed = [word for piece in REAL if piece.name[:6] == "bench-" for word in _after(piece, "--shapes").split(",")]
    assert set(timed) == {shape.name for shape in shapes.SHAPES}


def _after(piece: Piece, option: str, seconds: float = 480.0) -> str:
    words = piece.command(seconds)
    return words[words.index(option) + 1]


@pytest.mark.parametrize("piece", REAL, ids=lambda piece: piece.name)
def test_commands_are_understood(piece: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what reads their options: a mistake here would be found out on borrowed time."""
    words = piece.command(480.0 - GRACE)
    assert piece.least <= piece.most <= 480
    for word in words:
        assert not word.startswith("python_tests/") or (ROOT / word).exists()
    if "profiled" in " ".join(words):
        monkeypatch.setattr("capsroute.testing.backend", _enough)
        with pytest.raises(EnoughError):
            profiled.main(["--backend", "cuda_emulated", *words[words.index("python_tests.visit.profiled") + 1 :]])
    elif "bench" in words:
        monkeypatch.setattr("capsroute.bench.gpu.command.open_device", _enough)
        with pytest.raises(EnoughError):
            capsroute_main(words[words.index("bench") :])
        assert float(_after(piece, "--budget", 480.0 - GRACE)) + 60 <= 480  # it ends itself before it is killed


class EnoughError(Exception):
    """The options were read."""


def _enough(*_: object) -> None:
    raise EnoughError
