"""Routing sharded over the input capsules of a ``torch.distributed`` process group.

Each rank holds a slice of the input capsules and of their weights, and all get the same output capsules: for layers
whose weight, or whose routing, is too much for one device. docs/distributed.md has the conventions and an example.
"""

from .functional import dynamic_routing, route_votes
from .layer import ShardedCapsuleLayer
from .slices import held_inputs, split_inputs, state_of_slice

__all__ = [
    "ShardedCapsuleLayer",
    "dynamic_routing",
    "held_inputs",
    "route_votes",
    "split_inputs",
    "state_of_slice",
]
