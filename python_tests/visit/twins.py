"""``python -m python_tests.visit.twins --out DIR``: the hardware beside its emulation, kernel by kernel.

The same problems on the GPU and on the emulated device of its architecture: what does the rule of the tests say of
each, and how far is each from float64? A verdict that differs is something that the emulation does not know, and so is
an error that is several times as large: the emulation cuts off in its products where tensor cores are thought to.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from capsroute import testing
from capsroute.bench import files
from capsroute.bench.gpu import variants
from capsroute.bench.names import grouped
from capsroute.bench.texts import markdown_table, number

from ..routing.cases import Case, Tensors, option_cases
from ..routing.compare import Expected, expected, fused

_ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)  # that can be emulated
_CASES = (
    Case((130, 40, 8, 10, 16), bias=True),
    Case((37, 33, 16, 8, 32), softmax="leaky", logits="shared"),
    Case((64, 50, 64, 4, 64), softmax="inputs", weights="shared", input_mask=True),
    *option_cases(),
)
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Twin:
    """One result of one kernel on both devices.

    Attributes:
        case: The problem.
        dtype: Of its arguments.
        kernel: See :mod:`capsroute.bench.gpu.variants`.
        result: ``"output"``, or the argument whose gradient it is.
        errors: On the hardware and in the emulation, the largest one relative to the largest true element.
        passed: On the hardware and in the emulation, whether the rule of the tests holds.
    """

    case: str
    dtype: str
    kernel: str
    result: str
    errors: tuple[float, float]
    passed: tuple[bool, bool]


def twins(case: Case, dtype: torch.dtype, backend: str, architecture: int) -> Iterator[Twin]:
    """All results of a case, by each kernel that takes it."""
    tensors, options, grad = case.tensors(dtype), case.options(), case.output_gradient(dtype)
    known = expected(tensors, options, grad)
    for kernel in (variants.PLAIN, *variants.FUSIONS):
        with variants.forced(kernel):
            try:
                hardware = _on_the_hardware(tensors, case, grad, backend)
                emulation = _in_the_emulation(tensors, case, grad, architecture)
            except RuntimeError as error:
                if not variants.is_refusal(error):
                    raise
                continue
        for name in known.truth:
            found = (hardware[name], emulation[name])
            errors, passed = (tuple(judge(known, name, one) for one in found) for judge in (_error, _passes))
            yield Twin(str(case), str(dtype), kernel, name, errors, passed)


def _on_the_hardware(tensors: Tensors, case: Case, grad: torch.Tensor, backend: str) -> Tensors:
    place = torch.device("cuda" if backend == "cuda" else "cpu")
    there = {name: tensor.to(place) for name, tensor in tensors.items()}
    with testing.backend(backend):
        return {name: found.cpu() for name, found in fused(there, case.options(), grad.to(place)).items()}


def _in_the_emulation(tensors: Tensors, case: Case, grad: torch.Tensor, architecture: int) -> Tensors:
    device = testing.emulated_device(architecture=architecture, multiprocessors=16, check_races=False)
    with testing.backend("cuda_emulated"), device:
        return fused(tensors, case.options(), grad)


def _error(known: Expected, name: str, found: torch.Tensor) -> float:
    truth = known.truth[name]
    return float((found.double() - truth).abs().max() / truth.abs().max().clamp_min(torch.finfo(torch.float32).tiny))


def _passes(known: Expected, name: str, found: torch.Tensor) -> bool:
    try:
        known.check_one(found, name)
    except AssertionError:
        return False
    return True


def document(found: Sequence[Twin]) -> str:
    """Verdicts that differ, then the errors side by side for each type and kernel."""
    lines = ["# Hardware and emulation", ""]
    lines += [f"- {name}" for name in _differing(found)] or [f"All {len(found)} verdicts are the same on both."]
    groups = grouped(found, lambda twin: (twin.dtype, twin.kernel))
    rows = []
    for (dtype, kernel), ones in groups.items():
        worst = [max(one.errors[side] for one in ones) for side in (0, 1)]
        ratios = [math.log(one.errors[0] / one.errors[1]) for one in ones if min(one.errors) > 0]
        mean = math.exp(sum(ratios) / len(ratios)) if ratios else None
        rows.append([f"{dtype}, {kernel}", str(len(ones)), *(f"{error:.2e}" for error in worst), number(mean, ".2f")])
    head = ("", "results", "largest error on hardware", "in the emulation", "mean ratio")
    return "\n".join([*lines, "", *markdown_table(head, rows)]) + "\n"


def _differing(found: Sequence[Twin]) -> list[str]:
    return [
        f"{twin.case}, {twin.dtype}, {twin.kernel}, {twin.result}: {'right' if twin.passed[0] else 'WRONG'} on the "
        f"hardware, {'right' if twin.passed[1] else 'WRONG'} in the emulation"
        for twin in found
        if twin.passed[0] != twin.passed[1]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 where the verdicts differ."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.visit.twins", description=__doc__)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the findings")
    parser.add_argument("--rehearse", action="store_true", help="a few problems, with the emulation for the hardware")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    backend, architecture, cases = "cuda_emulated", 80, _CASES[3:5]
    if not given.rehearse:
        capability = torch.cuda.get_device_capability()
        backend, cases = "cuda", _CASES
        architecture = max(a for a in _ARCHITECTURES if a <= 10 * capability[0] + capability[1])
    found = [twin for case in cases for dtype in _DTYPES for twin in twins(case, dtype, backend, architecture)]
    files.write_json(given.out / "twins.json", [asdict(twin) for twin in found])
    files.replace(given.out / "twins.md", document(found))
    print(document(found))
    return 1 if _differing(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
