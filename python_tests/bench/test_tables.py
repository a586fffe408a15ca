"""Shapes and operation counts."""

from __future__ import annotations

import pytest
import torch

from capsroute.bench import flops, shapes
from capsroute.bench.shapes import SHAPES, Shape

MNIST = shapes.by_names(["mnist"])[0]


def test_table() -> None:
    names = [shape.name for shape in SHAPES]
    assert len(set(names)) == len(names) == 14
    assert MNIST.sizes() == "128, 1152, 8, 10, 16, 3"
    assert MNIST.votes == 128 * 1152 * 10 * 16


def test_by_names_keeps_the_order() -> None:
    assert [shape.name for shape in shapes.by_names(["odd", "mnist"])] == ["odd", "mnist"]


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match=r"single-image, .*, odd; got 'minst', 'x'"):
        shapes.by_names(["minst", "odd", "x"])


def test_arguments_are_the_same_every_time() -> None:
    first, second = (shapes.by_names(["odd"])[0].arguments(torch.float32, torch.device("cpu")) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    assert [tuple(t.shape) for t in first] == [(37, 333, 5), (333, 7, 12, 5), (37, 7, 12)]


def test_forward_operations_counted_by_hand() -> None:
    """T = 2, d = 3: votes twice (3 each), one agreement, one weighted sum: 8 multiply-adds per vote component."""
    assert flops.forward(Shape("", 2, 3, 3, 5, 7, 2, "")) == 2 * (2 * 3 * 5 * 7) * 8


def test_backward_operations_counted_by_hand() -> None:
    """T = 2, d = 3; all: a pass of 3 + 3, then 3 votes, 1 logit, 1 product, 3 terms, 6 for dW and dx."""
    shape = Shape("", 2, 3, 3, 5, 7, 2, "")
    assert flops.backward(shape, "all") == 2 * shape.votes * (6 + 3 + 2 + 3 + 6)
    assert flops.backward(shape, "last") == 2 * shape.votes * (3 + 1 + 1 + 6)
    assert flops.of_pass(shape, None) == flops.forward(shape)
    assert flops.of_pass(shape, "last") == flops.forward(shape) + flops.backward(shape, "last")


def test_one_iteration_is_the_same_for_both_gradients() -> None:
    shape = Shape("", 2, 3, 4, 5, 7, 1, "")
    assert flops.backward(shape, "all") == flops.backward(shape, "last")


def test_compulsory_traffic() -> None:
    """MNIST: 4.5 MiB of x, 5.6 MiB of weight, 80 KiB of output."""
    assert flops.compulsory_bytes(MNIST, 4, None) == 4 * (128 * 1152 * 8 + 1152 * 160 * 8 + 128 * 160)
    assert flops.compulsory_bytes(MNIST, 2, "all") == flops.compulsory_bytes(MNIST, 4, None)


def test_operations_and_traffic_from_votes_counted_by_hand() -> None:
    """T = 2: one agreement and one weighted sum; backward a pass of 3, then 1 logit, 1 product and 3 terms."""
    shape = Shape("", 2, 3, 3, 5, 7, 2, "")
    assert flops.of_pass_from_votes(shape, None) == 2 * 210 * 2
    assert flops.of_pass_from_votes(shape, "all") == 2 * 210 * (2 + 3 + 2 + 3)
    assert flops.compulsory_bytes_from_votes(shape, 4, None) == 4 * (210 + 70)
    assert flops.compulsory_bytes_from_votes(shape, 4, "last") == 8 * (210 + 70)
