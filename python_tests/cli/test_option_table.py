"""Options that would have no effect: the table has all of them, and they are refused before anything is done."""

from __future__ import annotations

import argparse

import pytest

from capsroute import cli
from capsroute.bench.gpu import command as gpu_command
from capsroute.cli import main, option_table
from capsroute.cli.option_table import TABLE, walk
from capsroute.training import TrainConfig, TrainingError, preset
from capsroute.training.datasets import load_dataset

# For each option that needs something: a command line without it, and facts with it.
NEEDY = {
    ("train", "data_dir"): ("--data-dir .", {"dataset": "mnist"}),
    ("train", "iterations"): ("--iterations 3 --network pooling-cnn", {"network": "capsnet"}),
    ("train", "routing"): ("--routing fused --network pooling-cnn", {"network": "capsnet"}),
    ("train", "reconstruction_weight"): ("--reconstruction-weight 0.1 --no-reconstruction", {"reconstruction": True}),
    ("train", "lr_decay"): ("--lr-decay 0.9 --schedule cosine", {"schedule": "exponential"}),
    ("train", "rank_timeout"): ("--rank-timeout 60", {"ranks": 2}),
    ("train", "overwrite"): ("--overwrite", {"out": "run"}),
    ("predict", "overwrite"): ("image.png --checkpoint run --overwrite", {"reconstruction": "drawn.png"}),
    ("experiment", "data_dir"): ("scramble --data-dir .", {"reads_files": True}),
    ("bench", "gradient"): ("--sweep B --gradient both", {"gradient": "both", "has_shapes": True}),
    ("bench", "baseline"): ("--compare none --baseline FILE", {"has_shapes": True, "peers": ["eager"]}),
    ("bench", "write_baseline"): ("--sweep B --write-baseline new.json", {"has_shapes": True, "peers": ["eager"]}),
    ("bench gpu", "max_autotune"): ("--out new --compare eager --max-autotune", {"peers": ["compile"]}),
}


def test_every_option_of_every_command_has_a_row():
    """A new option is placed in the table, and one that needs something among the cases above."""
    found = [(command, name) for command, name, _ in walk(cli._build_parser())]
    assert sorted(found) == sorted((command, name) for command, rows in TABLE.items() for name in rows)
    assert NEEDY.keys() == {(command, name) for command, rows in TABLE.items() for name, needs in rows.items() if needs}


@pytest.mark.parametrize(("command", "name"), NEEDY)
def test_an_option_without_effect(command, name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_command, "open_device", lambda: None)
    (tmp_path / "baseline.json").write_text('{"environment": {}, "dtype": "float32", "ratios": []}')
    before = set(tmp_path.rglob("*"))
    words, met = NEEDY[command, name]
    assert main([*command.split(), *words.replace("FILE", "baseline.json").split()]) == 2
    out, error = capsys.readouterr()
    needs, option = TABLE[command][name], f"--{name.replace('_', '-')}"
    sentence = f"{option} would have no effect: it needs {needs.words}; give that, or leave it out"
    assert (out, error) == ("", f"capsroute: error: {sentence}\n")
    assert set(tmp_path.rglob("*")) == before
    option_table.refuse_unused(command, argparse.Namespace(given={name}), **met)
    option_table.refuse_unused(command, argparse.Namespace(given=set()))  # a default is nobody's wish

    assert main([*command.split(), "--help"]) == 0
    assert f"needs {needs.words}" in " ".join(capsys.readouterr().out.split())


def test_a_configuration_refuses_what_has_no_effect():
    for changes, message in (
        ({"schedule": "cosine", "lr_decay": 0.5}, "lr_decay=0.5 would have no effect: it needs schedule='exponential'"),
        ({"network": "pooling-cnn", "iterations": 5}, "iterations=5 .* needs network='capsnet'"),
        ({"network": "pooling-cnn", "routing": "reference"}, "routing='reference' .* needs network='capsnet'"),
        ({"reconstruction": False, "reconstruction_weight": 0.1}, "reconstruction_weight=0.1 .* reconstruction=True"),
    ):
        with pytest.raises(TrainingError, match=message):
            TrainConfig(**changes)
        older = TrainConfig(**changes, allow_unused=True)  # a checkpoint that was made before
        assert TrainConfig.from_dict(older.as_dict()).resumed_with({"accumulate": 2}).lr_decay == older.lr_decay
        unused = next(reversed(changes))
        assert f"--{unused.replace('_', '-')}" not in older.options()  # the card's command is one that is taken
    assert TrainConfig(**preset("digits"), reconstruction=False).reconstruction_weight == 0.005
    with pytest.raises(TrainingError, match="data_dir must be None for digits, which is read from no folder; got here"):
        load_dataset("digits", "here")
