"""Time two checkouts of capsroute beside each other, both built in place: did a change make anything slower?

    python scripts/side_by_side.py BEFORE AFTER --rounds 7 --json side-by-side.json

Each round starts one process for either checkout, the first of them by turns, which times all shapes. What is compared
is the median over the rounds of each process's median: processes differ more than calls.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

SHAPES = "single-image,mnist-16,mnist,cifar10,svhn,deepcaps,resnet-capsules,recommender-20,recommender-50,odd"

# Runs in a checkout of its own, so it may use only what both have.
CHILD = """
import json, sys, torch, capsroute
from capsroute.bench import shapes, timing
torch.set_num_threads(int(sys.argv[2]))
found = {}
for shape in shapes.by_names(sys.argv[1].split(",")):
    x, weight, grad = shape.arguments(torch.float32, torch.device("cpu"))
    leaves = x.requires_grad_(), weight.requires_grad_()
    def forward():
        with torch.no_grad():
            return capsroute.dynamic_routing(*leaves, iterations=shape.iterations)
    def both():
        return torch.autograd.grad(capsroute.dynamic_routing(*leaves, iterations=shape.iterations), leaves, grad)
    for name, work in (("forward", forward), ("forward + backward", both)):
        repeats = timing.repeats_to_fill(work)
        clock = timing.CpuClock()
        seconds = sorted(clock.seconds(work, repeats) / repeats for _ in range(9))
        found[f"{shape.name}, {name}"] = seconds[4]
print(json.dumps(found))
"""


def measure(checkout: Path, shapes: str, threads: int) -> dict[str, float]:
    """Seconds of each call, by a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, "-c", CHILD, shapes, str(threads)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr.strip()}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def commit(checkout: Path) -> str:
    """The short name of its commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def table(rows: list[dict[str, Any]], before: str, after: str) -> str:
    """Markdown."""
    lines = [f"| call | {before}, ms | {after}, ms | after / before |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        times = f"{1e3 * row['before']:.3g} | {1e3 * row['after']:.3g}"
        lines.append(f"| {row['call']} | {times} | {row['after'] / row['before']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {args.rounds}")

    found: dict[Path, list[dict[str, float]]] = {args.before: [], args.after: []}
    for number in range(args.rounds):
        order = (args.before, args.after) if number % 2 == 0 else (args.after, args.before)
        for checkout in order:
            found[checkout].append(measure(checkout, args.shapes, args.threads))
            print(f"round {number + 1} of {args.rounds}: {checkout}", file=sys.stderr)
    rows = [
        {
            "call": call,
            "before": statistics.median(each[call] for each in found[args.before]),
            "after": statistics.median(each[call] for each in found[args.after]),
        }
        for call in found[args.before][0]
    ]
    before, after = commit(args.before), commit(args.after)
    print(table(rows, before, after))
    if args.json:
        content = {"before": before, "after": after, "rounds": args.rounds, "threads": args.threads, "rows": rows}
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
