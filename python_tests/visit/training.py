"""``python -m python_tests.visit.training --out DIR``: the same training on a GPU and on the CPU, and by the reference.

The two devices add numbers up in other orders, so training drifts apart step by step; an epoch still has the same loss
but for a few percent, and a wrong gradient does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LOSS, _ACCURACY = 0.05, 0.01  # relative, and absolute


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0 alike, 1 not."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.visit.training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="beside the CPU; cpu rehearses")
    given = parser.parse_args(arguments)
    data = ["--dataset", "mnist", "--data-dir", str(given.data_dir), "--epochs", "1"]
    options = data if given.data_dir else ["--dataset", "digits", "--epochs", "3"]
    runs = {
        "device": [*options, "--device", given.device],
        "device, by the reference": [*options, "--device", given.device, "--routing", "reference"],
        "cpu": [*options, "--device", "cpu"],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    found = {name: _train(given.out / f"run-{n}", words) for n, (name, words) in enumerate(runs.items())}
    problems = [f"{name}: {text}" for name in ("device", "device, by the reference") for text in _unlike(found, name)]
    (given.out / "training.json").write_text(json.dumps({"runs": found, "problems": problems}, indent=1) + "\n")
    print("\n".join(problems) or "alike")
    return 1 if problems else 0


def _train(out: Path, options: Sequence[str]) -> list[dict[str, Any]]:
    """What the epochs came to."""
    command = [sys.executable, "-m", "capsroute", "train", *options, "--out", str(out), "--overwrite"]
    subprocess.run(command, check=True)
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "epoch"]


def _unlike(found: dict[str, list[dict[str, Any]]], name: str) -> list[str]:
    problems = []
    for ours, theirs in zip(found[name], found["cpu"], strict=True):
        allowed = {"loss": _LOSS * theirs["loss"], "test_accuracy": _ACCURACY}
        problems += [
            f"epoch {ours['epoch']}: {figure} {ours[figure]:.5f}, on the CPU {theirs[figure]:.5f}"
            for figure, distance in allowed.items()
            if not abs(ours[figure] - theirs[figure]) <= distance
        ]
    return problems


if __name__ == "__main__":
    raise SystemExit(main())
