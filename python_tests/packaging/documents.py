"""The blocks of Python in the documents, and what they define.

A block whose fence says ``python`` runs, in order and in one namespace for each document. One that says ``python gpu``
or ``python download`` needs what a test machine may lack, and is only compiled. One that says ``python ranks`` needs
several processes; python_tests/distributed runs it under torchrun.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from .tree import ROOT

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md")))]
NEEDS = ("gpu", "download", "ranks")

_FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of Python; ``needs`` is empty or says why it does not run."""

    source: str
    needs: str
    line: int

    def run(self, document: str, namespace: dict[str, object]) -> None:
        """Compile it, and execute it where it needs nothing. Tracebacks show the lines of the document."""
        code = compile("\n" * self.line + self.source, str(ROOT / document), "exec")
        if not self.needs:
            exec(code, namespace)


def blocks(document: str) -> Iterator[Block]:
    """The blocks of Python of a document."""
    text = (ROOT / document).read_text()
    for fence in _FENCE.finditer(text):
        language, needs, source = fence.groups()
        if language == "python":
            yield Block(source, needs.strip(), text.count("\n", 0, fence.start()) + 1)


@functools.cache
def namespace(document: str) -> dict[str, object]:
    """What all blocks of a document define, run once."""
    defined: dict[str, object] = {"__name__": document}
    for block in blocks(document):
        block.run(document, defined)
    return defined
