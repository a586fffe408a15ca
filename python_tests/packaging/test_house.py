"""The package's floors: who may import whom, read from the import statements of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import capsroute

from .tree import ROOT

# From the lowest floor up. A module imports from its own floor and from lower ones; a name stands for all below it.
FLOORS: Sequence[Sequence[str]] = (
    ("_interpreter", "_loading", "_native", "_emulated", "_version", "no_memory"),
    ("routing.values", "routing.result", "routing.keywords", "routing.proxies", "routing.imports"),
    ("routing.tensors",),
    ("routing.options",),
    ("routing.signatures",),
    ("routing.reference", "routing.tangents"),
    ("routing.core", "routing.definition"),
    ("routing.ops", "routing.passes", "routing.flops", "routing.dispatch", "routing.vmap"),
    ("routing.autograd", "routing.sharding"),
    ("routing.calls", "routing.checks", "routing.output_axes", "routing.backends", "routing.details"),
    ("routing.functional", "routing.decompositions"),
    ("", "routing", "testing"),
    ("nn",),
    ("layouts", "distributed"),
    ("models",),
    # From here on the laboratory, which the library never imports.
    ("training",),
    ("bench", "inference"),
    ("experiments",),
    ("cli", "__main__"),
)
LIBRARY = FLOORS[: [floor[0] for floor in FLOORS].index("training")]


def floor_of(module: str) -> int:
    """Of a module, by the longest name that stands for it."""
    known = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    names = module.split(".")
    for length in range(len(names), 0, -1):
        name = ".".join(names[:length])
        if name in known and (name != "routing" or module == "routing"):
            return known[name]
    raise LookupError(f"{module or 'capsroute'} stands on no floor: give it one in {Path(__file__).name}")


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Each module of a package with each of its modules that it imports, be it late or for types; "" is the package."""
    modules = {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
        for path in sorted(folder.rglob("*.py"))
    }
    compiled = {"_native", "_emulated"}
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _named(node, package, folder.name):
                while name not in modules and name not in compiled:  # a function or class of the module before the dot
                    name = name.rpartition(".")[0]
                if name != module:
                    yield module, name


def _named(node: ast.AST, package: str, root: str) -> Iterator[str]:
    """What an import statement names of the package ``root``, from inside its part ``package``."""
    if isinstance(node, ast.Import):
        yield from (name.name[len(root) + 1 :] for name in node.names if f"{name.name}.".startswith(f"{root}."))
    if isinstance(node, ast.ImportFrom):
        base = (node.module or "").split(".") if node.module else []
        if node.level:
            above = package.split(".") if package else []
            base = [*above[: len(above) - node.level + 1], *base]
        elif base[0] != root:
            return
        else:
            base = base[1:]
        yield from (".".join([*base, name.name]) for name in node.names)


def upward(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence for each import that goes up."""
    return [
        f"capsroute/{importer.replace('.', '/')} imports {imported or 'capsroute'}, which stands on a higher floor"
        for importer, imported in pairs
        if floor_of(imported) > floor_of(importer)
    ]


def circle(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The modules of a circle of imports, the first again at the end, or nothing."""
    graph: dict[str, list[str]] = {}
    for importer, imported in pairs:
        graph.setdefault(importer, []).append(imported)
    done: set[str] = set()

    def search(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for following in graph.get(module, ()):
            if found := search(following, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in graph if (found := search(module, []))), [])


# A package's own name stands for what its __init__ takes together, which is no module that others wait for.
PAIRS = [(a, b) for a, b in imports(ROOT / "capsroute") if b]


def test_no_import_goes_up() -> None:
    assert not upward(PAIRS), "\n".join(upward(PAIRS))


def test_no_circle() -> None:
    found = circle(PAIRS)
    assert not found, " imports ".join(found)


def test_the_library_stands_without_the_laboratory() -> None:
    """Not by a late import either: all of the library is imported, and nothing of the laboratory with it."""
    library = [f"capsroute.{name}" for floor in LIBRARY for name in floor if name and not name.startswith("_")]
    code = f"import importlib, sys\nfor name in {library}: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    laboratory = [name for floor in FLOORS[len(LIBRARY) :] for name in floor]
    assert not [
        name
        for name in loaded
        if name.split(".")[:1] == ["capsroute"] and name.split(".")[1:2] and name.split(".")[1] in laboratory
    ]


@pytest.mark.parametrize(("files", "expected"), [
    ({"nn.py": "from capsroute.cli import main"}, ["capsroute/nn imports cli, which stands on a higher floor"]),
    ({"nn.py": "from . import models"}, ["capsroute/nn imports models, which stands on a higher floor"]),
    ({"nn.py": "def f():\n    import capsroute.bench"}, ["capsroute/nn imports bench, which stands on a higher floor"]),
    ({"models.py": "from .nn import CapsuleLayer"}, []),
])  # fmt: skip
def test_an_import_that_goes_up_is_seen(tmp_path: Path, files: Mapping[str, str], expected: list[str]) -> None:
    assert upward(list(imports(_package(tmp_path, files)))) == expected


def test_a_circle_is_seen(tmp_path: Path) -> None:
    files = {
        "bench/a.py": "from .b import f",
        "bench/b.py": "import capsroute.bench.c",
        "bench/c.py": "from . import a",
    }
    found = circle(list(imports(_package(tmp_path, files))))
    assert found == ["bench.a", "bench.b", "bench.c", "bench.a"]


def test_a_module_without_a_floor_is_seen() -> None:
    with pytest.raises(LookupError, match=r"routing\.new stands on no floor"):
        floor_of("routing.new")


def _package(folder: Path, files: Mapping[str, str]) -> Path:
    names = ("__init__.py", "nn.py", "models.py", "cli.py", "bench/__init__.py", "bench/x.py")
    for name, text in {**dict.fromkeys(names, ""), **files}.items():
        path = folder / "capsroute" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "capsroute"


def test_packages_of_the_library_are_reachable() -> None:
    """As the README writes them, after ``import capsroute`` alone and not loaded before; public modules by their names.

    Pickles name ``options`` and ``result``, by which modules these classes were known.
    """
    code = """
import sys, capsroute
for name in ("nn", "layouts", "distributed", "models"):
    assert "capsroute.models" not in sys.modules and name in dir(capsroute)
    assert getattr(capsroute, name).__name__ == f"capsroute.{name}"
import capsroute.reference, capsroute.options, capsroute.result
from capsroute.reference import squash
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'capsroute' has no attribute 'no_such_name'"):
        capsroute.no_such_name  # noqa: B018
