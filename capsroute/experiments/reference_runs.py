"""Collects runs of ``capsroute train --dataset mnist`` into one result: errors beside published ones, learning curves.

    python -m capsroute.experiments.reference_runs RUN… --out docs/results/mnist

RUN is the folder of a finished run. Runs that differ in their seed alone are one row. Writes runs.json, what the runs
measured, and from it alone README.md and learning_curves.png; ``make figures`` writes the last two again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from capsroute.bench.files import replace
from capsroute.bench.texts import markdown_table, paragraph
from capsroute.experiments.record import Spread, spread
from capsroute.training.config import TrainConfig, preset
from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path
from capsroute.training.reporting.figures import new_figure
from capsroute.training.reporting.metrics import read_metrics

__all__ = ["collect", "document", "draw", "groups", "main", "write_page"]

RUNS = "runs.json"
_EPOCH = ("epoch", "loss", "accuracy", "test_loss", "test_accuracy", "seconds")
_RUN = ("config", "parameters", "training_images", "test_images", "device", "threads", "torch", "capsroute")
_IMAGES = 60_000  # of the training set of MNIST, all of them

# Test error in percent and its spread, by routing iterations and reconstruction: the paper's table 1, and what the
# README files of two public repositories say.
PUBLISHED: dict[str, dict[tuple[int, bool], Spread]] = {
    "Sabour et al. 2017": {
        (1, False): Spread(0.34, 0.032),
        (1, True): Spread(0.29, 0.011),
        (3, False): Spread(0.35, 0.036),
        (3, True): Spread(0.25, 0.005),
    },
    "XifengGuo/CapsNet-Keras": {
        (1, False): Spread(0.39, 0.024),
        (1, True): Spread(0.36, 0.009),
        (3, False): Spread(0.40, 0.016),
        (3, True): Spread(0.34, 0.016),
    },
    "XifengGuo/CapsNet-Pytorch": {(1, True): Spread(0.36, 0.016), (3, True): Spread(0.34, 0.029)},
}

_INTRODUCTION = (
    "The network of Sabour, Frosst and Hinton (2017), trained by `capsroute train --dataset mnist` on all 60,000 "
    "training images, each shifted by up to two pixels in each step. No image was held out, the number of epochs was "
    "fixed before each run, and the error is that of the last epoch. The way that lets the learning rate fall as a "
    "cosine, with smaller batches, was decided on when the other had ended: its rate had fallen while the training "
    "error still did. So much was known of the test images, and nothing was chosen by them afterwards. Errors are "
    "percent of the 10,000 test images, as mean ± sample standard deviation over the seeds."
)


def collect(folders: Iterable[AnyPath]) -> list[dict[str, Any]]:
    """What the runs in these folders measured.

    Raises:
        TrainingError: A folder holds no run on all of MNIST, or one that did not reach its last epoch.
    """
    return [_run(as_path("folders", folder)) for folder in folders]


def _run(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.jsonl"
    try:
        records = read_metrics(path)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
    starts = [record for record in records if record["kind"] == "run"]
    if not starts or starts[0]["config"]["dataset"] != "mnist" or starts[0]["training_images"] != _IMAGES:
        raise TrainingError(f"{path} is not of a run on all of MNIST")
    epochs = [{name: record[name] for name in _EPOCH} for record in records if record["kind"] == "epoch"]
    # A run that was resumed began more than once, and may have been made longer.
    run = {name: starts[-1][name] for name in _RUN}
    if len(epochs) != run["config"]["epochs"]:
        raise TrainingError(f"{path} holds {len(epochs)} of {run['config']['epochs']} epochs")
    return {**run, "config": TrainConfig.from_dict(run["config"]).as_dict(), "epochs": epochs}


def groups(runs: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs that differ in their seed alone, those of the most steps first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(json.dumps({**run["config"], "seed": None}, sort_keys=True), []).append(run)
    return sorted(found.values(), key=lambda group: (-_steps(group), _protocol(group), not _kind(group)[1]))


def _steps(group: Sequence[dict[str, Any]]) -> int:
    """Steps of the optimizer in a whole run."""
    config = group[0]["config"]
    return config["epochs"] * -(-_IMAGES // (config["batch_size"] * config["accumulate"]))


def _protocol(group: Sequence[dict[str, Any]]) -> str:
    """How long and how the network was trained, in words."""
    config = group[0]["config"]
    falls = "to 0 as a cosine" if config["schedule"] == "cosine" else f"by {config['lr_decay']:g} per epoch"
    return (
        f"{config['epochs']} epochs, batch {config['batch_size'] * config['accumulate']}, learning rate falls {falls}"
    )


def _kind(group: Sequence[dict[str, Any]]) -> tuple[int, bool]:
    """Routing iterations, and whether there is a decoder."""
    config = group[0]["config"]
    return config["iterations"], config["reconstruction"]


def _error(group: Sequence[dict[str, Any]]) -> Spread:
    """After the last epoch, in percent."""
    return spread(100 * (1 - run["epochs"][-1]["test_accuracy"]) for run in group)


def _error_text(group: Sequence[dict[str, Any]]) -> str:
    """Mean and deviation, the latter where there are two seeds at least."""
    error = _error(group)
    return error.text() if len(group) > 1 else f"{error.mean:.2f}"


def command(group: Sequence[dict[str, Any]]) -> str:
    """What trains the network of a group with its first seed: every option in which it is not the default."""
    default = TrainConfig(**preset("mnist"))
    config = TrainConfig.from_dict({**group[0]["config"], "seed": default.seed})
    return " ".join(["capsroute train --dataset mnist", *config.options(but=default)])


def document(runs: Sequence[dict[str, Any]]) -> str:
    """The page."""
    lines = [
        "# The reference network on MNIST",
        "",
        *paragraph(_INTRODUCTION),
        "",
        *_ours(runs),
        "",
        *_beside(runs),
        "",
    ]
    lines += ["![Test error over the epochs](learning_curves.png)", "", "## Commands", ""]
    lines += ["Each was run with `--seed 0`, `--seed 1` and so on.", "", "```"]
    lines += [*dict.fromkeys(command(group) for group in groups(runs)), "```", ""]
    lines += paragraph(
        "`python -m capsroute.experiments.reference_runs RUN… --out docs/results/mnist` collects the runs, and "
        "`make figures` writes this page from runs.json."
    )
    return "\n".join(lines) + "\n"


def _ours(runs: Sequence[dict[str, Any]]) -> list[str]:
    head = ["network", "training", "steps", "seeds", "error / %", "of each seed", "accuracy / %"]
    rows = [
        [
            _name(group),
            _protocol(group),
            f"{_steps(group):,}",
            str(len(group)),
            _error_text(group),
            ", ".join(f"{_error([run]).mean:.2f}" for run in group),
            f"{100 - _error(group).mean:.2f}",
        ]
        for group in groups(runs)
    ]
    seconds = [epoch["seconds"] for run in runs for epoch in run["epochs"]]
    torches, devices, threads = (
        ", ".join(dict.fromkeys(str(run[name]) for run in runs)) for name in ("torch", "device", "threads")
    )
    machine = (
        f"torch {torches}, on {devices}, threads of each run: {threads}. "
        f"Half of the epochs took less than {statistics.median(seconds) / 60:.1f} minutes, beside other programs."
    )
    return [*markdown_table(head, rows), "", *paragraph(machine)]


def _name(group: Sequence[dict[str, Any]]) -> str:
    iterations, reconstruction = _kind(group)
    return f"T = {iterations}, {'with' if reconstruction else 'without'} reconstruction"


def _beside(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Each way of training beside what others published, after many more epochs."""
    ours: dict[str, dict[tuple[int, bool], Sequence[dict[str, Any]]]] = {}
    for group in groups(runs):
        ours.setdefault(_protocol(group), {}).setdefault(_kind(group), group)
    named = {_kind(group): _name(group) for group in groups(runs)}
    kinds = sorted(named, key=lambda kind: (-kind[0], not kind[1]))
    rows = [
        [f"capsroute, {protocol}", *(_error_text(found[kind]) if kind in found else "-" for kind in kinds)]
        for protocol, found in ours.items()
    ]
    for name, table in PUBLISHED.items():
        cells = (f"{table[k].mean:.2f} ± {table[k].deviation:.3f}" if k in table else "-" for k in kinds)
        rows.append([name, *cells])
    note = "The paper does not say how many epochs it trained; CapsNet-Pytorch says 50."
    return [*markdown_table(["test error / %", *(named[kind] for kind in kinds)], rows), "", *paragraph(note)]


def draw(path: AnyPath, runs: Sequence[dict[str, Any]]) -> None:
    """Draws the test error over the epochs, a line for each run."""
    path = as_path("path", path)
    figure = new_figure(6.5, 4.0)
    axes = figure.subplots()
    for number, group in enumerate(groups(runs)):
        for run in group:
            places = [epoch["epoch"] for epoch in run["epochs"]]
            errors = [100 * (1 - epoch["test_accuracy"]) for epoch in run["epochs"]]
            label = f"{_name(group)}: {_protocol(group)}" if run is group[0] else None
            axes.plot(places, errors, "o-", color=f"C{number}", alpha=0.7, label=label)
    axes.set_yscale("log")
    axes.set_yticks([0.3, 0.4, 0.5, 0.7, 1.0, 1.5], ["0.3", "0.4", "0.5", "0.7", "1", "1.5"])
    axes.minorticks_off()
    axes.set_xlabel("epoch")
    axes.set_ylabel("test error / %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def write_page(folder: AnyPath) -> None:
    """Writes the page and the figure of a folder from its runs.json.

    Raises:
        TrainingError: There is none, or it is something else.
    """
    folder = as_path("folder", folder)
    try:
        runs = json.loads((folder / RUNS).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"cannot read {folder / RUNS}: {error.strerror or error}") from error
    except ValueError as error:
        raise TrainingError(f"{folder / RUNS} is not what this script writes") from error
    replace(folder / "README.md", document(runs))
    draw(folder / "learning_curves.png", runs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is 0, or 1 with one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m capsroute.experiments.reference_runs",
        description="Collects runs of `capsroute train --dataset mnist` into a page with errors and learning curves.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a finished run")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the result")
    args = parser.parse_args(argv)
    try:
        runs = collect(args.runs)
        args.out.mkdir(parents=True, exist_ok=True)
        replace(args.out / RUNS, json.dumps(runs, indent=1) + "\n")
        write_page(args.out)
    except (OSError, TrainingError) as error:
        print(f"reference_runs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
