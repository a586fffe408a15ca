"""capsroute: routing by agreement for capsule networks, fused.

The routing functions are :func:`dynamic_routing` and :func:`route_votes`; :mod:`capsroute.reference` defines in plain
PyTorch what they compute.

Library: ``capsroute.routing`` has the op, floor by floor; :mod:`capsroute.nn`, :mod:`capsroute.layouts`,
:mod:`capsroute.models` and :mod:`capsroute.distributed` build on it. Laboratory, which the library never imports:
``bench``, ``training``, ``experiments``, ``inference`` and the command, ``cli``.
"""

import sys
from importlib import import_module
from typing import Any

from . import _interpreter as _interpreter  # first of all, before torch
from . import _loading as _loading  # then torch, and the compiled module

# isort: split
from . import testing
from ._version import __version__
from .routing import backends, flops, options, reference, result
from .routing.core import build_info
from .routing.decompositions import decompositions
from .routing.functional import dynamic_routing, explain, route_votes
from .routing.result import RoutingResult

__all__ = [
    "RoutingResult",
    "__version__",
    "build_info",
    "decompositions",
    "dynamic_routing",
    "explain",
    "reference",
    "route_votes",
    "testing",
]

# Importable under their public name too; pickled modules and results name two of the others.
for _module in (reference, options, result, backends):
    sys.modules[_module.__name__.replace(".routing.", ".")] = _module
del _module, flops  # which is imported for what it registers

_PACKAGES = ("distributed", "layouts", "models", "nn")  # imported when they are first asked for


def __getattr__(name: str) -> Any:
    """Import a package of the library at its first use, so that ``import capsroute`` stays as quick as the op."""
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES})
