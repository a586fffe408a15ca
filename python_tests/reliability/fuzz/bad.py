"""Calls that are wrong in one argument, or in two that do not go together: an error that names it, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

import capsroute
from capsroute import testing
from capsroute.routing.options import DETAILS, GRADIENTS, LOGIT_UPDATES, SOFTMAX_AXES, SQUASHES
from python_tests.kernels import cuda_backends
from python_tests.routing.cases import Case, votes_of

Arguments = dict[str, Any]

_NO_TENSOR = (None, 1.5, True, "text", [[0.0]], {"x": 1}, np.zeros((2, 3)), object())
_NO_NUMBER = (None, True, "1", [1.0], 1j, torch.ones(()), np.zeros(2), object())
_NOT_ABOVE = (0, 0.0, -0.0, -1, -1e-300, float("nan"), float("inf"), float("-inf"), -(10**400), 10**400)
_NO_FLOAT = (torch.int64, torch.uint8, torch.bool, torch.complex64, torch.complex128, torch.float8_e4m3fn)
_FLOAT = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_CHOICES = {
    "softmax_over": SOFTMAX_AXES,
    "gradient": GRADIENTS,
    "squash": SQUASHES,
    "logit_update": LOGIT_UPDATES,
}
# Whose sizes may be said to be wrong in the place of an argument that fits in itself.
_PARTNERS = {
    "x": ("weight", "logits", "coupling", "input_weight", "input_mask", "output_mask", "temperature"),
    "weight": ("x", "bias", "logits", "coupling", "output_mask"),
    "votes": ("bias", "logits", "coupling", "input_weight", "input_mask", "output_mask"),
}


class Wrong(NamedTuple):
    """A drawn call that must be refused: all its arguments, and those of which the message must name one."""

    entry: str
    backend: str
    arguments: Arguments
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Wrong({self.entry} on {self.backend}, {_shown(self.arguments)}; one of {self.names})"


def _shown(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value.dtype}{list(value.shape)} {value.device} {value.layout}" if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }


def check(wrong: Wrong) -> None:
    """Make the call, and ask what it would take: both must raise an error that names the argument."""
    asked = {name: value for name, value in wrong.arguments.items() if name != "details"}
    for function, arguments in ((getattr(capsroute, wrong.entry), wrong.arguments), (capsroute.explain, asked)):
        if function is capsroute.explain and wrong.names == ("details",):
            continue
        try:
            with testing.backend(wrong.backend):
                function(**arguments)
        except (TypeError, ValueError) as error:
            raised: Exception | None = error
        else:
            raised = None
        assert type(raised) in (TypeError, ValueError), f"{wrong.names}: {function.__name__} raised {raised!r}"
        assert str(raised).startswith(wrong.names), f"{wrong.names} not named: {raised}"


@st.composite
def wrong_calls(draw: st.DrawFn) -> Wrong:
    """Any call that is wrong."""
    entry = draw(st.sampled_from(("dynamic_routing", "route_votes")))
    backend = draw(st.sampled_from(("cpu", "reference", *(b for b in cuda_backends() if b == "cuda_emulated"))))
    given = draw(st.booleans())
    case = Case(
        (draw(st.integers(0, 3)), draw(st.sampled_from((2, 4, 6))), *(draw(st.integers(2, 4)) for _ in range(3))),
        weights=2,
        given=given,
        iterations=1 if given else draw(st.integers(1, 4)),
        logits=draw(st.sampled_from(("shared", "sample") if given else ("none", "shared", "sample"))),
        **{name: draw(st.booleans()) for name in ("bias", "input_weight", "input_mask", "output_mask")},
    )
    dtype = draw(st.sampled_from(_FLOAT))
    tensors = case.tensors(dtype)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    arguments: Arguments = {**tensors, "iterations": case.iterations}
    spoil = draw(st.sampled_from((_spoil_tensor, _spoil_tensor, _spoil_option, _spoil_together)))
    names = spoil(draw, arguments, case)
    return Wrong(entry, backend, arguments, names)


def _spoil_tensor(draw: st.DrawFn, arguments: Arguments, case: Case) -> tuple[str, ...]:
    batch, inputs, _, outputs, size = case.sizes
    if not draw(st.integers(0, 3)):  # one that may not be there
        shapes = {
            "bias": (outputs, size),
            "input_weight": (batch, inputs),
            "input_mask": (batch, inputs),
            "output_mask": (batch, outputs),
            "coupling" if case.given else "logits": (inputs, outputs),
        }
        name = draw(st.sampled_from(sorted(shapes)))
        like = next(value for value in arguments.values() if isinstance(value, Tensor))
        arguments.setdefault(name, like.new_zeros(shapes[name]).to(torch.bool if "mask" in name else like.dtype))
    name = draw(st.sampled_from(sorted(name for name, value in arguments.items() if isinstance(value, Tensor))))
    right = arguments[name]
    alone = sum(isinstance(value, Tensor) for value in arguments.values()) == 1  # contradicts no other tensor
    required = name in ("x", "weight", "votes")
    kinds: list[Callable[[], Any]] = [
        lambda: draw(st.sampled_from(_NO_TENSOR[0 if required else 1 :])),
        lambda: right.to(draw(st.sampled_from(_NO_FLOAT if alone else _wrong_types(right)))),
        lambda: right.to_sparse() if right.dtype != torch.bool else right.to("meta"),
        lambda: _other_rank(draw, name, right),
        lambda: _other_size(draw, name, right),
    ]
    if not alone:
        kinds.append(lambda: right.to("meta"))
    arguments[name] = draw(st.sampled_from(kinds))()
    return (name, *_PARTNERS.get(name, ()))


def _wrong_types(right: Tensor) -> list[torch.dtype]:
    if right.dtype == torch.bool:
        return [torch.uint8, torch.float32, torch.int64]
    return [*_NO_FLOAT, *(dtype for dtype in _FLOAT if dtype != right.dtype)]


def _other_rank(draw: st.DrawFn, name: str, right: Tensor) -> Tensor:
    if name in ("weight", "votes"):  # with one axis more they have two output axes
        return draw(st.sampled_from((right[0], right.flatten(), right.sum()))) if len(right) else right.flatten()
    if name in ("logits", "coupling"):
        return draw(st.sampled_from((right.flatten(), right.new_zeros(()), right[None, None])))
    return draw(st.sampled_from((right.flatten(), right.new_zeros(()), right[..., None])))


def _other_size(draw: st.DrawFn, name: str, right: Tensor) -> Tensor:
    """Of another size along one axis, where that cannot fit whatever else is given."""
    # For the batch, J and D of what all others are compared with, another size may be right.
    axes = {"x": (2,), "weight": (0, 3), "votes": ()}.get(name, tuple(range(right.dim())))
    shape = list(right.shape)
    if not axes:
        shape[draw(st.integers(1, 3))] = 0
    else:
        axis = draw(st.sampled_from(axes))
        shape[axis] = draw(st.sampled_from([n for n in (0, shape[axis] + 1, shape[axis] + 4) if n != shape[axis]]))
        if name == "weight" and axis == 0:
            shape[0] = draw(st.sampled_from((0, 5, 7)))  # of 2, 4 or 6 inputs
    return right.new_zeros(shape)


def _spoil_option(draw: st.DrawFn, arguments: Arguments, case: Case) -> tuple[str, ...]:
    name = draw(st.sampled_from(("iterations", "leaky", "eps", "squash_constant", "agreement_factor", "temperature",
                                 "details", *_CHOICES)))  # fmt: skip
    text = st.text(max_size=8)
    if name in _CHOICES:
        others = (None, 1, True, ("outputs",), torch.ones(()))
        value: Any = draw(st.one_of(text.filter(lambda t: t not in _CHOICES[name]), st.sampled_from(others)))
    elif name == "iterations":
        value = draw(st.one_of(st.integers(max_value=0), st.sampled_from((2**31, 2**63, 10**30, *_NO_NUMBER, 2.0))))
    elif name == "leaky":
        value = draw(st.sampled_from((None, 0, 1, "yes", torch.ones(()))))
    elif name == "details":
        known = st.sampled_from(DETAILS)
        others = st.sampled_from((1, True, "coupling", {"coupling"}, object()))
        value = draw(st.one_of(others, st.lists(st.one_of(known, text), min_size=1).filter(_unknown_detail)))
    elif name == "temperature":
        value = _bad_temperature(draw, arguments["iterations"])
    else:
        bad = _NOT_ABOVE
        if name == "eps":
            bad = tuple(number for number in bad if number != 0)
        if name == "agreement_factor":
            bad = tuple(number for number in bad if not abs(number) <= 1)
        value = draw(st.sampled_from((*(n for n in _NO_NUMBER if n is not None or name != "squash_constant"), *bad)))
        if name == "squash_constant":
            arguments["squash"] = draw(st.sampled_from(("shifted", "power")))
    arguments[name] = value
    return (name,)


def _unknown_detail(names: list[str]) -> bool:
    return any(name not in DETAILS for name in names)


def _bad_temperature(draw: st.DrawFn, iterations: int) -> Any:
    number = st.sampled_from((*_NOT_ABOVE, 1e-320))
    each = st.one_of(st.floats(0.5, 2), number)
    bad_list = st.lists(each, min_size=iterations, max_size=iterations).filter(
        lambda ts: any(not 1e-300 < t < 1e300 for t in ts)
    )
    of_another_length = st.lists(st.floats(0.5, 2), max_size=40).filter(lambda ts: len(ts) not in (1, iterations))
    no_number = st.sampled_from(tuple(value for value in _NO_NUMBER if not isinstance(value, list)))
    return draw(st.one_of(number, bad_list, of_another_length, no_number))


def _spoil_together(draw: st.DrawFn, arguments: Arguments, case: Case) -> tuple[str, ...]:
    if case.given:
        pairs: list[tuple[str, Any]] = [
            ("logits", arguments["coupling"]),
            ("softmax_over", "inputs"),
            ("leaky", True),
            ("gradient", "last"),
            ("logit_update", "replace"),
            ("agreement_factor", 2.0),
            ("temperature", 0.5),
        ]
        name, arguments[name] = draw(st.sampled_from(pairs))
        return (name, "coupling")
    if draw(st.booleans()):
        arguments.update(leaky=True, softmax_over="inputs")
        return ("leaky",)
    arguments["squash"] = draw(st.sampled_from(tuple(kind for kind in SQUASHES if kind not in ("shifted", "power"))))
    arguments["squash_constant"] = draw(st.floats(0.1, 2))
    return ("squash_constant",)
