"""What the documents show runs: every block of Python, in order, and every link to another file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .documents import DOCUMENTS, NEEDS, blocks
from .tree import ROOT

LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if any(blocks(name))])
def test_python_blocks_run(name: str) -> None:
    namespace: dict[str, object] = {"__name__": name}
    for block in blocks(name):
        block.run(name, namespace)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_blocks_that_do_not_run_say_why(name: str) -> None:
    """Anything else behind ``python`` is a slip that would leave the block out, as other names of Python would."""
    assert {block.needs for block in blocks(name)} <= {"", *NEEDS}
    assert not re.search(r"^[ \t]*```(py|python3|Python|pycon)\b", (ROOT / name).read_text(), re.MULTILINE)
    assert not re.search(r"^[ \t]+```python", (ROOT / name).read_text(), re.MULTILINE), "an indented block does not run"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    missing = [link for link in LINK.findall(document.read_text()) if not Path(document.parent, link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_no_merge_left_its_marks(name: str) -> None:
    assert re.findall(r"^(?:<{7}|>{7}|={7}$).*", (ROOT / name).read_text(), re.MULTILINE) == []
