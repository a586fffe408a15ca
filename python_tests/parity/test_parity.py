"""Every implementation that the options can express, stated in plain PyTorch, against the call that replaces it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from capsroute import testing

from ..kernels import each_kernel
from . import seeds
from .check import DTYPES, assert_same
from .row import Row, evaluate
from .rows import ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@each_kernel
def test_same_as_the_kernels(row: Row, kernel: str) -> None:
    for dtype in DTYPES:
        assert_same(row, dtype)


@pytest.mark.nightly
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@each_kernel
def test_same_with_other_numbers(row: Row, kernel: str) -> None:
    for seed in range(1, seeds.SEEDS):
        for dtype in DTYPES:
            assert_same(row, dtype, seed)


def test_what_is_kept_of_many_seeds() -> None:
    """docs/reliability/numbers.md says that no comparison was beyond the rule, on no stand-in for another machine."""
    kept = json.loads(seeds.KEPT.read_text())
    assert kept["comparisons of each kernel"] == len(ROWS) * seeds.SEEDS * len(DTYPES)
    assert kept["machines"].keys() == seeds.MACHINES.keys()
    for kernels in kept["machines"].values():
        assert {"plain", "reference", "cuda_emulated"} < kernels.keys()
        assert not any(kernels.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_same_as_the_reference(row: Row) -> None:
    with testing.backend("reference"):
        for dtype in DTYPES:
            assert_same(row, dtype)


@pytest.mark.parametrize("row", [row for row in ROWS if "iterations" not in row.options], ids=lambda row: row.name)
def test_one_iteration_less_is_seen(row: Row) -> None:
    """Couplings are far from settled after two iterations, or an implementation that counts otherwise would pass."""
    tensors = row.tensors(torch.float64)
    fewer = {name: value[1:] if name == "temperature" else value for name, value in row.options.items()}
    twice = replace(row, options={**fewer, "iterations": 2})
    three, two = (evaluate(r, "ours", tensors)[0]["result 0"] for r in (row, twice))
    assert (three - two).abs().max() > 1e-3 * three.abs().max()


UNSEEN = {
    ("adambielski/CapsNet-pytorch", "iterations"),  # 3, the default: said because its own number is another
    ("alibaba/TorchEasyRec, `num_iters=1`", "eps"),  # clamps lengths that do not occur
}


@pytest.mark.parametrize(
    ("row", "option"),
    [(row, name) for row in ROWS for name in row.options if (row.name, name) not in UNSEEN],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_each_option_of_a_row_is_needed(row: Row, option: str) -> None:
    """Without it, or with 1.1 times its number, something differs: the comparison sees each of them, ε too."""
    gone = {option, "squash_constant"} if option == "squash" else {option}
    changed = {name: value for name, value in row.options.items() if name not in gone}
    assert _differs(replace(row, options=changed))
    value = row.options[option]
    if isinstance(value, float) and value > 1e-20:
        assert _differs(replace(row, options={**row.options, option: 1.1 * value}))


def _differs(row: Row) -> bool:
    try:
        assert_same(row, torch.float64)
    except AssertionError:
        return True
    return False


def test_only_the_bias_tells_last_from_detached_votes() -> None:
    """What docs/migrate.md says of naturomics/CapsNet-Tensorflow."""
    row = next(row for row in ROWS if row.name == "naturomics/CapsNet-Tensorflow")
    tensors = row.tensors(torch.float64)
    (output, grads), (last_output, last_grads) = (
        evaluate(replace(row, options={**row.options, "gradient": gradient}), "ours", tensors)
        for gradient in ("detached_votes", "last")
    )
    torch.testing.assert_close(last_output, output)
    for name in ("x", "weight"):
        torch.testing.assert_close(last_grads[name], grads[name])
    assert (last_grads["bias"] - grads["bias"]).abs().max() > 0.01 * grads["bias"].abs().max()
