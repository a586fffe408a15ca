#!/usr/bin/env python3
"""Writes what follows from the rows of capsroute/routing/options.py, or with --check says which file is out of date.

For type checkers the keywords, for the core the fields of a problem with their conversion and their ranges, and for
readers a table. A test compares what is committed with what this would write.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from capsroute.routing.options import (
    _BEFORE_TEMPERATURES,
    _BEHIND_TEMPERATURES,
    _INTEGERS,
    DEFAULTS,
    MOST_TEMPERATURES,
    PUBLIC,
    ROWS,
    TYPES,
)
from capsroute.routing.values import Count, Flag, OneOf, Real

ROOT = Path(__file__).resolve().parent.parent
_SOURCE = "scripts/generate_options.py writes this file from the rows of capsroute/routing/options.py."
TENSORS = ("logits", "input_mask", "output_mask", "input_weight", "coupling")


def keywords() -> str:
    """``capsroute/routing/keywords.py``."""

    def name_of(hint: object) -> str:
        return hint.__name__ if isinstance(hint, type) else str(hint)

    def described(name: str) -> str:
        return textwrap.fill(f'"""{ROWS[name].text}"""', 120, initial_indent="    ", subsequent_indent="    ")

    fields = "\n".join(f"    {name}: {name_of(TYPES[name])}\n{described(name)}" for name in PUBLIC)
    tensors = "\n".join(f"    {name}: Tensor | None" for name in TENSORS)
    return f'''"""Beside all floors: the keyword arguments of the public functions, for type checkers.

{_SOURCE}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from torch import Tensor


class RoutingKeywords(TypedDict, total=False):
    """The keyword arguments of the public functions that are not tensors and say how to route."""

{fields}


class AllKeywords(RoutingKeywords, total=False):
    """All keyword arguments of the public functions but ``details``."""

{tensors}
'''


def _enum_of(name: str) -> str:
    """The C++ enum of an option with names, or "" where it is a bool."""
    kind = ROWS[name].kind
    named = isinstance(kind, OneOf) and len(kind.names) > 2 and all(isinstance(one, str) for one in kind.names)
    return "".join(part.capitalize() for part in name.split("_")) if named and ROWS[name].field != "" else ""


def _field_of(name: str) -> str:
    return name if ROWS[name].field is None else str(ROWS[name].field)


def _declaration(name: str) -> str:
    kind, field = ROWS[name].kind, _field_of(name)
    if name == "temperature":
        return "double inverse_temperature[kTemperatures];\nint32_t temperatures;"
    if isinstance(kind, Count):
        return f"int64_t {field};"
    if isinstance(kind, Real) or kind is None:
        return f"double {field};"
    return f"{_enum_of(name) or 'bool'} {field};"


def _conversion(name: str, place: int) -> str:
    """The statement that reads an option of the packed ints."""
    kind, field = ROWS[name].kind, _field_of(name)
    if isinstance(kind, Count):
        return f"options.{field} = integers[{place}];"
    if isinstance(kind, Flag):
        return f"options.{field} = integers[{place}] != 0;"
    enum = _enum_of(name)
    return f"options.{field} = {enum}(integers[{place}]);" if enum else f"options.{field} = integers[{place}] == 1;"


def _range(name: str) -> str:
    """What holds for a value that can be, or "" where every value can."""
    kind, value = ROWS[name].kind, f"o.{_field_of(name)}"
    if isinstance(kind, Count):
        return f"{value} >= 1"
    if isinstance(kind, OneOf) and (enum := _enum_of(name)):
        return f"int32_t({value}) >= 0 && {value} <= {enum}::{kind.names[-1]}"
    if isinstance(kind, Real):
        low = (
            f">= {'-kLargestNumber' if kind.least is None else kind.least}" if kind.above is None else f"> {kind.above}"
        )
        return f"{value} {low} && {value} <= kLargestNumber"
    return ""


def _comment(text: str, indent: str) -> str:
    lines = textwrap.wrap(text, 116 - len(indent))
    return "\n".join(f"{indent}// {line}" for line in lines)


def header() -> str:
    """``csrc/shared/option_table.h``."""
    named = [name for name in ROWS if _field_of(name)]
    enums = "\n".join(
        f"enum class {_enum_of(name)} : int32_t {{ {', '.join(ROWS[name].kind.names)} }};"  # type: ignore[union-attr]
        for name in named
        if _enum_of(name)
    )
    fields = "\n".join(
        _comment(f"{ROWS[name].acts}: {ROWS[name].text}", "    ") + "\n" + textwrap.indent(_declaration(name), "    ")
        for name in named
    )
    reads = [_conversion(name, place) for place, (name, _) in enumerate(_INTEGERS) if _field_of(name)]
    first, behind = len(_BEFORE_TEMPERATURES), len(_BEHIND_TEMPERATURES)
    reads += [f"options.{_field_of(name)} = numbers[{place}];" for place, name in enumerate(_BEFORE_TEMPERATURES)]
    reads += [
        f"options.{_field_of(name)} = numbers[{first + place} + options.temperatures];"
        for place, name in enumerate(_BEHIND_TEMPERATURES)
    ]
    ranges = [held for name in named if (held := _range(name))]
    statements = textwrap.indent("\n".join(reads), "    ")
    holds = " &&\n           ".join(f"({one})" for one in ranges)
    return f"""// The options of a problem: fields, how they are read from packed lists, and their ranges.
// {_SOURCE}
#pragma once

#include <stdint.h>

namespace capsroute {{

{enums}

constexpr int kTemperatures = {MOST_TEMPERATURES};

struct RoutingOptions {{
{fields}
}};

// Reads packed lists of these lengths; false where they have others.
static inline bool unpack(const int64_t* integers, int64_t integer_count, const double* numbers, int64_t number_count,
                          RoutingOptions& options) {{
    if (integer_count != {len(_INTEGERS) + 1}) return false;
    const int64_t temperatures = integers[{len(_INTEGERS)}];
    if (temperatures < 1 || temperatures > kTemperatures) return false;
    if (number_count != temperatures + {first + behind}) return false;
    options.temperatures = int32_t(temperatures);
    for (int64_t t = 0; t < temperatures; ++t) options.inverse_temperature[t] = 1 / numbers[{first} + t];
{statements}
    return true;
}}

// Is each option by itself one that can be?
static inline bool in_range(const RoutingOptions& o) {{
    constexpr double kLargestNumber = 1.7976931348623157e308;  // that is finite
    if (o.temperatures < 1 || o.temperatures > kTemperatures) return false;
    for (int t = 0; t < o.temperatures; ++t) {{
        if (!(o.inverse_temperature[t] > 0 && o.inverse_temperature[t] <= kLargestNumber)) return false;
    }}
    return {holds};
}}

}}  // namespace capsroute
"""


def table() -> str:
    """``docs/options.md``."""
    rows = []
    for name in PUBLIC:
        row = ROWS[name]
        kind = row.kind
        values = ", ".join(f"`{value!r}`" for value in kind.names) if isinstance(kind, OneOf) else _words(name)
        text = re.sub(r":func:`(.+?)`", r"`\1`", row.text).replace("``", "`")
        rows.append(f"| `{name}` | {values} | `{getattr(DEFAULTS, name)!r}` | {row.acts} | {text} |")
    return "\n".join(
        [
            "# Options",
            "",
            "The options of [the routing functions](api/routing.rst) that are no tensors, which every module that",
            "routes has too. They act in the *pass* over all votes, in the light *step* on [B, J, D] between two",
            "passes, or in *backward* only. The [mathematics](maths.md) says what they compute.",
            "",
            "| option | values | default | acts in | what it is |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"<!-- {_SOURCE} -->",
            "",
        ]
    )


def _words(name: str) -> str:
    kind = ROWS[name].kind
    if isinstance(kind, Flag):
        return "bool"
    if isinstance(kind, Count):
        return "an int of at least 1"
    if isinstance(kind, Real):
        return kind.expected
    of_its_own = {
        "squash_constant": "a finite number above 0, or `None`",
        "temperature": "a finite number above 0, or one for each iteration",
    }
    return of_its_own[name]


def _formatted(path: str, text: str) -> str:
    """The text as the project's formatters leave it."""
    beside = Path(sys.executable).parent
    commands = {
        ".py": [str(beside / "ruff"), "format", "-", "--stdin-filename", path],
        ".h": [str(beside / "clang-format"), f"--assume-filename={path}"],
    }
    command = commands.get(Path(path).suffix)
    if command is None:
        return text
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def generated() -> dict[str, str]:
    """The files by their paths."""
    files = {
        "capsroute/routing/keywords.py": keywords(),
        "csrc/shared/option_table.h": header(),
        "docs/options.md": table(),
    }
    return {path: _formatted(path, text) for path, text in files.items()}


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a file is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not _is(path, text)]
    for path in stale:
        if check:
            print(f"{path} is not what the rows of capsroute/routing/options.py give: run scripts/generate_options.py")
        else:
            (ROOT / path).write_text(generated()[path])
            print(f"wrote {path}")
    return 1 if check and stale else 0


def _is(path: str, text: str) -> bool:
    return (ROOT / path).exists() and (ROOT / path).read_text() == text


if __name__ == "__main__":
    sys.exit(main())
