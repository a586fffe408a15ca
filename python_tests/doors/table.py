"""All doors, in the order of the page."""

from . import compilers, several, tools, tracers, transforms  # noqa: F401  each registers its doors
from .door import DOORS

__all__ = ["DOORS"]
