"""What the documents define, for the tests that show that it holds."""

from __future__ import annotations

from typing import Any

from ..packaging.documents import namespace

PAGE = "docs/migrate.md"


def from_page(document: str, name: str) -> Any:
    """A function that a document shows."""
    return namespace(document)[name]
