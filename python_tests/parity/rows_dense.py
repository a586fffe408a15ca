"""Fully connected capsule layers of image classifiers and point clouds.

Most make votes, by :mod:`.votes`, and route them by the loop of :mod:`.loops`; what they add to that stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute.layouts import votes_to_capsroute, weight_to_capsroute
from capsroute.nn import squash

from .loops import route
from .row import B, D, I, J, Outputs, Row, d, dense
from .squashes import beside_norm, half, no_eps, under_root
from .votes import VOTES, sizes_of_weight


def _row(
    layout: str,
    options: dict[str, Any],
    loop: Callable[..., Outputs],
    ours: Callable[..., Outputs] | None = None,
    *,
    variant: str = "",
    lengths: float = 2.0,
    **shapes: tuple[int, ...],
) -> Row:
    """``loop`` takes the votes as the layout has them, and the tensors of ``shapes`` beside x and the weight."""
    weight_shape, formula = VOTES[layout]

    def theirs(x: Tensor, weight: Tensor, **others: Tensor) -> Outputs:
        return loop(formula(x, weight), **others)

    replacement = ours or dense(layout, **(sizes_of_weight(layout)))
    tensors = {"x": (B, I, d), "weight": weight_shape, **shapes}
    return Row(layout + variant, tensors, theirs, options, replacement, lengths=lengths)


def _naturomics(votes: Tensor, bias: Tensor) -> Tensor:
    """Only the votes are stopped: the bias gets gradients through the inner iterations too."""
    return route(votes[..., 0], 1, 2, under_root(1e-9), bias=bias[0, ..., 0], detached=True)


def naturomics_ours(x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Tensor:
    return dense("naturomics/CapsNet-Tensorflow", J=J)(x, weight, bias.view(J, D), **options)


def capslayer(votes: Tensor, bias: Tensor) -> Tensor:
    """Leaky whatever is asked for."""
    return route(votes[..., 0], 1, 2, bias=bias[0, ..., 0], leaky=True)


def capslayer_ours(votes: Tensor, bias: Tensor, **options: Any) -> Tensor:
    votes = votes_to_capsroute(votes, "naturomics/CapsLayer")
    return capsroute.route_votes(votes, bias[0, 0, ..., 0], **options)


def _deepcaps(votes: Tensor, bias: Tensor) -> Tensor:
    return route(votes, 2, 1, bias=bias[:, None])


def deepcaps_channels_ours(x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Tensor:
    """Input i of ours uses matrix i mod channels: put the inputs in that order, and no matrix is copied."""
    channels = weight.shape[1]
    x = x.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1, 2)
    return capsroute.dynamic_routing(x, weight_to_capsroute(weight, "J,I,D,d"), bias, **options)


def _deepcaps_dense_caps(votes: Tensor) -> Tensor:
    """b_alphas = (8, 8, 8); c is J times the softmax, and c and v are stopped."""
    squash, alphas = under_root(1e-7), (8, 8, 8)
    b = torch.zeros_like(votes[..., 0])
    for k in range(3):
        c = torch.ones_like(b) if k == 0 else (J * (b * alphas[k]).softmax(-1)).detach()
        v = squash((c[..., None] * (votes if k == 2 else votes.detach())).sum(1))
        b = b + (v.detach()[:, None] * votes).sum(-1)
    return v


def deepcaps_dense_caps_ours(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
    """The factor J stands behind the softmax: it is a weight of the inputs."""
    weight = weight_to_capsroute(weight, "brjathu/deepcaps:DenseCaps")
    return capsroute.dynamic_routing(x, weight, input_weight=x.new_full(x.shape[:2], J), **options)


def _row_vectors(votes: Tensor, logits: Tensor | None = None) -> Tensor:
    """``votes [J, B, I, 1, D]``, ``logits [J, 1, I, 1, 1]``, and a softmax over the inputs."""
    return route(votes, 2, 2, logits=logits).squeeze(2).transpose(0, 1)


def gram_ai_ours(x: Tensor, weight: Tensor, logits: Tensor, **options: Any) -> Tensor:
    return dense("gram-ai/capsule-networks")(x, weight, logits=logits.view(J, I).T, **options)


def _adambielski(votes: Tensor, logits: Tensor) -> Tensor:
    """n_iterations = 2 updates after a first pass with the softmax of the learned ``logits [I, J]``."""
    return route(votes, 1, 2, logits=logits[None, ..., None])


def adambielski_ours(x: Tensor, weight: Tensor, logits: Tensor, **options: Any) -> Tensor:
    return dense("adambielski/CapsNet-pytorch", J=J)(x, weight, logits=logits, **options)


def _leftthomas_dynamic(votes: Tensor) -> tuple[Tensor, Tensor]:
    """Unsquashed in the last iteration, squashed after it; the coupling coefficients [B, J, I] come back too."""
    b = torch.zeros_like(votes)
    for k in range(3):
        c = b.softmax(1)
        s = (c * votes).sum(2, keepdim=True)
        b = b + (votes * no_eps(s)).sum(-1, keepdim=True) if k < 2 else b
    return no_eps(s.squeeze(2)), c.mean(-1)


def leftthomas_ours(x: Tensor, weight: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    weight = weight_to_capsroute(weight, "leftthomas/CapsuleLayer:shared")
    found = capsroute.dynamic_routing(x, weight, details=("coupling",), **options)
    assert found.coupling is not None
    return found.output, found.coupling.mT


def _leftthomas_k_means(votes: Tensor) -> tuple[Tensor, Tensor]:
    """The logits are the votes' products with the *normalised* last output, which is squashed after the last."""
    v = votes.sum(2, keepdim=True) / J
    for _ in range(3):
        c = (votes * torch.nn.functional.normalize(v, dim=-1)).sum(-1, keepdim=True).softmax(1)
        v = (c * votes).sum(2, keepdim=True)
    return no_eps(v.squeeze(2)), c.squeeze(-1)


def leftthomas_k_means_ours(x: Tensor, weight: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    weight = weight_to_capsroute(weight, "leftthomas/CapsuleLayer:separate")
    found = capsroute.dynamic_routing(x, weight, details=("coupling", "pre_squash"), **options)
    assert found.pre_squash is not None
    assert found.coupling is not None
    return squash(found.pre_squash, eps=0), found.coupling.mT


def dgl(votes: Tensor) -> Tensor:
    """One sample, ``votes [I·J, D]``; a softmax over the edges that leave an input. A first call, from zero logits."""
    return route(votes.view(1, I, J, D), 1, 2)


def dgl_ours(votes: Tensor, **options: Any) -> Tensor:
    return capsroute.route_votes(votes_to_capsroute(votes, "dmlc/dgl", J=J), **options)


NO_EPS: dict[str, Any] = {"eps": 0}
OVER_INPUTS: dict[str, Any] = {"softmax_over": "inputs"}
LAST: dict[str, Any] = {"gradient": "last"}
NORM_EPS: dict[str, Any] = {**LAST, "squash": "norm_eps"}
SHIFTED: dict[str, Any] = {"logit_update": "replace", "squash": "shifted"}

# [B, I, J, D] and [B, J, I, D] with a softmax over the outputs.
_inputs_first, _outputs_first = partial(route, inputs=1, softmax=2), partial(route, inputs=2, softmax=1)
_keras = partial(_outputs_first, squash=half(1e-7), replace=True)

ROWS = [
    # TensorFlow and Keras; the bias of Sarasra is added in every iteration.
    _row("Sarasra/models", NO_EPS, _inputs_first, bias=(J, D)),
    _row(
        "Sarasra/models",
        {"leaky": True, **NO_EPS},
        partial(_inputs_first, leaky=True),
        bias=(J, D),
        variant=", `leaky=True`",
    ),
    _row(
        "naturomics/CapsNet-Tensorflow",
        {"gradient": "detached_votes", "eps": 1e-9},
        _naturomics,
        naturomics_ours,
        bias=(1, 1, J, D, 1),
    ),
    Row(
        "naturomics/CapsLayer",
        {"votes": (B, I, J, D, 1), "bias": (1, 1, J, D, 1)},
        capslayer,
        {"leaky": True, **NO_EPS},
        capslayer_ours,
    ),
    _row("XifengGuo/CapsNet-Keras", {"eps": 1e-7}, partial(_outputs_first, squash=under_root(1e-7))),
    _row("keras-team/keras:shared", {**SHIFTED, "eps": 1e-7}, _keras),
    _row("keras-team/keras:separate", {**SHIFTED, "eps": 1e-7}, _keras),
    _row("brjathu/deepcaps:CapsuleLayer", NO_EPS, _deepcaps, bias=(J, D)),
    _row("brjathu/deepcaps:CapsuleLayer-channels", NO_EPS, _deepcaps, deepcaps_channels_ours, bias=(J, D)),
    _row(
        "brjathu/deepcaps:DenseCaps",
        {"gradient": "last", "temperature": (1 / 8, 1 / 8, 1 / 8), "eps": 1e-7},
        _deepcaps_dense_caps,
        deepcaps_dense_caps_ours,
        lengths=0.5,  # eight times the agreement is enough for couplings of any size
    ),
    # PyTorch
    _row("XifengGuo/CapsNet-Pytorch", NORM_EPS, partial(_outputs_first, squash=beside_norm, detached=True)),
    _row("danielhavir/capsule-network", NORM_EPS, partial(_outputs_first, squash=beside_norm, detached=True)),
    _row("yongheng1991/3D-point-capsule-networks", {**LAST, **NO_EPS}, partial(_outputs_first, detached=True)),
    _row("gram-ai/capsule-networks", {**OVER_INPUTS, **NO_EPS}, _row_vectors, gram_ai_ours, logits=(J, 1, I, 1, 1)),
    _row("Officium/Capsules", {**OVER_INPUTS, **NO_EPS}, _row_vectors),
    _row(
        "labmlai/annotated_deep_learning_paper_implementations",
        OVER_INPUTS,
        partial(route, inputs=1, softmax=1, squash=under_root(1e-8)),
    ),
    _row("adambielski/CapsNet-pytorch", {"iterations": 3, **NO_EPS}, _adambielski, adambielski_ours, logits=(I, J)),
    _row("teju85/capsnet", NO_EPS, _inputs_first),
    _row("teju85/capsnet", {**LAST, **NO_EPS}, partial(_inputs_first, detached=True), variant=", `detach=True`"),
    _row("leftthomas/CapsuleLayer:shared", NO_EPS, _leftthomas_dynamic, leftthomas_ours, variant=", `dynamic`"),
    _row(
        "leftthomas/CapsuleLayer:shared",
        {**OVER_INPUTS, **SHIFTED, **NO_EPS},
        partial(route, inputs=2, softmax=2, squash=half(0), replace=True),
        variant=", `contract` of 2018",
    ),
    _row(
        "leftthomas/CapsuleLayer:separate",
        {"iterations": 4, **SHIFTED, "squash_constant": 1e-30, **NO_EPS},
        _leftthomas_k_means,
        leftthomas_k_means_ours,
        variant=", `k_means`",
    ),
    Row("dmlc/dgl", {"votes": (I * J, D)}, dgl, NO_EPS, dgl_ours),
]
