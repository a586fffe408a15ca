"""The pages of docs/reliability whose tables follow from committed figures; ``make figures`` writes them.

``python -m python_tests.reliability.pages`` does that alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from capsroute.bench.figures import ResultsError, put

from . import commands, results, tables
from .fuzz import page as fuzz
from .installations import page as installations
from .installations import record
from .memory import page as memory
from .mutations import mutation
from .mutations import page as mutations
from .planted import page as planted

PAGES: dict[str, Callable[[], list[str]]] = {
    "faults": lambda: memory.lines(results.kept("memory")),
    "fuzzing": lambda: fuzz.lines(results.kept("fuzzing"), results.kept("fuzz-core"), results.kept("readers")),
    "installations": lambda: installations.block(record.read(results.FOLDER / "installations.json")),
    "mutations": lambda: mutations.lines(
        mutation.read(results.FOLDER / "mutations-drawn.json"),
        results.kept("mutations"),
        results.kept("mutations-judged"),
    ),
    "numbers": lambda: tables.numbers(results.kept("numbers")),
    "sanitizers": lambda: planted.lines(results.kept("planted")),
    "training": lambda: tables.training(results.kept("training")),
}


def written(name: str) -> tuple[str, str]:
    """A page as it is, and with the tables that follow from the committed figures."""
    text = (results.ROOT / f"docs/reliability/{name}.md").read_text(encoding="utf-8")
    return text, put(PAGES[name](), text)


def main(names: Iterable[str] = PAGES) -> int:
    """Write the tables; the exit status is 0, or 1 with one sentence on standard error."""
    try:
        for name in names:
            (results.ROOT / f"docs/reliability/{name}.md").write_text(written(name)[1], encoding="utf-8")
    except (OSError, ValueError, KeyError, ResultsError) as error:
        print(f"pages: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    commands.run(main)
