"""What is looked at, in which order, for how long, and against which floor."""

from __future__ import annotations

import pytest
import torch

from capsroute.bench import flops, shapes
from capsroute.bench.gpu import plan
from capsroute.bench.gpu.budget import Budget
from capsroute.bench.gpu.ceilings import Ceilings, Floor
from capsroute.bench.gpu.plan import PRECISIONS, Cell, Plan

MNIST = shapes.by_names(["mnist"])[0]
LIMITS = Ceilings(1e12, {"float32": 1e13, "tf32": 9e13, "bfloat16": 4e14, "float16": 4e14}, 1e-6, 1e-6)


def test_the_first_shape_comes_first() -> None:
    names = [shape.name for shape in Plan().ordered()]
    assert names[0] == "mnist"
    assert names[1:] == [shape.name for shape in shapes.SHAPES if shape.name != "mnist"]


def test_cells_of_a_shape_begin_with_the_forward() -> None:
    cells = plan.cells(MNIST, Plan().precisions)
    assert [str(cell) for cell in cells[:4]] == [
        "mnist, float32, forward",
        "mnist, tf32, forward",
        "mnist, bfloat16, forward",
        "mnist, float32, forward + backward (all)",
    ]
    assert len(set(cells)) == 9


def test_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SWEEP", (1, 2, 128, 256))
    cells = Plan().sweep()
    assert [(cell.shape.batch, cell.gradient) for cell in cells] == [(2, None), (2, "all"), (256, None), (256, "all")]
    assert all(plan.is_swept(cell.shape.name) for cell in cells)
    assert not any(plan.is_swept(shape.name) for shape in shapes.SHAPES)
    assert Plan(shapes.by_names(["odd"])).sweep() == []


def test_tf32_is_switched_for_everybody_and_back() -> None:
    before = torch.get_float32_matmul_precision()
    with PRECISIONS["tf32"].in_force():
        assert torch.backends.cuda.matmul.allow_tf32
        with PRECISIONS["float32"].in_force():
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == before


def test_floor_is_the_larger_of_two_times() -> None:
    operations = flops.forward(MNIST)
    assert LIMITS.floor(Cell(MNIST, PRECISIONS["tf32"], None)) == Floor(operations / 9e13, "operations")
    traffic = flops.compulsory_bytes(MNIST, 2, None)
    assert LIMITS.floor(Cell(MNIST, PRECISIONS["bfloat16"], None)) == Floor(traffic / 1e12, "bytes")


def test_floor_of_float32_takes_the_better_units() -> None:
    """Three products in TF32 at 9e13 are faster than one at 1e13."""
    floor = LIMITS.floor(Cell(MNIST, PRECISIONS["float32"], "all"))
    assert floor.seconds == pytest.approx(flops.of_pass(MNIST, "all") / 3e13)


def test_budget() -> None:
    now = [100.0]
    budget = Budget(10, clock=lambda: now[0])
    assert budget.allows("check")
    with budget.spending("check"):
        now[0] += 4
    assert budget.allows("check")  # 4 spent, 4 expected
    assert not budget.allows("check", share=0.5)
    assert budget.allows("other", share=0.5)
    now[0] += 3
    assert not budget.allows("check")
    assert budget.allows("other")
    assert budget.spent() == 7


def test_names_of_precisions() -> None:
    assert plan.by_names(["tf32", "float16"]) == [PRECISIONS["tf32"], PRECISIONS["float16"]]
    with pytest.raises(ValueError, match="float32, tf32, bfloat16, float16; got 'int8'"):
        plan.by_names(["int8"])
    with pytest.raises(ValueError, match="got none"):
        plan.by_names([])
