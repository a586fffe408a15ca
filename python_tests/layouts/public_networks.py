"""Public networks as data: the keys and shapes of their state dicts, and how each groups its primary capsules.

They stand for the originals in the tests of converted state dicts; their class capsules are those of the tables of
parity. What an original does beyond the capsules (losses, decoding the true class) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..parity.row import D, I, J, Row, d
from ..parity.rows import ROWS
from ..parity.squashes import Squash, beside_norm, no_eps, under_root

# Images of 8x6 pixels, 2x1 positions of 3 types of 4 components; 4 does not divide 2 positions.
IMAGE, CHANNELS, KERNEL, TYPES, HIDDEN = (8, 6), 5, 3, 3, (7, 11)
SIZES: dict[str, Any] = {
    "image_size": IMAGE,
    "conv_channels": CHANNELS,
    "conv_kernel": KERNEL,
    "primary_types": TYPES,
    "primary_size": d,
    "primary_kernel": KERNEL,
    "classes": J,
    "capsule_size": D,
}


def row_of(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def type_after_type(maps: Tensor) -> Tensor:
    """Groups of channels, types before positions."""
    return no_eps(maps.unflatten(1, (TYPES, d)).permute(0, 1, 3, 4, 2).reshape(len(maps), I, d))


def components_before_types(maps: Tensor, squash: Squash = no_eps) -> Tensor:
    """Channels of all types for one component after the other, be it of one convolution or of one for each."""
    return squash(maps.view(len(maps), d, I).mT)


def as_they_lie(maps: Tensor) -> Tensor:
    return beside_norm(maps.reshape(len(maps), I, d))


@dataclass(frozen=True)
class Network:
    """Two convolutions, class capsules and three linear layers."""

    row: str  # the name in the tables of parity
    conv: str  # here and below, keys
    primary: str  # with ``*`` for one convolution for each component
    grouped: Callable[[Tensor], Tensor]  # maps to primary capsules
    weight: str
    logits: str = ""
    decoder: tuple[str, ...] = ()

    def state_dict(self) -> dict[str, Tensor]:
        """Random parameters, of a size that makes routing matter."""
        components = range(d) if "*" in self.primary else [0]
        shapes = {f"{self.conv}.weight": (CHANNELS, 1, KERNEL, KERNEL), f"{self.conv}.bias": (CHANNELS,)}
        for k in components:
            key, channels = self.primary.replace("*", str(k)), TYPES * d // len(components)
            shapes |= {f"{key}.weight": (channels, CHANNELS, KERNEL, KERNEL), f"{key}.bias": (channels,)}
        for key, (a, b) in zip(self.decoder, pairwise((J * D, *HIDDEN, IMAGE[0] * IMAGE[1])), strict=False):
            shapes |= {f"{key}.weight": (b, a), f"{key}.bias": (b,)}
        generator = torch.Generator().manual_seed(3)
        state = {
            key: torch.randn(shape, generator=generator, dtype=torch.float64) / shape[-1] ** 0.5
            for key, shape in shapes.items()
        }
        given = row_of(self.row).tensors(torch.float64)
        return {**state, self.weight: given["weight"], **({self.logits: given["logits"]} if self.logits else {})}

    def __call__(self, state: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Class capsules ``[B, J, D]``, and reconstructions ``[B, pixels]`` of the longest."""
        features = F.conv2d(images, state[f"{self.conv}.weight"], state[f"{self.conv}.bias"]).relu()
        keys = [self.primary.replace("*", str(k)) for k in range(d if "*" in self.primary else 1)]
        maps = [F.conv2d(features, state[f"{key}.weight"], state[f"{key}.bias"], stride=2) for key in keys]
        row = row_of(self.row)
        learned = torch.zeros(row.shapes.get("logits", ()), dtype=torch.float64)
        logits = {"logits": state.get(self.logits, learned)} if "logits" in row.shapes else {}
        capsules = row.theirs(self.grouped(torch.cat(maps, 1)), state[self.weight], **logits)
        assert isinstance(capsules, Tensor)
        if not self.decoder:
            return capsules, None
        longest = F.one_hot(capsules.norm(dim=-1).argmax(1), J)
        flat = (capsules * longest[..., None]).flatten(1)
        *hidden, last = ((state[f"{key}.weight"], state[f"{key}.bias"]) for key in self.decoder)
        for weight, bias in hidden:
            flat = F.linear(flat, weight, bias).relu()
        return capsules, F.linear(flat, *last).sigmoid()


_SEQUENTIAL = ("decoder.0", "decoder.2", "decoder.4")
_LABML = "labmlai/annotated_deep_learning_paper_implementations"

NETWORKS = {
    "gram-ai/capsule-networks:CapsuleNet": Network(
        "gram-ai/capsule-networks",
        "conv1",
        "primary_capsules.capsules.*",
        components_before_types,
        "digit_capsules.route_weights",
        "digit_capsules.route_logits",  # of its older version
        _SEQUENTIAL,
    ),
    "Officium/Capsules:CapsuleNet": Network(
        "Officium/Capsules", "first.0", "second.*", components_before_types, "third", decoder=_SEQUENTIAL
    ),
    "adambielski/CapsNet-pytorch:CapsNet": Network(
        "adambielski/CapsNet-pytorch",
        "conv1",
        "primaryCaps.conv",
        type_after_type,
        "digitCaps.weights",
        "digitCaps.routing_module.b",
    ),
    "adambielski/CapsNet-pytorch:CapsNetWithReconstruction": Network(
        "adambielski/CapsNet-pytorch",
        "capsnet.conv1",
        "capsnet.primaryCaps.conv",
        type_after_type,
        "capsnet.digitCaps.weights",
        "capsnet.digitCaps.routing_module.b",
        ("reconstruction_net.fc1", "reconstruction_net.fc2", "reconstruction_net.fc3"),
    ),
    "teju85/capsnet:CapsuleNetwork": Network(
        "teju85/capsnet",
        "c1",
        "convcaps.c1",
        type_after_type,
        "caps.W",
        decoder=("decoder.fc1", "decoder.fc2", "decoder.fc3"),
    ),
    f"{_LABML}:MNISTCapsuleNetworkModel": Network(
        _LABML,
        "conv1",
        "conv2",
        partial(components_before_types, squash=under_root(1e-8)),
        "digit_capsules.weight",
        decoder=_SEQUENTIAL,
    ),
    "XifengGuo/CapsNet-Pytorch:CapsuleNet": Network(
        "XifengGuo/CapsNet-Pytorch",
        "conv1",
        "primarycaps.conv2d",
        as_they_lie,
        "digitcaps.weight",
        decoder=_SEQUENTIAL,
    ),
    "danielhavir/capsule-network:CapsuleNetwork": Network(
        "danielhavir/capsule-network", "conv1", "primary.conv", as_they_lie, "digits.W", decoder=_SEQUENTIAL
    ),
}
