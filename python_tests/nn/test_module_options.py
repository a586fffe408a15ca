"""Routing options of every module that takes them are checked when it is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from capsroute import nn

MODULES = [
    functools.partial(nn.CapsuleLayer, 6, 4, 5, 7),
    functools.partial(nn.ConvCapsules2d, 2, 4, 5, 7, 3),
    functools.partial(nn.ConvTransposeCapsules2d, 2, 4, 5, 7, 3),
    functools.partial(nn.InterestCapsules, 4, 3, bilinear_type=1),
]


UNKNOWN = {
    "softmax": "softmax_over", "iteration": "iterations", "squash_const": "squash_constant",
    "temperatures": "temperature", "gradients": "gradient", "logit_updates": "logit_update",
}  # fmt: skip
WRONG = [
    ({"zzz": 1}, TypeError, ["unknown routing option", "'zzz'", "iterations", "temperature"]),
    ({"details": ["coupling"]}, TypeError, ["unknown routing option", "'details'"]),
    ({"iterations": 0}, ValueError, ["iterations must be at least 1, got 0"]),
    ({"squash": "norm"}, ValueError, ["squash", "'norm'", "'standard', 'norm_eps'"]),
    ({"temperature": [1.0, 2.0]}, ValueError, ["temperature", "2 numbers"]),
    ({"temperature": [1.0, 2.0, 0.0]}, ValueError, ["temperature[2]", "above 0"]),
    ({"leaky": True, "softmax_over": "inputs"}, ValueError, ["leaky", "'inputs'"]),
    ({"squash_constant": 2.0}, ValueError, ["squash_constant", "'shifted', 'power'"]),
    ({"agreement_factor": None}, TypeError, ["agreement_factor", "NoneType"]),
]


@pytest.mark.parametrize("make", MODULES, ids=lambda make: make.func.__name__)
def test_wrong_options_of_a_module(make: Callable[..., Any]) -> None:
    """When it is made, not when it is called."""
    for options, error, texts in WRONG:
        with pytest.raises(error) as caught:
            make(**options)
        assert type(caught.value) is error
        assert str(caught.value).startswith(texts[0])
        assert all(text in str(caught.value) for text in texts)
    for name, near in UNKNOWN.items():
        with pytest.raises(TypeError, match=f"unknown routing option '{name}'.*did you mean '{near}'"):
            make(**{name: 1})
