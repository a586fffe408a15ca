"""Mutations are drawn and tried as they should be. To try all takes days."""

from __future__ import annotations

import ast
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from .. import results
from . import draw, in_cpp, in_python, mutation, page, run
from .mutation import Mutation

CPP = """\
#include <math.h>
// a + b, if (c) and 7
static_assert(sizeof(int) == 4, "3 < 4");
template <class T, int kSize = 3>
int f(int a, int b) {
    const char* text = "a + b; g(1, 2);";  // c + d
    float array[4] = {};
#if defined(__CUDACC__)
    a = a + 5;
#endif
    Pack<T, 6> pack;
    for (int k = 0; k < a; ++k) array[k] = g<T, 9>(a, b);
    if (a > b && b != 2) use(text, array);
    say("1, 2", a);
    return a ? b : min(a, b);
}
"""
PYTHON = '''\
def f(a: int, b: tuple[int, ...] = (1,)) -> dict[str, int]:
    """Adds 1 + 1."""
    total = "é" * 3  # a < b
    total = g(a, b[0])
    if a < 3 and b:
        raise ValueError(f"{a + 1} is wrong")
    return {k: a for k in b[1:] if k}
'''


def _lines(language: Any, text: str) -> set[tuple[str, str]]:
    """Each change by its kind and the line that it makes."""
    found = set()
    for change in language.changes(text):
        (line,) = set(change.applied(text).splitlines()) - set(text.splitlines())
        found.add((change.kind, line.strip()))
    return found


def test_every_place_of_cpp_is_found_and_no_other() -> None:
    loop, condition = "for (int k = 0; k < a; ++k) array[k] = g<T, 9>(a, b);", "if (a > b && b != 2) use(text, array);"
    assert _lines(in_cpp, CPP) == {
        ("bound", loop.replace("k = 0", "k = 1")),
        ("bound", loop.replace("k < a", "k <= a")),
        ("bound", loop.replace("[k]", "[k + 1]")),
        ("dropped", "for (int k = 0; k < a; ++k) {}"),
        ("swapped", loop.replace("(a, b)", "(b, a)")),
        ("operator", condition.replace(">", ">=")),
        ("operator", condition.replace("&&", "||")),
        ("operator", condition.replace("!=", "==")),
        ("constant", condition.replace("2", "3")),
        ("negated", condition.replace("(a > b && b != 2)", "(!(a > b && b != 2))")),
        ("dropped", "if (a > b && b != 2) {}"),
        ("swapped", condition.replace("text, array", "array, text")),
        ("dropped", "{}"),
        ("negated", "return !(a) ? b : min(a, b);"),
    }


def test_every_place_of_python_is_found_and_no_other() -> None:
    assert _lines(in_python, PYTHON) == {
        ("constant", "def f(a: int, b: tuple[int, ...] = (2,)) -> dict[str, int]:"),
        ("operator", 'total = "é" / 3  # a < b'),
        ("constant", 'total = "é" * 4  # a < b'),
        ("constant", "total = g(a, b[1])"),
        ("bound", "total = g(a, b[1])"),
        ("swapped", "total = g(b[0], a)"),
        ("dropped", "pass"),
        ("operator", "if a <= 3 and b:"),
        ("operator", "if a < 3 or b:"),
        ("constant", "if a < 4 and b:"),
        ("negated", "if not (a < 3 and b):"),
        ("constant", "return {k: a for k in b[2:] if k}"),
        ("bound", "return {k: a for k in b[1 + 1:] if k}"),
        ("negated", "return {k: a for k in b[1:] if not (k)}"),
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each area: to read them all takes seconds."""
    folder = tmp_path_factory.mktemp("sources")
    for name in (
        "capsroute/routing/ops.py",
        "csrc/cpu/samples_in_lanes/forward.h",
        "csrc/cuda/step.cuh",
        "csrc/shared/problem.cpp",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results.ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def drawn(sources: Path) -> list[Mutation]:
    return draw.draw(7, 40, [sources])


def test_a_seed_draws_the_same(sources: Path, drawn: list[Mutation]) -> None:
    assert draw.draw(7, 40, [sources]) == drawn
    assert {each.kind for each in drawn} == {"operator", "bound", "constant", "dropped", "negated", "swapped"}
    counts = {area: sum(each.area == area and not each.spare for each in drawn) for area in draw.AREAS}
    assert counts == {"python": 10, "cpu": 14, "cuda": 12, "shared": 4}


def test_a_mutation_changes_one_place_of_code(drawn: list[Mutation]) -> None:
    for each in drawn:
        path = each.path(results.ROOT)
        assert path is not None
        text = path.read_text(encoding="utf-8")
        mutated = each.applied(text)
        assert each.before != each.after
        assert mutated.replace(each.above + each.after + each.below, each.above + each.before + each.below) == text
        if path.suffix == ".py":
            assert ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(text))
        else:
            assert [t.text for t in in_cpp.tokens(mutated)] != [t.text for t in in_cpp.tokens(text)]


def test_committed_judgements_are_of_what_was_missed() -> None:
    drawn = [each.id for each in mutation.read(results.FOLDER / "mutations-drawn.json")]
    assert len(set(drawn)) == len(drawn)
    rows = [row for suite in results.kept("mutations")["suites"].values() for row in suite["rows"]]
    assert {row["id"] for row in rows} <= set(drawn)
    assert set(results.kept("mutations-judged")) <= {row["id"] for row in rows if row["result"] == "missed"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A module without anything to build."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/f.py").write_text("def f(a):\n    return a + 1\n")
    return tmp_path / "tree"


CHECK: run.Command = ("python", "-c", "import f; assert f.f(0) == 1")
SEES_NOTHING: run.Command = ("python", "-c", "import f")
NOTHING: run.Command = ("python", "-c", "")
EXAMPLE = Mutation(
    "python-1",
    "python",
    False,
    "f.py",
    "f",
    2,
    "operator",
    "    return a + 1\n",
    "    return a - 1\n",
    "def f(a):\n",
    "",
)


def attempts(tree: Path, suite: run.Suite, state: dict[str, Any], save: Any = lambda _: None) -> run.Session:
    return run.Session(run.Copy(tree, tree.parent / "copy", sys.executable), suite, state, save)


def test_a_run_says_what_was_caught_and_leaves_the_trees(tree: Path) -> None:
    states: list[dict[str, Any]] = []
    state: dict[str, Any] = {}
    suite = run.Suite([NOTHING], {"python": [SEES_NOTHING, CHECK]})
    for whole, result in ((False, "missed"), (True, "caught")):
        session = attempts(tree, suite, state, states.append)
        assert run.run(session, [EXAMPLE], whole=whole) is None
        assert [(row["result"], row["whole"]) for row in state["rows"]] == [(result, whole)]
        copy = tree.parent / "copy"
        assert (tree / "f.py").read_text() == (copy / "f.py").read_text() == "def f(a):\n    return a + 1\n"
    # What is done is not done again.
    before = len(states)
    for whole in (False, True):
        assert run.run(attempts(tree, suite, state, states.append), [EXAMPLE], whole=whole) is None
    assert len(states) == before


def test_a_spare_takes_the_place_of_what_does_not_compile(tree: Path) -> None:
    spare = dataclasses.replace(EXAMPLE, id="cpu-2", area="cpu", spare=True, after="    return 1 + a\n")
    elsewhere = dataclasses.replace(spare, id="cpu-3", above="def g(a):\n")
    unused = dataclasses.replace(spare, id="cpu-4")
    state: dict[str, Any] = {}
    mutations = [dataclasses.replace(EXAMPLE, area="cpu"), elsewhere, spare, unused]
    run.run(attempts(tree, run.Suite([CHECK], {"cpu": [CHECK, CHECK]}), state), mutations)
    tried = [(row["id"], row["result"], row["by"]) for row in state["rows"]]
    assert tried[:2] == [("python-1", "no mutant", "the compiler"), ("cpu-3", "no mutant", "the tree")]
    assert tried[2:] == [("cpu-2", "missed", None)]


def test_what_does_not_end_is_caught(tree: Path, tmp_path: Path) -> None:
    copy = run.Copy(tree, tmp_path / "copy", sys.executable)
    done = copy.run(("python", "-c", "import time; time.sleep(60)"), limit=0.2)
    assert done.status is None
    assert done.test() == "no end within 0 s"


def test_the_page_compares_suites() -> None:
    rows = [{"id": EXAMPLE.id, "result": "missed"}]
    caught = [{"id": EXAMPLE.id, "result": "caught"}]
    runs = {"suites": {"old": {"tree": "a1", "rows": caught}, "new": {"tree": "b2", "rows": rows}}}
    text = "\n".join(page.lines([EXAMPLE], runs, {EXAMPLE.id: "A fault that a test must see."}))
    assert "Of 1 tried with both, old caught 1 and new 0: new/old is 0.000." in text
    assert "`return a + 1` → `return a - 1` | caught | missed | A fault that a test must see. |" in text
