"""Numbers under stress: errors against float64 for hostile arguments, gradients beside differences, NaN and infinity.

docs/reliability/numbers.md has what is tried, and its tables are written from the JSON of this command.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch

import capsroute

from ..kernels import usable_cpu_isas
from ..routing.compare import fused
from . import errors, poison, record
from .differences import differences
from .stress import DTYPES, SOFTMAXES, STRESSES, Stress

# What does not hold, and why it is left so: (stress, dtype, beginning of the kernel's name).
KNOWN = {
    ("subnormal x", "bfloat16", "avx512"): "products of bfloat16 pairs (AVX512-BF16) take subnormal numbers as 0",
    ("subnormal x", "float32", "cuda_emulated"): "3xTF32 products lose the low bits of numbers below 2^-115",
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

    def worst(name: str) -> float | None:
        found = [value for line in lines if (value := getattr(line, name)) is not None and not known(line)]
        return max(found, default=None)

    broken = [line for line in lines if line.problem]
    return {
        "stress": lines[0].stress,
        "dtype": lines[0].dtype,
        "runs": len(lines),
        **{name: worst(name) for name in ("output", "gradients", "plain_output", "plain_gradients")},
        "known": sorted({f"{line.kernel}: {known(line)}" for line in broken if known(line)}),
        "problems": [f"{line.softmax}, {line.kernel}: {line.problem}" for line in broken if not known(line)],
    }


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
                    lambda changed, options=options: capsroute.dynamic_routing(**changed, **options),
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
                poison.measure(spoiled, softmax, dtype, bad, kernel)
                for softmax in SOFTMAXES
                for bad in _BAD
                for kernel in names
            ]
            yield _poison_row(spoiled.name, dtype, outcomes)
        outcomes = [poison.overflow(softmax, dtype, kernel) for softmax in SOFTMAXES for kernel in names]
        yield _poison_row("squares of one sample overflow", dtype, outcomes)


def _poison_row(name: str, dtype: torch.dtype, outcomes: Sequence[poison.Outcome]) -> dict[str, Any]:
    counts = {key: sum(getattr(outcome, key) for outcome in outcomes) for key in asdict(outcomes[0])}
    return {"poison": name, "dtype": str(dtype)[6:], "runs": len(outcomes), **counts}


def main() -> int:
    """Run the command; the exit status is 0 where everything holds that is not known not to."""
    made = record.parser("numbers", __doc__)
    made.add_argument("--only", default="", metavar="TEXT", help="only the stresses with this in their name")
    arguments = made.parse_args()
    stresses = [stress for stress in STRESSES if arguments.only in stress.name]
    if not stresses:
        made.error(f"no stress has {arguments.only!r} in its name")
    record.check_out(arguments, made)
    torch.set_num_threads(1)
    rows, compared, poisoned = [], [], []
    for row in measure(stresses):
        rows.append(row)
        print(f"{row['stress']}, {row['dtype']}: {row['runs']} runs, {len(row['problems'])} broken", flush=True)
        for problem in row["problems"]:
            print(f"  {problem}")
    for row in measure_differences(stresses):
        compared.append(row)
        off = [name for name, found in row["arguments"].items() if not found["agrees"]]
        print(f"differences, {row['stress']}, {row['softmax']}: {'disagree in ' + ', '.join(off) if off else 'agree'}")
    if not arguments.only:
        for row in measure_poison():
            poisoned.append(row)
            print(f"{row['poison']}, {row['dtype']}: {row}", flush=True)
    record.write(arguments.out, {"errors": rows, "differences": compared, "poison": poisoned})
    broken = [row for row in rows if row["problems"]]
    broken += [row for row in compared if not all(found["agrees"] for found in row["arguments"].values())]
    broken += [row for row in poisoned if row["leaked"] or row["silent"]]
    return 1 if broken else 0


if __name__ == "__main__":
    record.run(main)
