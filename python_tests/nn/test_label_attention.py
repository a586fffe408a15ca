"""LabelAwareAttention: which interest counts for an item, softly and hard."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute.nn import LabelAwareAttention

INTERESTS = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]], dtype=torch.float64)  # [1, 3, 2]
TARGET = torch.tensor([[1.0, 0.5]], dtype=torch.float64)  # scores 1, 1, -0.5


def weighted(weights):
    return (torch.tensor(weights, dtype=torch.float64)[None, :, None] * INTERESTS).sum(1)


def softmax(*scores):
    total = sum(map(math.exp, scores))
    return [math.exp(score) / total for score in scores]


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, softmax(1, 1, -0.5)),
        ({"power": 0}, softmax(0, 0, 0)),
        ({"power": 2}, softmax(1, 1, -0.25)),  # a worse score never weighs more, even powers included
        ({"power": 3}, softmax(1, 1, -0.125)),
        ({"power": 0.5}, softmax(1, 1, -math.sqrt(0.5))),
        ({"power": 20, "form": "scale"}, softmax(20, 20, -10)),
        ({"power": 0, "form": "scale"}, softmax(0, 0, 0)),
        ({"power": math.inf}, [1, 0, 0]),
        ({"power": math.inf, "form": "scale"}, [1, 0, 0]),
    ],
    ids=str,
)
def test_weights(options, weights):
    actual = LabelAwareAttention(**options)(INTERESTS, TARGET)
    torch.testing.assert_close(actual, weighted(weights), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("power", "form"), [(1, "power"), (2.5, "power"), (2.5, "scale"), (math.inf, "scale")])
def test_absent_interests_do_not_count(power, form):
    torch.manual_seed(0)
    attention = LabelAwareAttention(power, form)
    interests, target = torch.randn(3, 4, 5), torch.randn(3, 5)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    actual = attention(interests, target, mask)
    torch.testing.assert_close(actual[:1], attention(interests[:1], target[:1]))
    torch.testing.assert_close(actual[1:2], attention(interests[1:2, :2], target[1:2]))
    assert torch.equal(actual[2], torch.zeros(5))


@pytest.mark.parametrize("power", [0, 0.5, 1, 3, math.inf])
def test_gradients(power):
    """Also where there is nothing."""
    torch.manual_seed(1)
    attention = LabelAwareAttention(power)
    if not math.isinf(power):  # a choice has no slope
        interests = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
        target = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
        mask = torch.tensor([[True, True, False], [True, True, True]])
        assert torch.autograd.gradcheck(lambda i, t: attention(i, t, mask), (interests, target))
    interests, target = torch.zeros(2, 3, 4, requires_grad=True), torch.ones(2, 4, requires_grad=True)
    attention(interests, target, torch.tensor([[False] * 3, [True] * 3])).sum().backward()
    assert torch.isfinite(interests.grad).all()
    assert target.grad is None if math.isinf(power) else torch.isfinite(target.grad).all()
    assert torch.equal(interests.grad[0], torch.zeros(3, 4))


def test_hard_attention_trains_the_chosen_interest_alone():
    interests = INTERESTS.clone().requires_grad_()
    target = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    LabelAwareAttention(math.inf)(interests, target).sum().backward()
    assert interests.grad.tolist() == [[[0, 0], [1, 1], [0, 0]]]


def test_repr_says_what_it_is():
    assert repr(LabelAwareAttention(2, "scale")) == "LabelAwareAttention(power=2.0, form='scale')"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"power": -1}, ValueError, "power must be a number of at least 0, got -1"),
        ({"power": math.nan}, ValueError, "power must be a number of at least 0, got nan"),
        ({"power": "2"}, TypeError, "power must be a number of at least 0, got str"),
        ({"power": True}, TypeError, "power must be a number of at least 0, got bool"),
        ({"form": "hard"}, ValueError, "form must be one of 'power', 'scale', got 'hard'"),
        ({"form": 1}, TypeError, "form must be one of 'power', 'scale', got int"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        LabelAwareAttention(**options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 3)), ValueError, r"interests must have 3 dimensions \[B, J, D\]"),
        ((torch.zeros(2, 3, 4), torch.zeros(2, 3)), ValueError, r"target must have shape \[B, D\] = \(2, 4\)"),
        ((torch.zeros(2, 3, 4), torch.tensor([1, 2])), TypeError, "target must be float32, .* got torch.int64"),
        (
            (torch.zeros(2, 3, 4), torch.zeros(2, 4, device="meta")),
            ValueError,
            "target must be on the device",
        ),
        (
            (torch.zeros(2, 3, 4), torch.zeros(2, 4), torch.ones(2, 3)),
            TypeError,
            "interest_mask must have dtype torch.b",
        ),
        (
            (torch.zeros(2, 3, 4), torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool)),
            ValueError,
            r"interest_mask must have shape \[B, J\] = \(2, 3\)",
        ),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        LabelAwareAttention()(*arguments)
