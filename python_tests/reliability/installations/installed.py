"""What is asked of an installed package: always away from the source tree, and without a compiler in reach."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .workshop import Environment, Failure, Workshop, run, without_compiler

TESTS: dict[str, list[str]] = {
    "none": [],
    "few": [f"python_tests/routing/test_{name}.py" for name in ("backends", "reference")],
    "routing": ["python_tests/routing"],
    "all": ["python_tests/routing", "python_tests/nn", "python_tests/models"],
}
ROUTE = """
import torch, capsroute
from capsroute import testing
x, weight = torch.randn(5, 6, 3), torch.randn(6, 4, 2, 3, requires_grad=True)
with testing.backend("cpu"):
    fused = capsroute.dynamic_routing(x, weight)
fused.sum().backward()
plain = capsroute.reference.dynamic_routing(x, weight)
assert (fused - plain).abs().max().item() < 1e-5
assert weight.grad.isfinite().all()
"""
LOADED = """
import capsroute
print(*sorted({line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}), sep="\\n")
"""


def ask(
    shop: Workshop,
    place: Environment,
    code: str,
    before: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> str:
    """What a program prints in an environment, in the folder of the tests; maybe with words before the command."""
    own = environment or without_compiler(shop.folder, OMP_NUM_THREADS="1")
    return run([*before, place.python, "-c", code], cwd=shop.tests, environment=own)


def check_import(shop: Workshop, place: Environment, source: Path | None = None, **how: Any) -> str:
    """That capsroute comes from where it must, routes forward and backward, and shares torch's OpenMP.

    Args:
        shop: Has the tests.
        place: The environment.
        source: The folder that must hold the package, where it is not the environment's own.
        **how: What else :func:`ask` is to be told.

    Returns:
        A sentence on what was imported.
    """
    file = ask(shop, place, "import capsroute; print(capsroute.__file__)", **how).splitlines()[-1]
    if not Path(file).is_relative_to(source or place.site):
        raise Failure(f"capsroute was imported from {file}, not from {source or place.site}")
    ask(shop, place, ROUTE, **how)
    command = "import capsroute.cli, sys; sys.exit(capsroute.cli.main(['info', '--json']))"
    info = json.loads(ask(shop, place, command, **how).splitlines()[-1])
    return f"imported and routed, {info['cpu_isa']}, {info['compiler']}, CUDA {info['cuda_archs'] or 'not built'}"


def openmp(shop: Workshop, place: Environment) -> list[Path]:
    """The OpenMP libraries of GCC that a process holds which imported capsroute and nothing before it."""
    return [Path(line) for line in ask(shop, place, LOADED).split("\n") if line]


def check_tests(shop: Workshop, place: Environment, which: str) -> list[str]:
    """Sentences on the tests that ran against the installed package, and on the README's examples."""
    variables = without_compiler(shop.folder, OMP_NUM_THREADS="1")
    pytest = [place.python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    said = []
    chosen = {"README examples": ["python_tests/packaging/test_documents.py", "-k", "blocks_run and README"]}
    if TESTS[which]:
        chosen[f"{which} tests"] = TESTS[which]
    for title, arguments in chosen.items():
        printed = run([*pytest, *arguments], cwd=shop.tests, environment=variables)
        counts = re.sub(r" in [\d.]+s.*", "", printed.strip().splitlines()[-1].strip("= "))
        if not re.match(r"\d+ passed", counts):
            raise Failure(f"{title}: {counts}")
        said.append(f"{title}: {counts}")
    return said
