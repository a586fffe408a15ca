"""What the documents show runs: every block of Python, in order, and every link to another file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .tree import ROOT

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md")))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if BLOCK.search((ROOT / name).read_text())])
def test_python_blocks_run(name: str) -> None:
    namespace: dict[str, object] = {}
    for number, block in enumerate(BLOCK.findall((ROOT / name).read_text()), 1):
        exec(compile(block, f"{name}, block {number}", "exec"), namespace)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    missing = [link for link in LINK.findall(document.read_text()) if not Path(document.parent, link).exists()]
    assert missing == []
