"""Implementations with a fault, or a rule of their own, that the options do not reproduce: stated with it and without.

``fault=True`` is what the code does, ``fault=False`` the same code with the one line put right.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute.layouts import votes_to_capsroute, weight_to_capsroute

from .row import B, D, I, J, Row, d, dense
from .squashes import no_eps, under_root


def _votes(x: Tensor, weight: Tensor) -> Tensor:
    """``[B, I, J, D, 1]`` from ``weight [1, I, J, D, d]``."""
    return weight @ x[:, :, None, :, None]


def shared_logits(
    x: Tensor, weight: Tensor, squash_dim: int, fault: bool, r: int = 3, mean: bool | None = None
) -> Tensor:
    """Logits ``[1, I, J, 1]`` of the whole batch, with a softmax over I, and a squash along ``squash_dim``.

    ``fault=False`` has logits of each sample and a squash along D, dimension 3. ``mean`` alone chooses the logits.
    """
    votes = _votes(x, weight)
    mean = fault if mean is None else mean
    b = votes.new_zeros(1, I, J, 1)
    for _ in range(r):
        v = no_eps((b.softmax(1)[..., None] * votes).sum(1, keepdim=True), squash_dim if fault else 3)
        agreement = (votes.mT @ v).squeeze(4)
        b = b + (agreement.mean(0, keepdim=True) if mean else agreement)
    return v[:, 0, ..., 0]


def naturomics_early(x: Tensor, weight: Tensor, fault: bool) -> Tensor:
    """``weight [1, I, J, d, D]``; the batch's agreements are added up; no bias yet, and gradients through all."""
    squash = under_root(1e-9)
    votes = torch.einsum("ijpk,bip->bijk", weight[0], x)
    b = votes.new_zeros(1, I, J)
    for _ in range(3):
        v = squash((b.softmax(2)[..., None] * votes).sum(1))
        agreement = (votes * v[:, None]).sum(3)
        b = b + (agreement.sum(0, keepdim=True) if fault else agreement)
    return v


def forensics(x: Tensor, weight: Tensor, fault: bool, r: int = 2) -> Tensor:
    """``weight [J, I, D, d]``; logits ``[B, J, I, D, 1]`` get the product of votes and output unsummed."""
    votes = (weight[:, None] @ x[None, ..., None]).transpose(0, 1)  # [B, J, I, D, 1]
    b = torch.zeros_like(votes)
    for _ in range(r):
        v = no_eps((b.softmax(2) * votes).sum(2, keepdim=True), 3)
        agreement = votes * v
        b = b + (agreement if fault else agreement.sum(3, keepdim=True))
    return v[:, :, 0, :, 0]


class Dgl:
    """The layer of the tutorial: logits that stay in the graph; one sample."""

    def __init__(self, fault: bool) -> None:
        self.b, self.fault = torch.zeros(1, I, J), fault

    def __call__(self, votes: Tensor, r: int = 3) -> Tensor:
        """``votes [I·J, D]``."""
        edges = votes.view(1, I, J, D)
        b = self.b.to(votes)
        for _ in range(r):
            v = no_eps((b.softmax(2)[..., None] * edges).sum(1))
            b = b + (edges * v[:, None]).sum(3)
        self.b = b if self.fault else self.b
        return v


def dgl_second_call(votes: Tensor, fault: bool) -> Tensor:
    layer = Dgl(fault)
    layer(votes)
    return layer(votes)


H = 2  # positions along each axis of a map


def deepcaps_conv(votes: Tensor, bias: Tensor, fault: bool) -> Tensor:
    """``votes [B, I, J, D, h, w]``, a softmax jointly over J, h and w, and a squash over D, h and w."""
    logits = votes[:, :, :, 0] * 0
    for _ in range(3):
        route = logits.flatten(2).softmax(2).view_as(logits)
        s = (route[:, :, :, None] * votes).sum(1) + bias
        n = (s**2).sum((2, 3, 4) if fault else 2, keepdim=True)
        v = n / (1 + n) / n.sqrt() * s
        logits = logits + (votes * v[:, None]).sum(3)
    return v.permute(0, 1, 3, 4, 2)


def deepcaps_conv_ours(votes: Tensor, bias: Tensor, **options: Any) -> Tensor:
    votes = votes_to_capsroute(votes, "brjathu/deepcaps:ConvCapsuleLayer3D")
    return capsroute.route_votes(votes, bias.view(J, 1, 1, D).expand(J, H, H, D), **options)


def forensics_ours(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
    weight = weight_to_capsroute(weight, "nii-yamagishilab/Capsule-Forensics-v2")
    return capsroute.dynamic_routing(x, weight, **options)


def dgl_ours(votes: Tensor, **options: Any) -> Tensor:
    return capsroute.route_votes(votes_to_capsroute(votes, "dmlc/dgl", J=J), **options)


X = (B, I, d)
OVER_INPUTS: dict[str, Any] = {"softmax_over": "inputs", "eps": 0}
OVER_J, OVER_ONE = 2, 4  # dimensions of s [B, 1, J, D, 1]
SHARED = {"x": X, "weight": (1, I, J, D, d)}


def _shared(name: str, squash_dim: int, r: int = 3) -> Row:
    options = OVER_INPUTS if r == 3 else {"iterations": r, **OVER_INPUTS}
    return Row(name, SHARED, partial(shared_logits, squash_dim=squash_dim, r=r), options, dense(name))


# ``theirs`` takes ``fault`` besides the tensors.
DIFFERENCES = [
    _shared("timomernick/pytorch-capsule", OVER_J),
    _shared("cedrickchee/capsule-net-pytorch", OVER_J),
    _shared("higgsfield/Capsule-Network-Tutorial", OVER_ONE),
    _shared("jindongwang/Pytorch-CapsuleNet", OVER_ONE),
    _shared("haofengac/pyCapsNet", OVER_ONE, r=2),
    Row(
        "naturomics/CapsNet-Tensorflow, before issue 21",
        {"x": X, "weight": (1, I, J, d, D)},
        naturomics_early,
        {"eps": 1e-9},
        dense("1,I,J,d,D"),
    ),
    Row(
        "nii-yamagishilab/Capsule-Forensics-v2",
        {"x": X, "weight": (J, I, D, d)},
        forensics,
        {"iterations": 2, **OVER_INPUTS},
        forensics_ours,
    ),
    Row("dmlc/dgl, second call", {"votes": (I * J, D)}, dgl_second_call, {"eps": 0}, dgl_ours),
    Row(
        "brjathu/deepcaps:ConvCapsuleLayer3D",
        {"votes": (B, I, J, D, H, H), "bias": (J, D, 1, 1)},
        deepcaps_conv,
        {"eps": 0},
        deepcaps_conv_ours,
    ),
]
