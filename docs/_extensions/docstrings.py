"""What the docstrings of the project need to be read by autodoc and napoleon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.typing import ExtensionMetadata
from typing_extensions import Unpack

from capsroute.routing.keywords import AllKeywords, RoutingKeywords

_BEFORE_NAPOLEON = 400  # whose listener has the default priority, 500


def _leave_out_overloads() -> None:
    """The overloads of the routing functions are for type checkers; a reader wants every option with its default."""
    analyzer = ModuleAnalyzer.for_module("capsroute.routing.functional")
    analyzer.analyze()
    analyzer.overloads.clear()


_IMPORTED_FOR_TYPES: dict[str, Any] = {
    "AllKeywords": AllKeywords,
    "RoutingKeywords": RoutingKeywords,
    "Unpack": Unpack,
}


def _name_types() -> None:
    """One name that cannot be resolved leaves a whole signature unlinked; modules import these for type checkers."""
    for name, module in list(sys.modules.items()):
        if name.startswith("capsroute."):
            for imported, meaning in _IMPORTED_FOR_TYPES.items():
                vars(module).setdefault(imported, meaning)


def _as_prose(_app: Sphinx, what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Keeps napoleon from taking what stands before a colon for a type: no docstring here gives types."""
    if what in ("attribute", "property"):
        lines.insert(0, "")
    lines[:] = _with_returns_as_field(lines)


def _with_returns_as_field(lines: list[str]) -> Iterator[str]:
    """The lines, with the section ``Returns:`` written as the field that napoleon would make of it."""
    inside = False
    for number, line in enumerate(lines):
        if line == "Returns:":
            inside = True
            yield f":returns: {lines[number + 1].strip()}"
        elif inside and lines[number - 1] == "Returns:":
            continue
        else:
            inside = inside and (line.startswith(" ") or not line)
            yield line


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connects to autodoc."""
    _leave_out_overloads()
    _name_types()
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _as_prose, _BEFORE_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
