"""Hostile but finite arguments of ``dynamic_routing``: what docs/reliability/numbers.md measures errors on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ..routing.cases import Case, Tensors, to

FLOAT32, FLOAT64, BFLOAT16, FLOAT16 = torch.float32, torch.float64, torch.bfloat16, torch.float16
DTYPES = (FLOAT64, FLOAT32, BFLOAT16, FLOAT16)
SOFTMAXES = ("outputs", "leaky", "inputs")
# What "large" and "small" are: the squash needs the square of a length, which the accumulation type must hold. float16
# accumulates in float32, and 1e4 is what its numbers reach themselves.
_LARGE = {FLOAT64: 1e150, FLOAT32: 1e18, BFLOAT16: 1e18, FLOAT16: 1e4}
_SIZES = (5, 12, 8, 4, 6)

Change = Callable[[Tensors, torch.dtype], None]  # of float64 arguments, in place, before they are rounded to the dtype


def _nothing(tensors: Tensors, dtype: torch.dtype) -> None:
    """The numbers of the case as they are."""


@dataclass(frozen=True)
class Stress:
    """One line of the tables, for these softmaxes and dtypes."""

    name: str  # says what differs from ordinary arguments
    change: Change = _nothing
    sizes: tuple[int, int, int, int, int] = _SIZES
    options: dict[str, Any] = field(default_factory=dict)  # fields of Case besides sizes and softmax
    grad_scale: dict[torch.dtype, float] = field(default_factory=dict)  # of the output's gradient; 1 where silent
    softmaxes: tuple[str, ...] = SOFTMAXES
    dtypes: tuple[torch.dtype, ...] = DTYPES
    amplified: bool = False  # rounding grows over the iterations, see assert_faithful
    large: bool = False  # too large for the emulation

    def case(self, softmax: str) -> Case:
        """The case behind it."""
        return Case(self.sizes, softmax=softmax, **self.options)

    def arguments(self, softmax: str, dtype: torch.dtype) -> tuple[Tensors, dict[str, Any], torch.Tensor]:
        """Tensors and options of the call, and a gradient of its output."""
        case = self.case(softmax)
        tensors = case.tensors(FLOAT64)
        self.change(tensors, dtype)
        grad = case.output_gradient(FLOAT64) * self.grad_scale.get(dtype, 1.0)
        return to(tensors, dtype), case.options(), grad.to(dtype)


def _scaled(exponent: float, *names: str) -> Change:
    """Multiplies arguments by the large number to a power."""

    def change(tensors: Tensors, dtype: torch.dtype) -> None:
        for name in names:
            tensors[name] *= _LARGE[dtype] ** exponent

    return change


def _subnormal(tensors: Tensors, dtype: torch.dtype) -> None:
    """x below the normal numbers of the dtype, with a weight that makes ordinary votes of it where that fits."""
    tiny = torch.finfo(dtype).tiny
    tensors["x"] *= tiny / 16
    tensors["weight"] *= min(1 / tiny, torch.finfo(dtype).max / 1e3)


def _zero_capsules(tensors: Tensors, dtype: torch.dtype) -> None:
    tensors["x"][1] = 0
    tensors["x"][2, ::2] = 0
    tensors["weight"][:, 1] = 0


def _all_zero(tensors: Tensors, dtype: torch.dtype) -> None:
    for tensor in tensors.values():
        tensor.zero_()


def _logits_of_1e4(tensors: Tensors, dtype: torch.dtype) -> None:
    tensors["logits"] = torch.sign(tensors["logits"]) * 1e4


def _equal_outputs(noise: float) -> Change:
    """All outputs get the same votes, up to some noise: no agreement stands out."""

    def change(tensors: Tensors, dtype: torch.dtype) -> None:
        weight = tensors["weight"]
        weight.copy_(weight[:, :1] * (1 + noise * torch.sign(weight)))

    return change


def _cancelling(noise: float) -> Change:
    """The inputs come in pairs whose votes are opposite, up to some noise: the sums are nearly, or exactly, zero."""

    def change(tensors: Tensors, dtype: torch.dtype) -> None:
        weight, x = tensors["weight"], tensors["x"]
        weight[1::2] = weight[::2]
        x[:, 1::2] = -x[:, ::2] * (1 + noise)

    return change


def _long_votes(tensors: Tensors, dtype: torch.dtype) -> None:
    tensors["x"] *= 5e3


def _one_input_rules(tensors: Tensors, dtype: torch.dtype) -> None:
    """One input's votes are 1e4 times the others', so that it has all the agreement."""
    tensors["x"][:, 3] *= 1e4


STRESSES = (
    Stress("ordinary numbers"),
    Stress("large x", _scaled(1, "x")),
    Stress("large weight", _scaled(1, "weight")),
    Stress("x and weight large together", _scaled(0.5, "x", "weight")),
    Stress(
        "large x, weight, bias and logits",
        _scaled(0.5, "x", "weight", "bias", "logits"),
        options={"bias": True, "logits": "shared"},
    ),
    Stress("large bias", _scaled(1, "bias"), options={"bias": True}),
    Stress("large x, gradient of the last iteration", _scaled(1, "x"), options={"gradient": "last"}),
    Stress("large x, inputs share a weight", _scaled(1, "x"), options={"weights": "shared"}),
    Stress("large x, logits replaced", _scaled(1, "x"), options={"logit_update": "replace"}),
    *(
        Stress(f"large x, squash {s}", _scaled(1, "x"), options={"squash": s})
        for s in ("norm_eps", "clamped", "shifted", "exponential", "power")
    ),
    Stress("small x", _scaled(-1, "x")),
    Stress("small x, eps 0", _scaled(-1, "x"), options={"eps": 0.0}),
    Stress("small weight, eps 0", _scaled(-1, "weight"), options={"eps": 0.0}),
    Stress("subnormal x", _subnormal, options={"eps": 0.0}),
    Stress("large output gradient", grad_scale=_LARGE),
    Stress("small output gradient", grad_scale={dtype: 1 / large for dtype, large in _LARGE.items()}),
    Stress("zero capsules", _zero_capsules),
    Stress("zero capsules, eps 0", _zero_capsules, options={"eps": 0.0}),
    Stress("everything 0, eps 0", _all_zero, options={"eps": 0.0, "bias": True, "logits": "shared"}),
    Stress("logits of ±1e4", _logits_of_1e4, options={"logits": "shared"}),
    Stress("logits of ±1e4 per sample", _logits_of_1e4, options={"logits": "sample"}),
    Stress("outputs exactly equal", _equal_outputs(0.0)),
    Stress("outputs equal within 1e-6", _equal_outputs(1e-6)),
    Stress("votes cancel exactly, eps 0", _cancelling(0.0), options={"eps": 0.0}, amplified=True),
    Stress("votes cancel within 1 %", _cancelling(1e-2)),
    Stress("one input with all the agreement", _one_input_rules, sizes=(5, 12, 8, 4, 16)),
    Stress("votes of length 1e4, input weights", _long_votes, options={"input_weight": True}),
    Stress("T = 100", sizes=(3, 6, 4, 3, 5), options={"iterations": 100}, amplified=True),
    Stress("T = 1", options={"iterations": 1}),
    Stress(
        "I = 1,000,000",
        sizes=(1, 1_000_000, 2, 2, 2),
        softmaxes=("outputs", "inputs"),
        dtypes=(FLOAT64, FLOAT32),
        large=True,
    ),
    Stress("I = 1", sizes=(5, 1, 8, 4, 6)),
    Stress("J = 1", sizes=(5, 12, 8, 1, 6)),
    Stress("d = 1", sizes=(5, 12, 1, 4, 6)),
    Stress("D = 1", sizes=(5, 12, 8, 4, 1)),
    Stress("B = I = d = J = D = 1", sizes=(1, 1, 1, 1, 1)),
)
