"""Numbers under stress: errors against float64 for hostile arguments, gradients beside differences, NaN and infinity.

docs/reliability/numbers.md has what is tried, and its tables are written from the JSON of this command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

import torch

import capsroute

from ..kernels import usable_cpu_isas
from ..routing.compare import fused
from . import commands, errors, poison, results
from .differences import differences
from .stress import DTYPES, SOFTMAXES, STRESSES

# What does not hold, and why it is left so: (stress, dtype, beginning of the kernel's name).
KNOWN = {
    ("subnormal x", "bfloat16", "avx512"): "products of bfloat16 pairs (AVX512-BF16) take subnormal numbers as 0",
    ("subnormal x", "float32", "cuda_emulated"): "3xTF32 products lose the low bits of numbers below 2^-115",
    **{
        ("votes of length 1e4, input weights", dtype, kernel): (
            "with input weights, saturated logits keep the rounding of p in their gradient"
        )
        for dtype in ("float64", "float32", "bfloat16", "float16")
        for kernel in (usable_cpu_isas()[-1], usable_cpu_isas()[0], "cuda_emulated")
    },
}
_BAD = (math.nan, math.inf, -math.inf)
_BY_NAME = {stress.name: stress for stress in STRESSES}
Row = dict[str, Any]


def known(line: errors.Line) -> str:
    """Why a line that breaks the rule is told and not mended; empty for any other."""
    for (stress, dtype, kernel), reason in KNOWN.items():
        if line.stress == stress and line.dtype == dtype and line.kernel.startswith(kernel):
            return reason
    return ""


def error_rows(name: str, dtype: torch.dtype) -> list[Row]:
    """The row of a stress in the table of errors of a dtype: the worst of all softmaxes and kernels."""
    stress = _BY_NAME[name]
    names = errors.kernels(stress, dtype)
    lines = [line for softmax in stress.softmaxes for line in errors.measure(stress, softmax, dtype, names)]
    told = [line for line in lines if line.problem and known(line)]
    untold = [line for line in lines if line not in told]

    def worst(column: str) -> float | None:
        return max((value for line in untold if (value := getattr(line, column)) is not None), default=None)

    columns = ("output", "gradients", "plain_output", "plain_gradients")
    row = {"stress": name, "dtype": lines[0].dtype, "runs": len(lines), **{column: worst(column) for column in columns}}
    row["known"] = sorted({f"{line.kernel}: {known(line)}" for line in told})
    row["problems"] = [f"{line.softmax}, {line.kernel}: {line.problem}" for line in untold if line.problem]
    return [row]


def difference_rows(name: str) -> list[Row]:
    """The rows of a stress in the table of differences, in float64 by the widest instruction set."""
    stress, rows = _BY_NAME[name], []
    route: Any = capsroute.dynamic_routing
    # The gradient of a part of the function alone has no differences.
    if stress.large or torch.float64 not in stress.dtypes or stress.options.get("gradient", "all") != "all":
        return []
    for softmax in stress.softmaxes:
        tensors, options, grad = stress.arguments(softmax, torch.float64)
        with errors.forced(f"{usable_cpu_isas()[-1]}-made"):
            gradients = fused(tensors, options, grad)
            found = differences(lambda t, options=options: route(**t, **options), tensors, gradients, grad)
        arguments = {n: asdict(d) | {"error": d.error, "agrees": d.agrees} for n, d in found.items()}
        rows.append({"stress": name, "softmax": softmax, "arguments": arguments})
    return rows


def poison_rows(dtype: torch.dtype) -> list[Row]:
    """The rows of a dtype in the table of NaN, infinity and overflow."""
    names = errors.kernels(STRESSES[0], dtype)
    outcomes = {
        spoiled.name: [
            each
            for softmax in SOFTMAXES
            for bad in _BAD
            for each in poison.measure(spoiled, softmax, dtype, bad, names)
        ]
        for spoiled in poison.POISONS
    }
    outcomes["squares of one sample overflow"] = [
        each for softmax in SOFTMAXES for each in poison.overflow(softmax, dtype, names)
    ]
    return [
        {
            "poison": name,
            "dtype": str(dtype)[6:],
            "runs": len(found),
            **{key: sum(each[key] for each in found) for key in ("elements", "leaked", "silent", "spoiled")},
        }
        for name, found in outcomes.items()
    ]


_TABLES: dict[str, Callable[..., list[Row]]] = {
    "errors": error_rows,
    "differences": difference_rows,
    "poison": poison_rows,
}


def _measured(table: str, *of: Any) -> list[Row]:
    torch.set_num_threads(1)
    return _TABLES[table](*of)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0 where everything holds that is not known not to."""
    parser = commands.parser("numbers", __doc__)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only stresses with this in their name, put in place of FILE's"
    )
    parser.add_argument(
        "--processes", type=commands.positive, default=1, metavar="N", help="pieces of the work at a time"
    )
    given = commands.parsed(parser, arguments)
    stresses = [stress for stress in STRESSES if given.only in stress.name]
    if not stresses:
        parser.error(f"no stress has {given.only!r} in its name")
    jobs: list[tuple[Any, ...]] = [("errors", stress.name, dtype) for stress in stresses for dtype in stress.dtypes]
    jobs += [("differences", stress.name) for stress in stresses]
    if not given.only:
        jobs += [("poison", dtype) for dtype in DTYPES]
    found: dict[str, list[Row]] = {table: [] for table in _TABLES}
    with ProcessPoolExecutor(given.processes) as pool:
        for job, done in [(job, pool.submit(_measured, *job)) for job in jobs]:
            for row in done.result():
                found[job[0]].append(row)
                title = ", ".join(str(row[key]) for key in ("stress", "poison", "dtype", "softmax") if key in row)
                print(f"{'BROKEN' if _broken(row) else 'holds'}: {title}", flush=True)
                for problem in row.get("problems", ()):
                    print(f"  {problem}")
    if given.only:
        results.update(given.json, found, ("stress", "dtype", "softmax", "poison"))
    else:
        results.write(given.json, found)
    return 1 if any(_broken(row) for rows in found.values() for row in rows) else 0


def _broken(row: Row) -> bool:
    """Whether a row of any of the tables is not as it must be."""
    if "arguments" in row:
        return not all(found["agrees"] for found in row["arguments"].values())
    return bool(row["problems"]) if "problems" in row else bool(row["leaked"] or row["silent"])


if __name__ == "__main__":
    commands.run(main)
