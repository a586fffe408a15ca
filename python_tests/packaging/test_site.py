"""The documentation site builds without a warning, all that is public is on it, and what is broken is a warning."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

from .tree import ROOT

PUBLIC_MODULES = ["", "distributed", "inference", "layouts", "models", "nn", "testing", "training", "training.datasets"]
CONFIGURATION = ROOT / "docs"


def sphinx(sources: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A build as ``make docs`` does it, of other sources maybe."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(CONFIGURATION), *arguments]
    command += ["-d", str(output / "doctrees"), str(sources), str(output / "html")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages."""
    output = tmp_path_factory.mktemp("site")
    done = sphinx(ROOT, output)
    assert done.returncode == 0, done.stderr
    return output / "html"


@pytest.mark.nightly
def test_every_public_name_is_on_the_site(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    described = {name for kind, objects in inventory.data.items() if kind.startswith("py:") for name in objects}
    missing = []
    for module_name in ("capsroute" + ("." if name else "") + name for name in PUBLIC_MODULES):
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items() if getattr(value, "__module__", "") == module_name
        ]
        for name in names:
            if not name.startswith("_") and f"{module_name}.{name}" not in described:
                missing.append(f"{module_name}.{name}")
    assert missing == []


@pytest.mark.nightly
def test_the_first_page_leads_to_every_other(site: Path) -> None:
    """The navigation of the first page names them; Sphinx itself warns of a page in no table of contents."""
    first = (site / "docs" / "index.html").read_text()
    for page in ("install", "tour", "guide", "migrate", "maths", "kernels", "benchmarks", "extending", "api/index"):
        assert f'href="{page}.html"' in first, page
    assert 'url=docs/index.html"' in (site / "index.html").read_text()


@pytest.mark.nightly
def test_formulae_are_drawn_by_the_browser_itself(site: Path) -> None:
    page = (site / "docs" / "maths.html").read_text()
    assert page.count("<math") > 100
    assert "\\hat" not in page
    assert "https://" not in "".join(line for line in page.splitlines() if "<script" in line)


BROKEN = {
    "[a page](nowhere.md)": "cross-reference target not found: 'nowhere.md'",
    "[a heading](#not-there)": "cross-reference target not found: 'not-there'",
    "![a picture](none.png)": "image file not readable: docs/none.png",
    "$\\nosuchcommand$": "Unknown LaTeX command",
    "```{eval-rst}\n:func:`capsroute.nosuch`\n```": "py:func reference target not found: capsroute.nosuch",
}


def test_what_is_broken_stops_the_build(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    (sources / "docs").mkdir(parents=True)
    (sources / "docs" / "index.md").write_text("\n\n".join(["# One page", *BROKEN]))
    (sources / "README.md").write_text("# A page that nothing leads to\n")
    done = sphinx(sources, tmp_path)
    assert done.returncode != 0
    expected = [*BROKEN.values(), "README.md: WARNING: document isn't included in any toctree"]
    assert [warning for warning in expected if warning not in done.stderr] == [], done.stderr
    assert done.stderr.count("WARNING") == len(expected)
