"""The steps with torch-rechub's layer and with ours are the same, and the page says what was measured."""

from __future__ import annotations

import importlib
import json

import pytest
import torch

from capsroute.bench import environment, recommender
from capsroute.bench.contenders import OURS
from capsroute.bench.recommender import COMPILED, SUBJECTS, THEIRS, Row, Sizes

from ..packaging.tree import ROOT

SMALL = Sizes(batch=6, length=9, size=8, interests=3, items=40, negatives=4)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_is_checked_weighed_and_timed(subject):
    ours, theirs = recommender.run([subject], SMALL, rounds=2, compiled=False)
    assert (ours.contender, theirs.contender) == (OURS, THEIRS)
    for row in (ours, theirs):
        assert row.subject == subject
        assert row.problem is None
        assert row.rounds == 2
        assert row.extra_bytes > 0
        assert row.speedup == pytest.approx(row.seconds / ours.seconds)
    assert 0 < ours.difference < 1e-5
    assert theirs.difference == 0


@pytest.mark.parametrize("subject", SUBJECTS)
def test_all_contenders_start_from_the_same_weights(subject):
    steps = recommender.steps(subject, SMALL, compiled=False)
    first, again = ([r.clone() for r in recommender.steps(subject, SMALL, False)[THEIRS]()] for _ in range(2))
    if subject not in ("layer, type 0", "MIND"):  # whose logits are drawn anew
        assert all(map(torch.equal, first, again))
    assert len(steps[OURS]()) == len(steps[THEIRS]())


def test_a_wrong_result_is_not_timed(monkeypatch):
    right = recommender.replacement

    def wrong(layer):
        ours = right(layer)
        ours.mask_after_softmax = False
        return ours

    monkeypatch.setattr(recommender, "replacement", wrong)
    ours, theirs = recommender.run(["layer, type 1"], SMALL, rounds=1, compiled=False)
    assert ours.problem.startswith("wrong result: differs from torch-rechub by")
    assert ours.seconds is None
    assert theirs.seconds > 0
    assert theirs.speedup is None


def test_a_compiler_that_fails_does_not_end_the_run(monkeypatch):
    def broken(module):
        def call(*_):
            raise RuntimeError("no compiler\nand more")

        call.named_parameters = module.named_parameters
        return call

    monkeypatch.setattr(torch, "compile", broken)
    rows = recommender.run(["layer, type 1"], SMALL, rounds=1)
    assert [row.contender for row in rows] == [OURS, THEIRS, COMPILED]
    assert rows[2].problem == "failed: RuntimeError: no compiler"
    assert rows[0].seconds > 0


def test_the_replacement_has_the_weight_and_kind_of_the_layer():
    for bilinear_type in (0, 1, 2):
        theirs = recommender.rechub_layer(bilinear_type, SMALL).double()
        ours = recommender.replacement(theirs)
        weight = theirs.w if bilinear_type == 2 else theirs.linear.weight
        assert torch.equal(ours.weight.flatten(), weight.flatten())
        assert ours.weight.dtype == torch.float64
        assert ours.weight.data_ptr() != weight.data_ptr()


def test_the_command_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recommender, "Sizes", lambda: SMALL)
    json_file, page = tmp_path / "r.json", tmp_path / "r.md"
    arguments = ["--subjects", "layer, type 1; MIND", "--rounds", "1", "--no-compile"]
    assert recommender.main([*arguments, "--json", str(json_file), "--table", str(page)]) == 0
    rows = json.loads(json_file.read_text())["rows"]
    assert [(row["subject"], row["contender"]) for row in rows] == [
        (subject, contender) for subject in ("layer, type 1", "MIND") for contender in (OURS, THEIRS)
    ]
    assert page.read_text() in capsys.readouterr().out
    monkeypatch.undo()
    assert page.read_text() == recommender.document(*recommender.read(json_file))


def test_the_command_fails_where_our_result_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(recommender, "run", lambda *_: [Row("MIND", contender=OURS, problem="wrong result: none")])
    assert recommender.main([]) == 1
    assert "- MIND, capsroute: wrong result: none" in capsys.readouterr().out


def test_the_page():
    machine = environment.describe() | {THEIRS: importlib.import_module("torch_rechub").__version__}
    times = {"seconds": 0.0125, "lower_seconds": 0.012, "upper_seconds": 0.013, "rounds": 7}
    rows = [
        Row("MIND", contender=OURS, extra_bytes=5 * 2**20, difference=2e-7, speedup=1.0, **times),
        Row("MIND", contender=COMPILED, problem="failed: RuntimeError: no compiler"),
    ]
    lines = recommender.document(machine, Sizes(), rows).splitlines()
    assert "| MIND | capsroute | 12.5 | 12 to 13 | 1.00 | 5 | 2e-07 |" in lines
    assert "| MIND | torch-rechub compiled | - | - | - | - | - |" in lines
    assert "- MIND, torch-rechub compiled: failed: RuntimeError: no compiler" in lines
    assert any("torch-rechub 0.9" in line for line in lines)
    assert max(map(len, lines)) <= 120


def test_committed_results_are_as_promised():
    """Every layer and model is faster with ours than with torch-rechub's own, and the page is made from the file."""
    folder = ROOT / "docs/results/cpu"
    machine, sizes, rows = recommender.read(folder / "recommender.json")
    assert (folder / "recommender.md").read_text(encoding="utf-8") == recommender.document(machine, sizes, rows)
    assert sizes == Sizes()
    seconds = {(row.subject, row.contender): row.seconds for row in rows}
    for subject in SUBJECTS:
        assert seconds[subject, THEIRS] > seconds[subject, OURS], subject


def test_a_subject_that_is_none(capsys):
    with pytest.raises(SystemExit, match="2"):
        recommender.main(["--subjects", "MIND; layer, type 3"])
    assert "subjects must be among layer, type 0; " in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"subject must be one of .*, got 'DSSM'"):
        recommender.run(["DSSM"], SMALL)
