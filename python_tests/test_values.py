"""Numbers as people have them, wherever a number is an argument: taken and kept as plain ones, or refused by name.

The constructors are found by looking, so that a new module is held to this by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from capsroute import layouts, models
from capsroute import nn as capsules
from capsroute.distributed import ShardedCapsuleLayer
from capsroute.routing.options import DEFAULTS, PUBLIC

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
        return (
            [np.float64(value), torch.tensor(value, dtype=torch.float64), np.array(value), Fraction(value)]
            if (np.isfinite(value))
            else [np.float32(value), torch.tensor(value)]
        )
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
        return [True, np.True_, torch.tensor(True), "0.5", float("nan"), 10**400, 1j, torch.tensor(0.5, device="meta"),
                nn.Parameter(torch.tensor(0.5)), torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged)]  # fmt: skip
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
    few = 1 if hasattr(models, made.__name__) else None  # of the options of a network, which its layers check
    for name, value in numbers.items():
        for other in _as_people_have_it(value)[: few if name in PUBLIC else None]:
            module = made(**{**arguments, name: other}, **place)
            assert repr(module) == repr(expected), (name, other)
            for part in module.modules():
                kept = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "group"}
                assert all(map(_plain, kept.values())), (name, other, kept)
        for other in _refused(value)[: few if name in PUBLIC else None]:
            with pytest.raises((TypeError, ValueError)) as caught:
                made(**{**arguments, name: other}, **place)
                raise AssertionError(f"{made.__name__} took {name}={other!r}")
            message = str(caught.value)
            assert message.startswith(name), (name, other, message)
            assert "\n" not in message
            assert message.partition("got ")[2] != "bool" or "must be a bool" not in message
