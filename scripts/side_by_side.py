"""Time two checkouts of capsroute beside each other, both built in place: did a change make anything slower?

    python scripts/side_by_side.py BEFORE AFTER --rounds 7 --json side-by-side.json --table side-by-side.md

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
        found[f"{shape.name}, {name}"] = timing.interleaved({name: work}, rounds=9)[name].median
print(json.dumps(found))
"""

ENVIRONMENT = """
import json, sys, torch
from capsroute.bench import environment
torch.set_num_threads(int(sys.argv[2]))
print(json.dumps(environment.describe()))
"""


def child(program: str, checkout: Path, shapes: str, threads: int) -> dict[str, Any]:
    """What a program prints in a checkout, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, "-c", program, shapes, str(threads)]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def commit(checkout: Path) -> str:
    """The short name of its commit."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def page(content: dict[str, Any]) -> str:
    """Markdown of what the JSON file holds."""
    environment, before, after = content["environment"], content["before"], content["after"]
    lines = [
        f"# Commit {after} beside {before}",
        "",
        "Written by `python scripts/side_by_side.py`, with a JSON file of the same name beside it.",
        "",
        f"{environment['date'][:10]}, {environment['processor']}, {content['threads']} of {environment['cores']} "
        f"threads, torch {environment['torch']}, float32,",
        f"`capsroute.dynamic_routing` of two checkouts by turns, medians of {content['rounds']} processes each.",
        "",
        "| call | before, ms | after, ms | after / before |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in content["rows"]:
        times = f"{1e3 * row['before']:.3g} | {1e3 * row['after']:.3g}"
        lines.append(f"| {row['call']} | {times} | {row['after'] / row['before']:.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout, built in place")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--rounds", type=int, default=7, help="processes of each")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each process")
    parser.add_argument("--shapes", default=SHAPES, help="names of capsroute.bench.shapes, separated by commas")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--table", type=Path, help="where to write the page")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {args.rounds}")

    for checkout in (args.before, args.after):
        if not (checkout / "capsroute" / "__init__.py").is_file():
            parser.error(f"{checkout} is no checkout of capsroute")

    found: dict[Path, list[dict[str, float]]] = {args.before: [], args.after: []}
    for number in range(args.rounds):
        order = (args.before, args.after) if number % 2 == 0 else (args.after, args.before)
        for checkout in order:
            found[checkout].append(child(CHILD, checkout, args.shapes, args.threads))
            print(f"round {number + 1} of {args.rounds}: {checkout}", file=sys.stderr)
    rows = [
        {
            "call": call,
            "before": statistics.median(each[call] for each in found[args.before]),
            "after": statistics.median(each[call] for each in found[args.after]),
        }
        for call in found[args.before][0]
    ]
    content = {
        "environment": child(ENVIRONMENT, args.after, args.shapes, args.threads),
        "before": commit(args.before),
        "after": commit(args.after),
        "rounds": args.rounds,
        "threads": args.threads,
        "rows": rows,
    }
    print(page(content))
    if args.json:
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if args.table:
        args.table.write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    main()
