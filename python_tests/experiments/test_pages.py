"""Pages of committed results, which nobody edits by hand; and how runs on MNIST are collected into one result."""

from __future__ import annotations

import json

import pytest

from capsroute.bench.figures import put
from capsroute.experiments import EXPERIMENTS, reference_runs
from capsroute.experiments.pages import block, pages
from capsroute.experiments.record import Record
from capsroute.training import TrainConfig, preset
from python_tests.packaging.tree import ROOT

FOLDER = ROOT / "docs/experiments"
WAITING = {"affnist", "smallnorb"}  # for the files of their data sets: their pages say that nothing was measured


def write_run(folder, accuracies, *, restarts=0, images=60_000, dataset="mnist", **changes):
    config = TrainConfig(**{**preset(dataset), "epochs": len(accuracies), **changes})
    facts = {
        "kind": "run",
        "step": 0,
        "config": config.as_dict(),
        "parameters": 8_215_568,
        "training_images": images,
        "test_images": 10_000,
        "device": "x86_64",
        "threads": 2,
        "torch": "2.13.0",
        "capsroute": "0.1.0",
    }
    records = [facts] * (1 + restarts)
    for number, accuracy in enumerate(accuracies, 1):
        record = {"epoch": number, "step": number * 469, "loss": 0.1, "accuracy": 0.9, "test_loss": 0.05}
        records.append({"kind": "epoch", **record, "test_accuracy": accuracy, "seconds": 300.0})
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def folders(tmp_path):
    return [
        write_run(tmp_path / "a", [0.99, 0.995], seed=0, amp=True),
        write_run(tmp_path / "b", [0.98, 0.997], seed=1, amp=True, restarts=1),
        write_run(tmp_path / "c", [0.98, 0.993], seed=0, reconstruction=False),
    ]


def test_page_and_figure(folders, tmp_path):
    out = tmp_path / "result"
    assert reference_runs.main([*map(str, folders), "--out", str(out)]) == 0
    page = (out / "README.md").read_text()
    way = "2 epochs, batch 128, learning rate falls by 0.9 per epoch"
    assert f"| T = 3, with reconstruction | {way} | 938 | 2 | 0.40 ± 0.14 | 0.50, 0.30 | 99.60 |" in page
    assert f"| T = 3, without reconstruction | {way} | 938 | 1 | 0.70 | 0.70 | 99.30 |" in page
    assert f"| capsroute, {way} | 0.40 ± 0.14 | 0.70 |" in page
    assert "torch 2.13.0, on x86_64, threads of each run: 2." in page
    assert "less than 5.0 minutes" in page
    assert "| Sabour et al. 2017 | 0.25 ± 0.005 | 0.35 ± 0.036 |" in page
    assert "| XifengGuo/CapsNet-Pytorch | 0.34 ± 0.029 | - |" in page
    assert "capsroute train --dataset mnist --epochs 2 --amp\n" in page
    assert "capsroute train --dataset mnist --epochs 2 --no-reconstruction\n" in page
    assert (out / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    (out / "README.md").unlink()
    reference_runs.write_page(out)  # from runs.json alone
    assert (out / "README.md").read_text() == page


def test_each_way_of_training_is_a_row_beside_the_published_ones(folders, tmp_path):
    longer = write_run(tmp_path / "d", [0.98, 0.99, 0.995], batch_size=64, accumulate=2, schedule="cosine")
    page = reference_runs.document(reference_runs.collect([*folders, longer]))
    rows = [line for line in page.splitlines() if line.startswith("| capsroute")]
    assert rows == [
        "| capsroute, 3 epochs, batch 128, learning rate falls to 0 as a cosine | 0.50 | - |",
        "| capsroute, 2 epochs, batch 128, learning rate falls by 0.9 per epoch | 0.40 ± 0.14 | 0.70 |",
    ]


def test_runs_that_are_no_result(tmp_path, folders, capsys):
    def said(folder):
        assert reference_runs.main([str(folders[0]), str(folder), "--out", str(tmp_path / "result")]) == 1
        assert not (tmp_path / "result").exists()
        return capsys.readouterr().err

    assert "is not of a run on all of MNIST" in said(write_run(tmp_path / "digits", [0.9], dataset="digits"))
    assert "is not of a run on all of MNIST" in said(write_run(tmp_path / "few", [0.9], images=40))
    assert "holds 1 of 3 epochs" in said(write_run(tmp_path / "short", [0.9], epochs=3))
    assert "cannot read" in said(tmp_path / "absent")


def test_the_committed_page_follows_from_the_committed_runs():
    folder = ROOT / "docs/results/mnist"
    runs = json.loads((folder / reference_runs.RUNS).read_text())
    assert (folder / "README.md").read_text() == reference_runs.document(runs), "run make figures"
    assert all(run["epochs"][-1]["test_accuracy"] >= 0.994 for run in reference_runs.groups(runs)[0])  # the longest


@pytest.mark.parametrize("name", sorted(set(EXPERIMENTS) - WAITING))
def test_page_follows_from_the_committed_result(name):
    record = Record.read(FOLDER / f"results/{name}.json")
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert page == put(block(record), page), "run make figures"
    assert len(record.seeds) >= 3
    assert not record.scale["full"]
    assert f"results/{name}.png" in page
    assert (FOLDER / f"results/{name}.png").is_file()
    assert f"capsroute experiment {name}" in page


def test_nothing_but_experiments_has_results():
    assert {path.stem for path in pages(FOLDER)} == set(EXPERIMENTS) - WAITING
    for name in WAITING:
        page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert f"capsroute experiment {name} --data-dir DIR" in page
        assert "Nothing yet: " in page
