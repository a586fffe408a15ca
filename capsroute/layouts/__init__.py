"""Weights, votes and trained state dicts of other implementations, to and from capsroute.

A layout is known by the name of its repository or by its axes: see :mod:`capsroute.layouts.axes` and
:mod:`capsroute.layouts.table`.
"""

from capsroute.layouts.axes import rearrange
from capsroute.layouts.primary import FlatPrimaryCapsules
from capsroute.layouts.state_dicts import convert_state_dict, module_options, sources
from capsroute.layouts.table import LAYOUTS, Layout, known
from capsroute.layouts.tensors import (
    votes_from_capsroute,
    votes_to_capsroute,
    weight_from_capsroute,
    weight_to_capsroute,
)

__all__ = [
    "LAYOUTS",
    "FlatPrimaryCapsules",
    "Layout",
    "convert_state_dict",
    "known",
    "module_options",
    "rearrange",
    "sources",
    "votes_from_capsroute",
    "votes_to_capsroute",
    "weight_from_capsroute",
    "weight_to_capsroute",
]
