"""How public implementations make their votes: for each layout the shape of the weight, and the formula.

A formula takes x ``[B, I, d]`` and the weight, and gives the votes in the order of axes that the implementation has.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from capsroute.layouts import LAYOUTS

from .row import D, I, J, d

Formula = Callable[[Tensor, Tensor], Tensor]

TYPES = 2  # matrices of DeepCaps' layer with channels
JIOD = (J, I, D, d)


def outer_j(x: Tensor, w: Tensor) -> Tensor:
    """Matrices times column vectors, J before I."""
    return torch.matmul(w, x[:, None, :, :, None]).squeeze(-1)


def row_vectors(x: Tensor, w: Tensor) -> Tensor:
    """Row vectors times matrices, J before the batch."""
    return x[None, :, :, None, :] @ w[:, None]


def repeated(x: Tensor, w: Tensor) -> Tensor:
    """The input repeated for each output capsule, the weight for each sample."""
    return torch.cat([w] * len(x)) @ torch.stack([x] * J, dim=2).unsqueeze(4)


def merged(x: Tensor, w: Tensor) -> Tensor:
    """A product with all output components of an input at once."""
    return x.unsqueeze(2).matmul(w).view(-1, I, J, D)


def elementwise(x: Tensor, w: Tensor) -> Tensor:
    """Products element by element, summed over d."""
    return (w * x.view(-1, I, 1, d, 1)).sum(3, keepdim=True).reshape(-1, I, J, D, 1)


def interests(products: Tensor) -> Tensor:
    """``[B, I, J·D]`` with J before I; ``[B, I, D]`` first repeated for each interest."""
    products = products if products.shape[2] == J * D else products.repeat(1, 1, J)
    return products.reshape(-1, I, J, D).transpose(1, 2)


def interests_of_places(x: Tensor, w: Tensor) -> Tensor:
    return interests((w * x.unsqueeze(2)).sum(3))


VOTES: dict[str, tuple[tuple[int, ...], Formula]] = {
    "Sarasra/models": ((I, d, J * D), lambda x, w: (x[..., None] * w).sum(2).view(-1, I, J, D)),
    "XifengGuo/CapsNet-Pytorch": (JIOD, outer_j),
    "XifengGuo/CapsNet-Keras": (JIOD, outer_j),
    "naturomics/CapsNet-Tensorflow": ((1, I, J * D, d, 1), elementwise),
    "gram-ai/capsule-networks": ((J, I, d, D), row_vectors),
    "adambielski/CapsNet-pytorch": ((I, d, J * D), merged),
    "timomernick/pytorch-capsule": ((1, I, J, D, d), repeated),
    "cedrickchee/capsule-net-pytorch": ((1, I, J, D, d), repeated),
    "higgsfield/Capsule-Network-Tutorial": ((1, I, J, D, d), repeated),
    "jindongwang/Pytorch-CapsuleNet": ((1, I, J, D, d), repeated),
    "danielhavir/capsule-network": ((1, *JIOD), outer_j),
    "Officium/Capsules": ((J, I, d, D), row_vectors),
    "labmlai/annotated_deep_learning_paper_implementations": (
        (I, J, d, D),
        lambda x, w: torch.einsum("ijnm,bin->bijm", w, x),
    ),
    "teju85/capsnet": ((I, d, J * D), merged),
    "coder3000/SR-CapsNet": ((I, J * D, d), lambda x, w: outer_j(x, w).view(-1, 1, I, J, D)),
    "yongheng1991/3D-point-capsule-networks": (JIOD, outer_j),
    "nii-yamagishilab/Capsule-Forensics-v2": (
        JIOD,
        lambda x, w: (w[:, None] @ x[None, :, :, :, None]).transpose(0, 1),
    ),
    "keras-team/keras:shared": (
        (1, d, J * D),
        lambda x, w: F.conv1d(x.mT, w[0].t()[..., None]).mT.reshape(-1, I, J, D).permute(0, 2, 1, 3),
    ),
    "keras-team/keras:separate": ((I, d, J * D), lambda x, w: merged(x, w).permute(0, 2, 1, 3)),
    "brjathu/deepcaps:CapsuleLayer": (JIOD, outer_j),
    "brjathu/deepcaps:CapsuleLayer-channels": (
        (J, TYPES, D, d),
        lambda x, w: outer_j(x, w.repeat_interleave(I // TYPES, dim=1)),
    ),
    "brjathu/deepcaps:DenseCaps": (
        (I, d, J, D),
        lambda x, w: torch.bmm(x.transpose(0, 1), w.reshape(I, d, J * D)).transpose(0, 1).reshape(-1, I, J, D),
    ),
    "leftthomas/CapsuleLayer:shared": ((J, D, d), lambda x, w: outer_j(x, w.unsqueeze(1))),
    "leftthomas/CapsuleLayer:separate": (JIOD, outer_j),
    "THUDM/ComiRec:0": ((d, D), lambda x, w: interests(x @ w)),
    "THUDM/ComiRec:1": ((d, J * D), lambda x, w: interests(x @ w)),
    "THUDM/ComiRec:2": ((1, I, J * D, d), interests_of_places),
    "datawhalechina/torch-rechub:0": ((D, d), lambda x, w: interests(F.linear(x, w))),
    "datawhalechina/torch-rechub:1": ((J * D, d), lambda x, w: interests(F.linear(x, w))),
    "datawhalechina/torch-rechub:2": ((1, I, J * D, d), interests_of_places),
    "alibaba/TorchEasyRec": ((d, D), lambda x, w: torch.einsum("bsl,lh->bsh", x, w)),
    "haofengac/pyCapsNet": ((1, I, J, D, d), repeated),
}

_SHARED_OVER_J = ("THUDM/ComiRec:0", "datawhalechina/torch-rechub:0", "alibaba/TorchEasyRec")


def sizes_of_weight(layout: str) -> dict[str, int]:
    """What the shape of a weight does not tell, where one axis stands for several or one is not there."""
    if layout.endswith("-channels"):
        return {"p": I // TYPES}
    return {"J": J} if layout in _SHARED_OVER_J or "JD" in (LAYOUTS[layout].weight or "") else {}
