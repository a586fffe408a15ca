"""Time sharded routing on one rank, which sends nothing, beside the whole op: what its passes and steps cost.

    python scripts/sharded_cost.py --threads 1 --shapes mnist,svhn --votes made

The passes make the votes again each time; --votes made lets the whole op do that too. Prints rows of a table, in ms.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

import capsroute
from capsroute import distributed, testing
from capsroute.bench import shapes, timing
from capsroute.bench.workload import Workload

SHAPES = "single-image,mnist-16,mnist,svhn,resnet-capsules,recommender-50"


def row(shape: shapes.Shape, softmax_over: str) -> str:
    """Forward, then forward and backward, by turns; how many times longer the sharded one takes."""
    routings: dict[str, Callable[..., Tensor]] = {
        "whole": capsroute.dynamic_routing,
        "sharded": distributed.dynamic_routing,
    }
    options = {"iterations": shape.iterations, "softmax_over": softmax_over}
    cells = [shape.name, softmax_over]
    for gradient in (None, "all"):
        load = Workload(shape, torch.float32, gradient)
        works = {name: load.work(functools.partial(routing, **options)) for name, routing in routings.items()}
        medians = {name: 1e3 * found.median for name, found in timing.interleaved(works).items()}
        cells += [f"{medians[name]:.3g}" for name in routings]
        cells.append(f"{medians['sharded'] / medians['whole']:.2f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--votes", default="automatic", help="how the whole op gets at its votes")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder, testing.cpu_votes(given.votes):
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        for shape in shapes.by_names(given.shapes.split(",")):
            for softmax_over in ("outputs", "inputs"):
                print(row(shape, softmax_over), flush=True)
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
