"""The margin loss against values computed by hand."""

from __future__ import annotations

import pytest
import torch

from capsroute.nn import MarginLoss, margin_loss


def test_against_hand_computed_values():
    lengths = torch.tensor([[0.5, 0.3, 0.05], [0.95, 0.1, 0.6]], dtype=torch.float64)
    target = torch.tensor([0, 2])
    # Sample 0: (0.9-0.5)^2 + 0.5 (0.3-0.1)^2 + 0; sample 1: 0.5 (0.95-0.1)^2 + 0 + (0.9-0.6)^2.
    expected = ((0.16 + 0.5 * 0.04) + (0.5 * 0.7225 + 0.09)) / 2
    assert margin_loss(lengths, target).item() == pytest.approx(expected, rel=1e-12)


def test_several_classes_may_be_present():
    lengths = torch.tensor([[0.5, 0.8, 0.2]], dtype=torch.float64)
    present = torch.tensor([[1, 1, 0]])
    assert margin_loss(lengths, present).item() == pytest.approx(0.16 + 0.01 + 0.5 * 0.01, rel=1e-12)


def test_class_numbers_are_short_for_presence():
    lengths = torch.rand(6, 4)
    target = torch.tensor([0, 3, 1, 2, 2, 0])
    present = torch.nn.functional.one_hot(target, 4).bool()
    assert torch.equal(margin_loss(lengths, target), margin_loss(lengths, present))


def test_positions_are_averaged_like_samples():
    lengths = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    classes = torch.randint(3, (2, 4, 5))
    flat = margin_loss(lengths.movedim(1, -1).reshape(-1, 3), classes.flatten())
    torch.testing.assert_close(margin_loss(lengths, classes), flat)
    present = torch.stack([classes == k for k in range(3)], dim=1)
    assert torch.equal(margin_loss(lengths, classes), margin_loss(lengths, present))


def test_beyond_the_margins_nothing_is_lost():
    lengths = torch.tensor([[0.91, 0.09]], requires_grad=True)
    loss = margin_loss(lengths, torch.tensor([0]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(lengths.grad, torch.zeros(1, 2))


def test_gradient():
    lengths = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: margin_loss(v, torch.tensor([0, 1, 2, 3, 0])), lengths)


def test_constants_are_arguments():
    lengths = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    module = MarginLoss(positive_margin=1.0, negative_margin=0.25, absent_weight=2.0)
    assert module(lengths, torch.tensor([1])).item() == pytest.approx(0.25 + 2 * 0.0625, rel=1e-12)
    assert repr(module) == "MarginLoss(positive_margin=1.0, negative_margin=0.25, absent_weight=2.0)"


def test_half_types_are_computed_in_float32():
    lengths = torch.rand(4, 3).bfloat16()
    loss = margin_loss(lengths, torch.tensor([0, 1, 2, 0]))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, margin_loss(lengths.float(), torch.tensor([0, 1, 2, 0])))


def test_empty_batch():
    assert margin_loss(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)).item() == 0


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"lengths must be float32, .* got torch\.int64: give lengths\.float\(\)"):
        margin_loss(torch.ones(2, 3, dtype=torch.int64), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"lengths must have the shape \[B, J\], .*, got \[2, 3, 4\]; unsqueeze\(1\)"):
        margin_loss(torch.rand(2, 3, 4), torch.tensor([0, 1]))
