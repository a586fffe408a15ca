"""What the readers of both languages find: one place of a text, and what could stand there instead."""

from __future__ import annotations

import re
from typing import NamedTuple

# The order of their arguments says nothing; of a fused multiply-add, that of the first two.
COMMUTATIVE = frozenset({"fmax", "fmaxf", "fmin", "fminf", "larger", "max", "maximum", "min", "minimum", "smaller"})
FACTORS_FIRST = frozenset({"fma", "fmaf", "multiply_add", "multiply_weight"})
# Arguments of kinds of their own: swapped they would not compile, or fail in every call.
_UNLIKE_CALLS = frozenset({"einsum", "getattr", "isinstance", "setattr", "snprintf", "store", "write"})
_UNLIKE = re.compile(
    r"&|sizeof|std::|\"|(state|buffers|problem|placed|pass|p)\b"
    r"|([\w.]+[.])?(plan|device|kernel|stream|parameters|dtype)$"
    r"|(scratch|team|exchange|item|rows|blocks|elements|memory|to|from|x|weight|stage|wave|logits)$"
    r"|(name|options|tensors|given|sizes|details)$"
)


OPERATORS = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*"}
COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}


class Change(NamedTuple):
    """``text[start:end]`` becomes ``replacement``."""

    kind: str
    start: int
    end: int
    replacement: str
    function: str  # its name
    function_start: int  # in the text; names may repeat

    def applied(self, text: str) -> str:
        """The mutated text."""
        return text[: self.start] + self.replacement + text[self.end :]


def swappable(function: str, arguments: list[str]) -> list[int]:
    """Which arguments of a call change its meaning when swapped with the next one."""
    if function in COMMUTATIVE | _UNLIKE_CALLS:
        return []
    first = 1 if function in FACTORS_FIRST else 0
    alike = [not _UNLIKE.match(each) for each in arguments]
    pairs = range(first, len(arguments) - 1)
    return [k for k in pairs if alike[k] and alike[k + 1] and arguments[k] != arguments[k + 1]]
