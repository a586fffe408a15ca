"""Tables and figures follow from the committed results, and nobody edits them by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from capsroute.bench import environment, figures
from capsroute.bench.ceilings import Ceilings
from capsroute.bench.figures import BEGIN, END, Results, ResultsError
from capsroute.bench.record import Record, write_training
from capsroute.bench.suite import Row
from capsroute.bench.sweep import Point
from capsroute.bench.training_suite import Row as TrainingRow
from capsroute.bench.training_suite import with_ratios

from ..packaging.tree import ROOT, load_script

script = load_script("figures")
COMMITTED = ROOT / "docs/results/cpu"


def test_the_committed_documents_follow_from_the_committed_results() -> None:
    results = Results.read(COMMITTED)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == figures.put(figures.block(results), readme), "run make figures"
    page = (COMMITTED / "README.md").read_text(encoding="utf-8")
    assert page == script.page(COMMITTED, results), "run make figures"


def _row(shape: str, gradient: str | None, contender: str, ms: float | None, **more: object) -> Row:
    passes = "forward" if gradient is None else "forward+backward"
    seconds = None if ms is None else ms / 1e3
    known = {"extra_bytes": 3 * 2**20, "peak_share": 0.616, "limit_seconds": 1e-3}
    sizes = "1, 2, 3, 4, 5, 6"
    return Row(shape, sizes, passes, gradient, "float32", contender=contender, seconds=seconds, **(known | more))


def _shape(
    shape: str, gradient: str | None, ours: float, einsum: float, bmm: float | None, compiled: float
) -> list[Row]:
    return [
        _row(shape, gradient, "capsroute", ours),
        _row(shape, gradient, "eager einsum", einsum, extra_bytes=75 * 2**20),
        _row(shape, gradient, "eager bmm", bmm, problem="needs too much" if bmm is None else None),
        _row(shape, gradient, "compile bmm", compiled),
    ]


ROWS = [
    *_shape("small", None, 1.5, 30, 20, 15),
    *_shape("small", "all", 2.0, 250, 200, 150),
    *_shape("small", "last", 4.0, 8, 9, 3.0),
    *_shape("large", None, 1234.5, 5000, None, 4000),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of all kinds, as the commands write them."""
    machine, limits = environment.describe(), Ceilings(2.5e11, 3e10)
    Record(machine, limits, ROWS).write(tmp_path / "shapes.json")
    swept = [(Point("B", n), _row(f"B={n}", None, name, n)) for n in (1, 2) for name in ("capsroute", "eager bmm")]
    Record(machine, limits, [], swept).write(tmp_path / "sweeps.json")
    for convolutions, ms in (("float32", 1000), ("bfloat16", 500)):
        known = {"routing_share": 30 / ms, "images_per_second": 128e3 / ms}
        ours = TrainingRow(convolutions, 128, contender="capsroute", seconds=ms / 1e3, routing_seconds=0.03, **known)
        peers = [
            TrainingRow(convolutions, 128, contender=name, seconds=times * ms / 1e3, routing_seconds=routing)
            for name, times, routing in (("eager bmm", 1.3, 0.4), ("eager einsum", 1.7, 0.6))
        ]
        failed = TrainingRow(convolutions, 128, contender="compile bmm", problem="failed: X: y")
        steps = with_ratios([ours, *peers, failed])
        name = "training.json" if convolutions == "float32" else f"training-{convolutions}.json"
        write_training(tmp_path / name, machine, steps)
    return tmp_path


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "document.md"
    path.write_text(f"before\n\n{BEGIN}\n{END}\n\nafter\n")
    return path


def _cells(lines: list[str], *starts: str) -> list[str]:
    """Cells of the one line of a table whose first cells these are."""
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    (found,) = [cells for cells in tables if cells[: len(starts)] == list(starts)]
    return found


def test_block(folder: Path) -> None:
    lines = figures.block(Results.read(folder))
    titles = [line for line in lines if line.startswith("**")]
    assert titles == ["**Forward**", "**Forward + backward (all)**", "**A whole training step**"]
    middle = lines.index("**Forward + backward (all)**")
    sizes = "1, 2, 3, 4, 5, 6"
    wanted = ["small", sizes, "**1.5**", "20", "15", "13.3", "10", "62%", "3.0", "3.0"]
    assert _cells(lines[:middle], "small") == wanted
    wanted = ["large", sizes, "**1234**", "5000", "4000", "4.05", "3.24", "62%", "3.0", "75.0"]
    assert _cells(lines, "large") == wanted
    assert "- large, eager bmm: needs too much" in lines
    assert _cells(lines, "float32", "capsroute") == ["float32", "capsroute", "1000", "128", "30", "3%", "1.00", "-"]
    assert _cells(lines, "bfloat16", "eager bmm")[2:] == ["650", "-", "400", "-", "1.30", "-"]
    assert not any("eager einsum" in line for line in lines), "only the fastest of a family"
    assert all(len(line) <= 120 or line.startswith("|") for line in lines)


def test_a_losing_case_is_told_even_where_it_has_no_table(folder: Path) -> None:
    assert "Faster than capsroute: small, forward+backward (last) (compile bmm, 1.33 times as fast)." in figures.block(
        Results.read(folder)
    )
    Record(environment.describe(), Ceilings(1.0, 1.0), ROWS[:8]).write(folder / "shapes.json")
    assert any(line.startswith("No peer is faster") for line in figures.block(Results.read(folder)))


def test_the_page_holds_everything_and_twice_changes_nothing(folder: Path, readme: Path) -> None:
    Record(environment.describe(), Ceilings(1.0, 1.0), ROWS[:4]).write(folder / "shapes-bfloat16.json")
    script.write(readme, folder)
    page = (folder / "README.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert headings[1:4] == ["## shapes.json", "## shapes-bfloat16.json", "## Training steps"]
    assert "**Forward + backward (last)**" in page
    for text in ("| float32 | eager einsum |", "- compile bmm, bfloat16: failed: X: y"):
        assert text in page
    images = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert {"speedup.png", "limit.png", "sweep-B.png", "training.png"} <= set(images)
    assert all((folder / image).stat().st_size > 5000 for image in images)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    script.write(readme, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    text = readme.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\n\nafter\n")


def test_what_was_edited_by_hand_or_measured_anew_is_seen(folder: Path, readme: Path) -> None:
    lines = figures.block(Results.read(folder))
    text = figures.put(lines, readme.read_text())
    assert figures.put(lines, text) == text
    edited = text.replace("13.3", "14.3")
    assert figures.put(lines, edited) != edited
    path = folder / "shapes.json"
    content = json.loads(path.read_text())
    content["rows"][0]["seconds"] *= 1.1
    path.write_text(json.dumps(content))
    assert figures.put(figures.block(Results.read(folder)), text) != text


def test_only_the_shapes_are_needed(tmp_path: Path) -> None:
    Record(environment.describe(), Ceilings(1.0, 1.0), ROWS).write(tmp_path / "shapes.json")
    results = Results.read(tmp_path)
    assert results.sweeps is None
    assert not any("training" in line for line in figures.block(results))


def test_fields_of_another_version_are_passed_over(folder: Path) -> None:
    path = folder / "shapes.json"
    content = json.loads(path.read_text())
    for row in content["rows"]:
        row["colour"] = "red"
        del row["limit_seconds"]
    path.write_text(json.dumps(content))
    assert Results.read(folder).main.rows[0].limit_seconds is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("shapes.json", None, "shapes.json is missing; capsroute bench --json writes it"),
        ("shapes.json", "{", "shapes.json is not what capsroute bench writes: JSONDecodeError"),
        ("shapes.json", '{"rows": []}', "shapes.json is not what capsroute bench writes: KeyError"),
        ("sweeps.json", '{"rows": [{}]}', "sweeps.json is not what capsroute bench writes: TypeError"),
        ("training.json", "[]", "training.json is not what capsroute bench writes: TypeError"),
    ],
)
def test_results_that_are_none(folder: Path, name: str, text: str | None, said: str) -> None:
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(ResultsError) as raised:
        Results.read(folder)
    assert said in str(raised.value)


@pytest.mark.parametrize("text", ["nothing", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_document_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ResultsError, match="once each, in this order"):
        figures.put(["line"], text)


def test_the_script_answers_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "ROOT", tmp_path)
    assert script.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("figures: ")
    assert said.count("\n") == 1
