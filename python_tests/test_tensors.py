"""Tensors that the kernels cannot read are refused by name, in every place where a tensor is an argument."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import capsroute
from capsroute import distributed, layouts, models, reference, testing
from capsroute import nn as capsules

from .refusals import refusal

FLOATS: dict[str, Tensor] = {
    "x": torch.zeros(3, 6, 4), "weight": torch.zeros(6, 5, 7, 4), "votes": torch.zeros(3, 6, 5, 7),
    "bias": torch.zeros(5, 7), "logits": torch.zeros(6, 5), "input_weight": torch.ones(3, 6),
}  # fmt: skip
MASKS = {"input_mask": torch.ones(3, 6).bool(), "output_mask": torch.ones(3, 5).bool()}
DYNAMIC = {name: value for name, value in (FLOATS | MASKS).items() if name != "votes"}
VOTES = {name: value for name, value in (FLOATS | MASKS).items() if name not in ("x", "weight")}
COUPLED = {"votes": FLOATS["votes"], "coupling": torch.ones(6, 5)}
AXES = {"votes": torch.zeros(3, 6, 5, 2, 7), "bias": torch.zeros(5, 2, 7), "output_mask": torch.ones(3, 5, 2).bool()}
POSES = {"poses": torch.zeros(2, 2, 4, 6, 6)}
IMAGES = torch.zeros(2, 1, 8, 8)
CLASSES = torch.zeros(2, dtype=torch.int64)
SMALL: dict[str, Any] = {"image_size": 8, "conv_kernel": 3, "primary_kernel": 3, "conv_channels": 4, "primary_types": 1}
LAYER = {name: value for name, value in DYNAMIC.items() if name not in ("x", "weight", "bias")}


def _by_forced(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(**tensors: Any) -> Any:
        with testing.backend(name):
            return function(**tensors)

    return call


converted = functools.partial(layouts.weight_to_capsroute, layout="J,I,D,d")
OF_DTYPE = ("int", "complex", "eight bits", "float for bool")  # kinds that only their dtype makes odd
OF_ANY_DTYPE = (converted, distributed.split_inputs)

# What is called, and good tensors for each of its arguments.
CALLS: list[tuple[str, Callable[..., Any], dict[str, Tensor]]] = [
    ("dynamic_routing", capsroute.dynamic_routing, DYNAMIC),
    ("route_votes", capsroute.route_votes, VOTES),
    ("route_votes by the reference", _by_forced("reference", capsroute.route_votes), VOTES),
    ("route_votes with a coupling", capsroute.route_votes, COUPLED),
    ("route_votes with several axes", capsroute.route_votes, AXES),
    ("explain", capsroute.explain, VOTES),
    ("reference.dynamic_routing", reference.dynamic_routing, DYNAMIC),
    ("reference.route_votes", reference.route_votes, VOTES),
    ("distributed.dynamic_routing", distributed.dynamic_routing, DYNAMIC),
    ("split_inputs", distributed.split_inputs, {"x": FLOATS["x"]}),
    ("squash", capsules.squash, {"capsules": FLOATS["x"]}),
    ("capsule_lengths", capsules.capsule_lengths, {"capsules": FLOATS["x"]}),
    ("primary_poses", lambda maps: capsules.primary_poses(maps, 2), {"maps": torch.zeros(2, 8, 6, 6)}),
    ("margin_loss", capsules.margin_loss, {"lengths": torch.zeros(2, 3), "target": CLASSES}),
    ("interest_counts", lambda lengths: capsules.interest_counts(lengths, 3), {"lengths": CLASSES}),
    ("interest_mask", lambda counts: capsules.interest_mask(counts, 3), {"counts": CLASSES}),
    ("weight_to_capsroute", converted, {"weight": FLOATS["weight"]}),
    ("CapsuleLayer", capsules.CapsuleLayer(6, 4, 5, 7), {"capsules": FLOATS["x"], **LAYER}),
    ("InterestCapsules", capsules.InterestCapsules(4, 5, 7, max_items=6), {
        "items": FLOATS["x"], "mask": MASKS["input_mask"], "counts": torch.ones(3, dtype=torch.int64),
        "logits": FLOATS["logits"], "input_weight": FLOATS["input_weight"],
    }),
    ("InterestCapsules with one matrix", capsules.InterestCapsules(4, 5, 7, bilinear_type=0), {
        "items": FLOATS["x"], "mask": MASKS["input_mask"], "logits": FLOATS["logits"],
        "input_weight": FLOATS["input_weight"],
    }),
    ("ConvCapsules2d", capsules.ConvCapsules2d(2, 4, 3, 5, 3), POSES),
    ("ConvTransposeCapsules2d", capsules.ConvTransposeCapsules2d(2, 4, 3, 5, 3), POSES),
    ("PrimaryCapsules", capsules.PrimaryCapsules(1, 2, 4, 3), {"features": IMAGES}),
    ("FlatPrimaryCapsules", layouts.FlatPrimaryCapsules(1, 4, 4, 3), {"features": IMAGES}),
    ("ReconstructionDecoder", capsules.ReconstructionDecoder(3, 4, (1, 8, 8)), {
        "capsules": torch.zeros(2, 3, 4), "labels": CLASSES,
    }),
    ("LabelAwareAttention", capsules.LabelAwareAttention(), {
        "interests": torch.zeros(3, 5, 7), "target": torch.zeros(3, 7), "interest_mask": MASKS["output_mask"],
    }),
    ("CapsNet", models.CapsNet(**SMALL), {"images": IMAGES, "labels": CLASSES}),
    ("DeepCaps", models.DeepCaps(image_size=8, types=2), {"images": IMAGES, "labels": CLASSES}),
    ("PoolingCNN", models.PoolingCNN(image_size=8, channels=(2,), hidden=(8,)), {"images": IMAGES}),
    ("ResNetCapsules", models.ResNetCapsules(in_channels=1, image_size=8, planes=2, types=2), {"images": IMAGES}),
    ("SegCaps", models.SegCaps(types=1, size=2), {"images": IMAGES, "mask": torch.ones(2, 8, 8)}),
    ("SegCaps with a bool mask", models.SegCaps(types=1, size=2), {"images": IMAGES, "mask": IMAGES[:, 0] == 0}),
    ("MIND.scores", models.MIND(9, 4).scores, {"vectors": torch.zeros(3, 5, 4), "interest_mask": MASKS["output_mask"]}),
    ("MIND", models.MIND(9, 4), {"history": torch.ones(2, 5, dtype=torch.int64), "target": CLASSES + 1}),
]  # fmt: skip


def _odd(tensor: Tensor) -> Iterator[tuple[str, Any, str]]:
    """Values of the same content that are no dense tensor of a known dtype, and what the message must hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "nested", torch.nested.nested_tensor(list(tensor)), "to_padded_tensor"
        if tensor.dim() > 1:
            yield "jagged", torch.nested.nested_tensor(list(tensor), layout=torch.jagged), "to_padded_tensor"
            yield "csr", tensor.flatten(0, -2).to_sparse_csr(), "to_dense()"
        yield "coo", tensor.to_sparse(), "to_dense()"
        if tensor.is_floating_point():
            yield "mkldnn", tensor.to_mkldnn(), "to_dense()"
            yield "quantized", torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "dequantize()"
            yield "complex", tensor.to(torch.complex64), "torch.complex64"
            yield "int", tensor.to(torch.int32), "torch.int32"
            yield "eight bits", tensor.to(torch.float8_e4m3fn), "torch.float8_e4m3fn"
        if tensor.dtype == torch.bool:
            yield "float for bool", tensor.float(), "torch.bool"
        yield "masked", torch.masked.masked_tensor(tensor, torch.ones_like(tensor, dtype=torch.bool)), "get_data()"
    yield "list", tensor.tolist(), "torch.as_tensor"
    yield "array", tensor.numpy(), "torch.as_tensor"


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """A process group of one, for what is divided among ranks."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_tensor_of_another_kind() -> None:
    for function, called, tensors in CALLS:
        called(**tensors)  # or what is refused below would prove nothing
        for name, tensor in tensors.items():
            for kind, odd, way_out in _odd(tensor):
                if kind in OF_DTYPE and (called in OF_ANY_DTYPE or name in ("mask", "target")):
                    continue
                message = refusal(name, functools.partial(called, **{**tensors, name: odd}), f"{kind} of {function}")
                assert way_out in message, (function, name, kind, message)
