"""Statistical equality of training: the op beside its definition in plain PyTorch, on the digits, seed by seed.

docs/reliability/training.md says what is compared and what such a comparison can see; its tables are written from the
JSON of this command.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import commands, results
from .equivalence import independent, paired
from .runs import ROUTES, WRONG, Curve, train

EPOCHS = 3
# Seeds: those of the pilot, which gives the margins and is in no comparison; those that the op and its definition have
# in common; and others for the op alone.
PILOT, SHARED, APART = range(100, 108), range(5), range(50, 55)
# What is compared of a run, all stated before any run: each a number that is small where training went well.
OUTCOMES = {
    "training loss, mean of all epochs": lambda curve: float(np.mean(curve.loss)),
    "test loss, last epoch": lambda curve: curve.test_loss[-1],
    "test error, last epoch, %": lambda curve: 100 * (1 - curve.test_accuracy[-1]),
}
# Margins in standard deviations of the pilot's runs, which differ by their seeds alone. Five pairs are to tell a
# difference as large as that between two seeds; five runs and five others cannot tell less than twice that.
PAIRED_MARGIN, INDEPENDENT_MARGIN = 1.0, 2.0


def plan() -> dict[str, Sequence[int]]:
    """Which runs there are: seeds by the name of a set."""
    return {
        "pilot": PILOT,
        "definition": SHARED,
        "op": SHARED,
        "op, other seeds": APART,
        **dict.fromkeys(WRONG, SHARED),
    }


def _train(name: str, seed: int, epochs: int) -> Curve:
    torch.set_num_threads(1)
    route = WRONG[name][1] if name in WRONG else ROUTES["op" if name.startswith("op") else "definition"]
    return train(route, seed, epochs)


def train_all(sets: dict[str, Sequence[int]], epochs: int, workers: int) -> dict[str, list[Curve]]:
    """The curves of all runs, each on one thread, so many at a time; seeds by the name of a set."""
    found: dict[str, list[Curve]] = {name: [] for name in sets}
    names, seeds = zip(*((name, seed) for name, seeds in sets.items() for seed in seeds), strict=True)
    with ProcessPoolExecutor(workers) as pool:
        for name, seed, curve in zip(names, seeds, pool.map(_train, names, seeds, repeat(epochs)), strict=True):
            found[name].append(curve)
            print(f"{name}, seed {seed}: test loss {curve.test_loss[-1]:.5f}", flush=True)
    return found


def compare(curves: dict[str, list[Curve]]) -> list[dict[str, Any]]:
    """The rows of the tables: each outcome of each set of runs beside that of the definition."""
    rows = []
    for outcome, of in OUTCOMES.items():
        values = {name: [of(curve) for curve in runs] for name, runs in curves.items()}
        spread = float(np.std(values.pop("pilot"), ddof=1))
        definition = values.pop("definition")
        for name, found in values.items():
            apart = name == "op, other seeds"
            margin = spread * (INDEPENDENT_MARGIN if apart else PAIRED_MARGIN)
            comparison = (independent if apart else paired)(found, definition, margin)
            rows.append(
                {
                    "outcome": outcome,
                    "runs": name,
                    "spread_of_seeds": spread,
                    "mean": float(np.mean(found)),
                    "mean_of_definition": float(np.mean(definition)),
                    **asdict(comparison),
                    "equivalent": comparison.equivalent,
                }
            )
    return rows


def draw(path: Path, curves: dict[str, list[Curve]]) -> None:
    """Mean and spread of the curves of the op and of its definition, in one figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = (("loss", "training loss"), ("test_loss", "test loss"), ("test_accuracy", "test accuracy / %"))
    styles = {"definition": ("C1", "-"), "op": ("C0", "--"), "op, other seeds": ("C2", ":")}
    for axes, (name, label) in zip(figure.subplots(1, 3), panels, strict=True):
        for who, (colour, line) in styles.items():
            scale = 100 if name == "test_accuracy" else 1
            values = scale * np.array([getattr(curve, name) for curve in curves[who]])
            epochs = np.arange(1, values.shape[1] + 1)
            mean, deviation = values.mean(0), values.std(0, ddof=1)
            axes.plot(epochs, mean, line, color=colour, label=f"{who}, {len(values)} seeds")
            axes.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        if name != "test_accuracy":
            axes.set_yscale("log")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0 where the op is equivalent in everything."""
    parser = commands.parser("training", __doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves into this PNG")
    parser.add_argument("--epochs", type=commands.positive, default=EPOCHS, metavar="N", help=f"of a run ({EPOCHS})")
    parser.add_argument(
        "--processes", type=commands.positive, default=os.cpu_count() or 1, metavar="N", help="runs at a time"
    )
    given = commands.parsed(parser, arguments)
    curves = train_all(plan(), given.epochs, given.processes)
    rows = compare(curves)
    for row in rows:
        verdict = "equivalent" if row["equivalent"] else "not shown to be equivalent"
        print(f"{row['outcome']}: {row['runs']}: difference {row['difference']:.2g}, {verdict}")
    stored = {name: [asdict(curve) for curve in runs] for name, runs in curves.items()}
    results.write(given.json, {"epochs": given.epochs, "comparisons": rows, "curves": stored})
    if given.plot is not None:
        draw(given.plot, curves)
    return 0 if all(row["equivalent"] for row in rows if row["runs"].startswith("op")) else 1


if __name__ == "__main__":
    commands.run(main)
