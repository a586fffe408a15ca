"""Numbers under stress: errors against float64 for hostile arguments, gradients beside differences, NaN and infinity.

docs/reliability/numbers.md has what is tried, and its tables are written from the JSON of this command.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

import capsroute

from ..kernels import usable_cpu_isas
from ..routing.cases import Tensors
from ..routing.compare import fused
from . import commands, errors, poison, results
from .differences import differences
from .stress import DTYPES, SOFTMAXES, STRESSES, Stress

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


def known(line: errors.Line) -> str:
    """Why a line that breaks the rule is told and not mended; empty for any other."""
    for (stress, dtype, kernel), reason in KNOWN.items():
        if line.stress == stress and line.dtype == dtype and line.kernel.startswith(kernel):
            return reason
    return ""


def measure(stresses: Sequence[Stress] = STRESSES, dtypes: Sequence[torch.dtype] = DTYPES) -> Iterator[dict[str, Any]]:
    """The rows of the tables of errors: each stress and dtype, over all softmaxes and kernels."""
    for stress in stresses:
        for dtype in stress.dtypes:
            if dtype not in dtypes:
                continue
            lines = [
                line
                for softmax in stress.softmaxes
                for line in errors.measure(stress, softmax, dtype, errors.kernels(stress, dtype))
            ]
            yield summary(lines)


def summary(lines: Sequence[errors.Line]) -> dict[str, Any]:
    """A row: the worst of all lines, and the lines that break the rule."""

    def told(line: errors.Line) -> bool:
        return bool(line.problem and known(line))

    def worst(name: str) -> float | None:
        found = [value for line in lines if (value := getattr(line, name)) is not None and not told(line)]
        return max(found, default=None)

    broken = [line for line in lines if line.problem]
    return {
        "stress": lines[0].stress,
        "dtype": lines[0].dtype,
        "runs": len(lines),
        **{name: worst(name) for name in ("output", "gradients", "plain_output", "plain_gradients")},
        "known": sorted({f"{line.kernel}: {known(line)}" for line in broken if told(line)}),
        "problems": [f"{line.softmax}, {line.kernel}: {line.problem}" for line in broken if not told(line)],
    }


def _route(options: dict[str, Any], tensors: Tensors) -> Tensor:
    function: Any = capsroute.dynamic_routing
    output: Tensor = function(**tensors, **options)
    return output


def measure_differences(stresses: Sequence[Stress] = STRESSES) -> Iterator[dict[str, Any]]:
    """The rows of the table of differences, in float64 by the widest instruction set."""
    for stress in stresses:
        if stress.large or torch.float64 not in stress.dtypes:
            continue
        for softmax in stress.softmaxes:
            tensors, options, grad = stress.arguments(softmax, torch.float64)
            with errors.forced(f"{usable_cpu_isas()[-1]}-made"):
                gradients = fused(tensors, options, grad)
                gradients.pop("output")
                if options["gradient"] != "all":
                    continue  # the gradient of a part of the function alone
                found = differences(
                    partial(_route, options),
                    tensors,
                    gradients,
                    grad,
                )
            yield {
                "stress": stress.name,
                "softmax": softmax,
                "arguments": {n: asdict(d) | {"error": d.error, "agrees": d.agrees} for n, d in found.items()},
            }


def measure_poison(dtypes: Sequence[torch.dtype] = DTYPES) -> Iterator[dict[str, Any]]:
    """The rows of the table of NaN, infinity and overflow."""
    for dtype in dtypes:
        names = errors.kernels(STRESSES[0], dtype)
        for spoiled in poison.POISONS:
            outcomes = [
                outcome
                for softmax in SOFTMAXES
                for bad in _BAD
                for outcome in poison.measure(spoiled, softmax, dtype, bad, names)
            ]
            yield _poison_row(spoiled.name, dtype, outcomes)
        outcomes = [outcome for softmax in SOFTMAXES for outcome in poison.overflow(softmax, dtype, names)]
        yield _poison_row("squares of one sample overflow", dtype, outcomes)


def _poison_row(name: str, dtype: torch.dtype, outcomes: Sequence[poison.Outcome]) -> dict[str, Any]:
    counts = {key: sum(getattr(outcome, key) for outcome in outcomes) for key in asdict(outcomes[0])}
    return {"poison": name, "dtype": str(dtype)[6:], "runs": len(outcomes), **counts}


def _measured(job: tuple[str, str, torch.dtype | None]) -> list[dict[str, Any]]:
    """One piece of the work: its kind, the stress, and the dtype where it has one."""
    kind, name, dtype = job
    torch.set_num_threads(1)
    stresses = [stress for stress in STRESSES if stress.name == name]
    if kind == "errors":
        return list(measure(stresses, [dtype] if dtype else DTYPES))
    return list(
        measure_differences(stresses) if kind == "differences" else measure_poison([dtype] if dtype else DTYPES)
    )


def main() -> int:
    """Run the command; the exit status is 0 where everything holds that is not known not to."""
    made = commands.parser("numbers", __doc__)
    made.add_argument(
        "--only", default="", metavar="TEXT", help="only stresses with this in their name, put in place of FILE's"
    )
    made.add_argument("--processes", type=int, default=1, metavar="N", help="pieces of the work at a time")
    arguments = made.parse_args()
    stresses = [stress for stress in STRESSES if arguments.only in stress.name]
    if not stresses:
        made.error(f"no stress has {arguments.only!r} in its name")
    if arguments.processes < 1:
        made.error(f"--processes must be at least 1, got {arguments.processes}")
    commands.check_json(arguments, made)
    jobs: list[tuple[str, str, torch.dtype | None]] = [
        ("errors", s.name, dtype) for s in stresses for dtype in s.dtypes
    ]
    jobs += [("differences", stress.name, None) for stress in stresses]
    if not arguments.only:
        jobs += [("poison", "", dtype) for dtype in DTYPES]
    found: dict[str, list[dict[str, Any]]] = {"errors": [], "differences": [], "poison": []}
    with ProcessPoolExecutor(arguments.processes) as pool:
        for (kind, *_), rows in zip(jobs, pool.map(_measured, jobs), strict=True):
            for row in rows:
                found[kind].append(row)
                print(f"{'BROKEN' if _broken(row) else 'holds'}: {_title(row)}", flush=True)
                for problem in row.get("problems", ()):
                    print(f"  {problem}")
    if arguments.only:
        results.update(arguments.json, found, ("stress", "dtype", "softmax", "poison"))
    else:
        results.write(arguments.json, found)
    return 1 if any(_broken(row) for rows in found.values() for row in rows) else 0


def _title(row: dict[str, Any]) -> str:
    return ", ".join(str(row[key]) for key in ("stress", "poison", "dtype", "softmax") if key in row)


def _broken(row: dict[str, Any]) -> bool:
    """Whether a row of any of the tables is not as it must be."""
    if "arguments" in row:
        return not all(found["agrees"] for found in row["arguments"].values())
    return bool(row["problems"]) if "problems" in row else bool(row["leaked"] or row["silent"])


if __name__ == "__main__":
    commands.run(main)
