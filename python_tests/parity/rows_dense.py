"""Fully connected capsule layers of image classifiers and point clouds."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute.layouts import votes_to_capsroute, weight_to_capsroute
from capsroute.nn import squash

from .loops import inputs_before_outputs, outputs_before_inputs
from .row import B, D, I, J, Row, d, dense
from .squashes import beside_norm, no_eps, under_root

# ---- TensorFlow and Keras


def sarasra(x: Tensor, weight: Tensor, bias: Tensor, leaky: bool) -> Tensor:
    """Tiled product with W [I, d, J·D]; the bias is added in every iteration; leaky: a zero logit goes first."""
    votes = (x[..., None] * weight).sum(2).view(-1, I, J, D)
    logits = x.new_zeros(x.shape[0], I, J)
    for _ in range(3):
        if leaky:
            route = torch.cat([torch.zeros_like(logits[..., :1]), logits], 2).softmax(2)[..., 1:]
        else:
            route = logits.softmax(2)
        activation = no_eps((route[..., None] * votes).sum(1) + bias)
        logits = logits + (votes * activation[:, None]).sum(3)
    return activation


def naturomics(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Only the votes are stopped: the bias, [1, 1, J, D, 1], gets gradients through the inner iterations too."""
    squash = under_root(1e-9)
    votes = (weight[0, ..., 0] * x[:, :, None]).sum(3).view(-1, I, J, D)
    stopped, bias = votes.detach(), bias[0, 0, ..., 0]
    b = x.new_zeros(x.shape[0], I, J)
    for _ in range(2):
        v = squash((b.softmax(2)[..., None] * stopped).sum(1) + bias)
        b = b + (stopped * v[:, None]).sum(3)
    return squash((b.softmax(2)[..., None] * votes).sum(1) + bias)


def naturomics_ours(x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Tensor:
    weight = weight_to_capsroute(weight, "naturomics/CapsNet-Tensorflow", J=J)
    return capsroute.dynamic_routing(x, weight, bias.view(J, D), **options)


def keras_example(x: Tensor, weight: Tensor) -> Tensor:
    """The logits are the last agreement alone, and the squash has 0.5 in the place of 1."""

    def squash(s: Tensor) -> Tensor:
        q = (s**2).sum(-1, keepdim=True) + 1e-7
        return torch.sqrt(q) / (0.5 + q) * s

    votes = (x @ weight[0] if weight.shape[0] == 1 else torch.einsum("bip,ipk->bik", x, weight)).view(-1, I, J, D)
    votes = votes.transpose(1, 2)
    b = torch.zeros_like(votes[..., 0])
    for k in range(3):
        o = squash(torch.einsum("bji,bjio->bjo", b.softmax(1), votes))
        b = torch.einsum("bjo,bjio->bji", o, votes) if k < 2 else b
    return o


def deepcaps_capsule_layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``weight [J, channels, D, d]``, each matrix for I / channels consecutive inputs; a bias."""
    weight = weight.repeat_interleave(I // weight.shape[1], 1)
    votes = torch.einsum("jiop,bip->bjio", weight, x)
    b = torch.zeros_like(votes[..., 0])
    for k in range(3):
        v = no_eps((b.softmax(1)[..., None] * votes).sum(2) + bias)
        b = b + (votes * v[:, :, None]).sum(-1) if k < 2 else b
    return v


def deepcaps_channels_ours(x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Tensor:
    """Input i of ours uses matrix i mod channels: put the inputs in that order, and no matrix is copied."""
    channels = weight.shape[1]
    x = x.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1, 2)
    return capsroute.dynamic_routing(x, weight_to_capsroute(weight, "J,I,D,d"), bias, **options)


def deepcaps_dense_caps(x: Tensor, weight: Tensor) -> Tensor:
    """``weight [I, d, J, D]``; b_alphas = (8, 8, 8); c is J times the softmax, and c and v are stopped."""
    squash, alphas = under_root(1e-7), (8, 8, 8)
    votes = torch.einsum("bip,ipjo->bijo", x, weight)
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


def capslayer(votes: Tensor, bias: Tensor) -> Tensor:
    """``votes [B, I, J, D, 1]``, ``bias [1, 1, J, D, 1]``; leaky whatever is asked for."""
    logits = torch.zeros_like(votes[..., :1, :])  # [B, I, J, 1, 1]
    for _ in range(3):
        route = torch.cat([torch.zeros_like(logits[:, :, :1]), logits], 2).softmax(2)[:, :, 1:]
        pose = no_eps((route * votes).sum(1, keepdim=True) + bias, dim=-2)
        logits = logits + votes.mT @ pose
    return pose[:, 0, ..., 0]


def capslayer_ours(votes: Tensor, bias: Tensor, **options: Any) -> Tensor:
    votes = votes_to_capsroute(votes, "naturomics/CapsLayer")
    return capsroute.route_votes(votes, bias[0, 0, ..., 0], **options)


# ---- PyTorch


def _jiod(x: Tensor, weight: Tensor) -> Tensor:
    """Votes [B, J, I, D] of ``weight [J, I, D, d]``."""
    return (weight @ x[:, None, :, :, None]).squeeze(-1)


def _joined(x: Tensor, weight: Tensor) -> Tensor:
    """Votes [B, I, J, D] of ``weight [I, d, J·D]``."""
    return (x[:, :, None] @ weight).view(-1, I, J, D)


def xifengguo(x: Tensor, weight: Tensor) -> Tensor:
    return outputs_before_inputs(_jiod(x, weight), beside_norm, 1, detached=True)


def xifengguo_keras(x: Tensor, weight: Tensor) -> Tensor:
    return outputs_before_inputs(_jiod(x, weight), under_root(1e-7), 1)


def danielhavir(x: Tensor, weight: Tensor) -> Tensor:
    return outputs_before_inputs(_jiod(x, weight[0]), beside_norm, 1, detached=True)


def point_capsules(x: Tensor, weight: Tensor) -> Tensor:
    return outputs_before_inputs(_jiod(x, weight), no_eps, 1, detached=True)


def gram_ai(x: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    """``weight [J, I, d, D]``; ``logits [J, 1, I, 1, 1]`` are learned, with a softmax over the inputs."""
    votes = x[None, :, :, None, :] @ weight[:, None]  # [J, B, I, 1, D]
    for k in range(3):
        v = no_eps((logits.softmax(2) * votes).sum(2, keepdim=True))
        logits = logits + (votes * v).sum(-1, keepdim=True) if k < 2 else logits
    return v[:, :, 0, 0].transpose(0, 1)


def gram_ai_ours(x: Tensor, weight: Tensor, logits: Tensor, **options: Any) -> Tensor:
    weight = weight_to_capsroute(weight, "gram-ai/capsule-networks")
    return capsroute.dynamic_routing(x, weight, logits=logits.view(J, I).T, **options)


def officium(x: Tensor, weight: Tensor) -> Tensor:
    votes = (x[None, :, :, None] @ weight[:, None]).squeeze(3)  # [J, B, I, D]
    return outputs_before_inputs(votes.transpose(0, 1), no_eps, 2)


def labml(x: Tensor, weight: Tensor) -> Tensor:
    return inputs_before_outputs(torch.einsum("ijnm,bin->bijm", weight, x), under_root(1e-8), 1)


def adambielski(x: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    """n_iterations = 2 updates after a first pass with softmax(b) of the learned ``logits [I, J]``."""
    votes = _joined(x, weight)
    v = no_eps((logits.softmax(1)[..., None] * votes).sum(1))
    b = logits.expand(votes.shape[:3])
    for _ in range(2):
        b = b + (votes * v[:, None]).sum(-1)
        v = no_eps((b.softmax(2)[..., None] * votes).sum(1))
    return v


def adambielski_ours(x: Tensor, weight: Tensor, logits: Tensor, **options: Any) -> Tensor:
    weight = weight_to_capsroute(weight, "adambielski/CapsNet-pytorch", J=J)
    return capsroute.dynamic_routing(x, weight, logits=logits, **options)


def teju85(x: Tensor, weight: Tensor, detach: bool) -> Tensor:
    return inputs_before_outputs(_joined(x, weight), no_eps, 2, detached=detach)


def leftthomas_dynamic(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Unsquashed in the last iteration, squashed after it; the coupling coefficients [B, J, I] come back too."""
    votes = (weight[None, :, None] @ x[:, None, ..., None]).squeeze(-1)
    b = torch.zeros_like(votes)
    for k in range(3):
        c = b.softmax(1)
        s = (c * votes).sum(2, keepdim=True)
        b = b + (votes * no_eps(s)).sum(-1, keepdim=True) if k < 2 else b
    return no_eps(s.squeeze(2)), c.mean(-1)


def leftthomas_contract(x: Tensor, weight: Tensor) -> Tensor:
    """As it was in 2018: a softmax over the inputs, 0.5 in the squash, and the last agreement alone."""

    def squash(s: Tensor) -> Tensor:
        r = s.norm(dim=-1, keepdim=True)
        return r / (0.5 + r**2) * s

    votes = (weight[None, :, None] @ x[:, None, ..., None]).squeeze(-1)
    b = torch.zeros_like(votes)
    for _ in range(3):
        v = squash((b.softmax(-2) * votes).sum(-2, keepdim=True))
        b = (votes * v).sum(-1, keepdim=True)
    return v.squeeze(-2)


def leftthomas_ours(x: Tensor, weight: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    weight = weight_to_capsroute(weight, "leftthomas/CapsuleLayer:shared")
    found = capsroute.dynamic_routing(x, weight, details=("coupling",), **options)
    assert found.coupling is not None
    return found.output, found.coupling.mT


def leftthomas_k_means(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The logits are the votes' products with the *normalised* last output, which is squashed after the last."""
    votes = _jiod(x, weight)
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
    edges = votes.view(1, I, J, D)
    b = votes.new_zeros(1, I, J)
    for _ in range(3):
        v = no_eps((b.softmax(2)[..., None] * edges).sum(1))
        b = b + (edges * v[:, None]).sum(-1)
    return v


def dgl_ours(votes: Tensor, **options: Any) -> Tensor:
    return capsroute.route_votes(votes_to_capsroute(votes, "dmlc/dgl", J=J), **options)


X, JIOD = (B, I, d), (J, I, D, d)
NO_EPS: dict[str, Any] = {"eps": 0}
OVER_INPUTS: dict[str, Any] = {"softmax_over": "inputs"}
LAST: dict[str, Any] = {"gradient": "last"}

ROWS = [
    Row(
        "Sarasra/models",
        {"x": X, "weight": (I, d, J * D), "bias": (J, D)},
        partial(sarasra, leaky=False),
        NO_EPS,
        dense("Sarasra/models", J=J),
    ),
    Row(
        "Sarasra/models, `leaky=True`",
        {"x": X, "weight": (I, d, J * D), "bias": (J, D)},
        partial(sarasra, leaky=True),
        {"leaky": True, **NO_EPS},
        dense("Sarasra/models", J=J),
    ),
    Row(
        "naturomics/CapsNet-Tensorflow",
        {"x": X, "weight": (1, I, J * D, d, 1), "bias": (1, 1, J, D, 1)},
        naturomics,
        {"gradient": "detached_votes", "eps": 1e-9},
        naturomics_ours,
    ),
    Row(
        "naturomics/CapsLayer",
        {"votes": (B, I, J, D, 1), "bias": (1, 1, J, D, 1)},
        capslayer,
        {"leaky": True, **NO_EPS},
        capslayer_ours,
    ),
    Row(
        "XifengGuo/CapsNet-Keras",
        {"x": X, "weight": JIOD},
        xifengguo_keras,
        {"eps": 1e-7},
        dense("XifengGuo/CapsNet-Keras"),
    ),
    Row(
        "keras-team/keras:shared",
        {"x": X, "weight": (1, d, J * D)},
        keras_example,
        {"logit_update": "replace", "squash": "shifted", "eps": 1e-7},
        dense("keras-team/keras:shared", J=J),
    ),
    Row(
        "keras-team/keras:separate",
        {"x": X, "weight": (I, d, J * D)},
        keras_example,
        {"logit_update": "replace", "squash": "shifted", "eps": 1e-7},
        dense("keras-team/keras:separate", J=J),
    ),
    Row(
        "brjathu/deepcaps:CapsuleLayer",
        {"x": X, "weight": JIOD, "bias": (J, D)},
        deepcaps_capsule_layer,
        NO_EPS,
        dense("brjathu/deepcaps:CapsuleLayer"),
    ),
    Row(
        "brjathu/deepcaps:CapsuleLayer-channels",
        {"x": X, "weight": (J, 2, D, d), "bias": (J, D)},
        deepcaps_capsule_layer,
        NO_EPS,
        deepcaps_channels_ours,
    ),
    Row(
        "brjathu/deepcaps:DenseCaps",
        {"x": X, "weight": (I, d, J, D)},
        deepcaps_dense_caps,
        {"gradient": "last", "temperature": (1 / 8, 1 / 8, 1 / 8), "eps": 1e-7},
        deepcaps_dense_caps_ours,
        lengths=0.5,  # eight times the agreement is enough for couplings of any size
    ),
    Row(
        "XifengGuo/CapsNet-Pytorch",
        {"x": X, "weight": JIOD},
        xifengguo,
        {**LAST, "squash": "norm_eps"},
        dense("XifengGuo/CapsNet-Pytorch"),
    ),
    Row(
        "danielhavir/capsule-network",
        {"x": X, "weight": (1, *JIOD)},
        danielhavir,
        {**LAST, "squash": "norm_eps"},
        dense("danielhavir/capsule-network"),
    ),
    Row(
        "yongheng1991/3D-point-capsule-networks",
        {"x": X, "weight": JIOD},
        point_capsules,
        {**LAST, **NO_EPS},
        dense("yongheng1991/3D-point-capsule-networks"),
    ),
    Row(
        "gram-ai/capsule-networks",
        {"x": X, "weight": (J, I, d, D), "logits": (J, 1, I, 1, 1)},
        gram_ai,
        {**OVER_INPUTS, **NO_EPS},
        gram_ai_ours,
    ),
    Row(
        "Officium/Capsules",
        {"x": X, "weight": (J, I, d, D)},
        officium,
        {**OVER_INPUTS, **NO_EPS},
        dense("Officium/Capsules"),
    ),
    Row(
        "labmlai/annotated_deep_learning_paper_implementations",
        {"x": X, "weight": (I, J, d, D)},
        labml,
        OVER_INPUTS,
        dense("labmlai/annotated_deep_learning_paper_implementations"),
    ),
    Row(
        "adambielski/CapsNet-pytorch",
        {"x": X, "weight": (I, d, J * D), "logits": (I, J)},
        adambielski,
        {"iterations": 3, **NO_EPS},
        adambielski_ours,
    ),
    Row(
        "teju85/capsnet",
        {"x": X, "weight": (I, d, J * D)},
        partial(teju85, detach=False),
        NO_EPS,
        dense("teju85/capsnet", J=J),
    ),
    Row(
        "teju85/capsnet, `detach=True`",
        {"x": X, "weight": (I, d, J * D)},
        partial(teju85, detach=True),
        {**LAST, **NO_EPS},
        dense("teju85/capsnet", J=J),
    ),
    Row(
        "leftthomas/CapsuleLayer:shared, `dynamic`",
        {"x": X, "weight": (J, D, d)},
        leftthomas_dynamic,
        NO_EPS,
        leftthomas_ours,
    ),
    Row(
        "leftthomas/CapsuleLayer:shared, `contract` of 2018",
        {"x": X, "weight": (J, D, d)},
        leftthomas_contract,
        {**OVER_INPUTS, "logit_update": "replace", "squash": "shifted", **NO_EPS},
        dense("leftthomas/CapsuleLayer:shared"),
    ),
    Row(
        "leftthomas/CapsuleLayer:separate, `k_means`",
        {"x": X, "weight": JIOD},
        leftthomas_k_means,
        {"iterations": 4, "logit_update": "replace", "squash": "shifted", "squash_constant": 1e-30, **NO_EPS},
        leftthomas_k_means_ours,
    ),
    Row("dmlc/dgl", {"votes": (I * J, D)}, dgl, NO_EPS, dgl_ours),
]
