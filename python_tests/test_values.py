"""Numbers as people have them, wherever a number is an argument: taken and kept as plain ones, or refused by name.

The constructors are found by looking, so that a new module is held to this by itself.
"""

from __future__ import annotations

import copy
import functools
import inspect
import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

import capsroute
from capsroute import layouts, models, reference
from capsroute import nn as capsules
from capsroute.distributed import ShardedCapsuleLayer
from capsroute.routing.options import DEFAULTS, PUBLIC

from .refusals import refusal

# What a class is made with beside its defaults: what has none, and what is None by default.
ROUTED = {"squash": "shifted", "squash_constant": 0.5}
MADE: dict[type, dict[str, Any]] = {
    capsules.CapsuleLayer: {
        "in_capsules": 6, "in_size": 4, "out_capsules": 3, "out_size": 5, "weight_sets": 2, "init_std": 0.1, **ROUTED,
    },
    ShardedCapsuleLayer: {
        "in_capsules": 6, "in_size": 4, "out_capsules": 3, "out_size": 5, "init_std": 0.1, **ROUTED,
    },
    capsules.InterestCapsules: {
        "in_size": 4, "interests": 3, "out_size": 5, "max_items": 6, "init_std": 0.1, "initial_logits": "per_call",
        **ROUTED,
    },
    capsules.PrimaryCapsules: {"in_channels": 3},
    capsules.ReconstructionDecoder: {"capsules": 3, "size": 4, "image_shape": (1, 5, 6)},
    capsules.Squash: {"kind": "shifted", "constant": 0.5},
    layouts.FlatPrimaryCapsules: {"in_channels": 3},
    models.CapsNet: {"image_size": (28, 26), **ROUTED},
    models.MIND: {"items": 9, **ROUTED},
    models.PoolingCNN: {"image_size": (28, 26)},
    models.DeepCaps: {"types": 2, **ROUTED},
    models.ResNetCapsules: {"planes": 2, "types": 2, "size": 4, **ROUTED},
    models.SegCaps: {"types": 1, "size": 2, **ROUTED},
}  # fmt: skip
CONV = {"in_capsules": 2, "in_size": 4, "out_capsules": 3, "out_size": 5, "kernel_size": 3, "init_std": 0.1, **ROUTED}


def _modules() -> Iterator[type]:
    for package in (capsules, models, layouts):
        for name in package.__all__:
            made = getattr(package, name)
            if inspect.isclass(made) and issubclass(made, nn.Module):
                yield made
    yield ShardedCapsuleLayer


def _arguments(made: type) -> dict[str, Any]:
    """Every argument with a plain value that suits it; None where only the sizes say what would."""
    signature = inspect.signature(made)
    given = MADE.get(made, CONV if "kernel_size" in signature.parameters else {})
    named = {name: given.get(name, parameter.default) for name, parameter in signature.parameters.items()}
    named = {
        name: value for name, value in named.items() if name not in ("args", "kwargs")
    }  # of a class without its own
    takes_options = named.pop("options", None) is not None
    own = {**({name: getattr(DEFAULTS, name) for name in PUBLIC} if takes_options else {}), **named, **given}
    return {name: value for name, value in own.items() if name not in ("device", "dtype", "group", "generator")}


def _as_people_have_it(value: Any) -> list[Any]:
    """The same, of other kinds."""
    if type(value) is bool:
        return [np.bool_(value), torch.tensor(value), np.array(value)]
    if type(value) is int:
        return [np.int64(value), np.uint16(value), torch.tensor(value), np.array(value)]
    if type(value) is float:
        exact = [np.float64(value), torch.tensor(value, dtype=torch.float64), np.array(value)]
        return [*exact, Fraction(value), Decimal(value)] if np.isfinite(value) else exact
    if isinstance(value, tuple) and value:
        return [list(value), np.array(value), torch.tensor(value), tuple(map(np.int64, value))]
    return []


def _refused(value: Any) -> list[Any]:
    """What looks like it, and is something else."""
    if type(value) is bool:
        return [1, "yes", None, torch.tensor([True, False])]
    if type(value) is int:
        return [True, np.True_, torch.tensor(True), 3.0, np.float32(3), "3", 10**400, -(10**400), -1, torch.ones(2)]
    if type(value) is float:
        nested = torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged)
        learned, without_memory = nn.Parameter(torch.tensor(0.5)), torch.tensor(0.5, device="meta")
        no_numbers = [True, np.True_, torch.tensor(True), "0.5", 1j, nested, learned, without_memory]
        return [*no_numbers, float("nan"), 10**400]
    if isinstance(value, tuple) and value:
        return ["12", (True,) * len(value), (1.5,) * len(value), np.ones((2, 2)), (0,) * len(value)]
    return []


def _plain(value: object) -> bool:
    if isinstance(value, (tuple, list, range)):
        return all(map(_plain, value))
    return type(value) in (int, float, bool, str, type(None))


@pytest.fixture
def _alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("made", [*_modules()], ids=lambda made: made.__name__)
def test_every_constructor(made: type) -> None:
    arguments = _arguments(made)
    place = {} if "device" not in inspect.signature(made).parameters else {"device": "meta"}
    expected = made(**arguments, **place)
    numbers = {name: value for name, value in arguments.items() if _as_people_have_it(value)}
    few = 1 if hasattr(models, made.__name__) else None  # of what the layers of a network check
    for name, value in numbers.items():
        for other in _as_people_have_it(value)[:few]:
            module = made(**{**arguments, name: other}, **place)
            assert repr(module) == repr(expected), (name, other)
            for part in module.modules():
                kept = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "group"}
                assert all(map(_plain, kept.values())), (name, other, kept)
        for other in _refused(value)[:few]:
            message = refusal(name, functools.partial(made, **{**arguments, name: other}, **place), other)
            assert "must be a bool, got bool" not in message


SWEPT: list[tuple[str, Any, list[Any]]] = [
    ("iterations", 2, [np.int64(2), torch.tensor(2), np.array(2)]),
    ("eps", 0.25, [np.float32(0.25), torch.tensor(0.25), np.array(0.25), Fraction(1, 4), Decimal("0.25")]),
    ("leaky", True, [np.True_, torch.tensor(True), np.array(True)]),
    ("agreement_factor", 2.0, [np.int8(2), torch.tensor(2)]),
    ("temperature", 2.0, [np.float16(2), torch.tensor(2.0)]),
    ("temperature", (1.0, 2.0, 0.5), [[1, 2, 0.5], np.array([1, 2, 0.5]), torch.tensor([1, 2, 0.5])]),
]  # fmt: skip


def test_options_of_a_sweep() -> None:
    """In the functions and their definition, with the same bits; a layer's options can be hashed, copied and stored."""
    x, weight = torch.randn(2, 6, 4), torch.randn(6, 3, 5, 4)
    for option, plain, others in SWEPT:
        for function in (capsroute.dynamic_routing, reference.dynamic_routing):
            expected = function(x, weight, **{option: plain})
            for other in others:
                assert torch.equal(function(x, weight, **{option: other}), expected), (function, option, other)
        made = [capsules.CapsuleLayer(6, 4, 3, 5, **{option: value}) for value in (plain, *others)]
        assert len({layer.options for layer in made}) == 1
        file = io.BytesIO()
        torch.save(made[-1].options.keywords(), file)
        file.seek(0)
        assert torch.load(file, weights_only=True) == made[0].options.keywords()
        assert copy.deepcopy(made[-1]).options == made[0].options


FUNCTIONS: list[tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = [
    (capsules.squash, {"capsules": torch.randn(2, 3)}, {"eps": 0.25, "kind": "shifted", "constant": 0.5}),
    (capsules.margin_loss, {"lengths": torch.rand(2, 3), "target": torch.tensor([0, 2])}, {
        "positive_margin": 0.75, "negative_margin": 0.25, "absent_weight": 0.5,
    }),
    (capsules.primary_poses, {"maps": torch.randn(2, 6, 3)}, {"types": 2, "eps": 0.25}),
    (capsules.interest_counts, {"lengths": torch.tensor([3, 9])}, {"interests": 3}),
    (capsules.interest_mask, {"counts": torch.tensor([1, 3])}, {"interests": 3}),
    (functools.partial(layouts.weight_to_capsroute, layout="I,d,JD"), {"weight": torch.rand(2, 3, 10)}, {"J": 2}),
]  # fmt: skip


def test_numbers_of_a_function() -> None:
    for function, tensors, numbers in FUNCTIONS:
        expected = function(**tensors, **numbers)
        for name, value in numbers.items():
            for other in _as_people_have_it(value):
                assert torch.equal(function(**{**tensors, **numbers, name: other}), expected), (function, name, other)
            for other in _refused(value):
                called = functools.partial(function, **{**tensors, **numbers, name: other})
                refusal("the size J" if name == "J" else name, called, other)
