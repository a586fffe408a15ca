"""What the long commands have in common: wrong arguments get one sentence and status 2, before any work."""

from __future__ import annotations

import pytest

from . import numbers, training
from .fuzz import __main__ as fuzz
from .memory import __main__ as memory
from .readers import __main__ as readers


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (fuzz, ["--examples", "0"]),
        (fuzz, ["--seed", "x"]),
        (fuzz, ["--processes", "-1"]),
        (memory, ["--steps", "1"]),
        (memory, ["--work", "none"]),
        (memory, ["--json", "/none/there/memory.json"]),
        (numbers, ["--only", "none of this name"]),
        (readers, ["--files", "many"]),
        (readers, ["more"]),
        (training, ["--epochs", "0"]),
    ],
    ids=lambda value: value.__name__ if hasattr(value, "__name__") else " ".join(value),
)
def test_wrong_arguments_get_a_sentence(command, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    name = command.__name__.removesuffix(".__main__")
    assert said.startswith(f"python -m {name}: error: ")
    assert said.count("\n") == 1
