"""The registered ops by name, and arguments of each."""

from __future__ import annotations

from typing import Any

import torch

from capsroute.routing import ops, passes
from capsroute.routing.options import DEFAULTS

RAW = {
    "forward": ops.FORWARD_OPS,
    "backward": ops.BACKWARD_OPS,
    "agreement": ops.AGREEMENT_OPS,
    "forward_pass": passes.FORWARD_PASSES,
    "backward_pass": passes.BACKWARD_PASSES,
    "last_pass": passes.LAST_PASSES,
}


def raw_arguments(name: str) -> dict[str, list[Any]]:
    """What each registered op of a routing function takes; the first is floating."""
    x, weight, y = torch.ones(2, 3, 4), torch.ones(3, 5, 6, 4), torch.ones(2, 5, 6)
    sources = [x, weight] if name == "dynamic_routing" else [torch.ones(2, 3, 5, 6)]
    tensors, packed = [*sources, *[None] * len(ops.OPTIONAL)], [DEFAULTS.integers(), DEFAULTS.floats()]
    each, needed = y.expand(3, 2, 5, 6), [True] * (len(sources) + ops.DIFFERENTIABLE)
    return {
        "forward": [*tensors, *packed, True],
        "backward": [y, *tensors, each, y[:0], *packed, needed],
        "agreement": [*sources, y, *packed],
        "forward_pass": [*tensors, None, 1, *packed],
        "backward_pass": [*tensors, y, y, None, None, 2, *packed],
        "last_pass": [*tensors, each, each, None, None, *packed, needed],
    }
