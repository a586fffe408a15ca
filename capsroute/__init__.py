"""capsroute: routing by agreement for capsule networks, fused.

The routing functions are :func:`dynamic_routing` and :func:`route_votes`; :mod:`capsroute.reference` defines in plain
PyTorch what they compute, :mod:`capsroute.nn` and :mod:`capsroute.models` build networks with them.
"""

from . import _interpreter as _interpreter  # first of all, before torch
from . import _loading as _loading  # then torch, and the compiled module

# isort: split
from . import reference, testing
from ._version import __version__
from .backends import build_info
from .functional import dynamic_routing, explain, route_votes
from .result import RoutingResult

__all__ = [
    "RoutingResult",
    "__version__",
    "build_info",
    "dynamic_routing",
    "explain",
    "reference",
    "route_votes",
    "testing",
]
