"""Convolutional capsule layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from capsroute.layouts import weight_to_capsroute
from capsroute.nn import ConvCapsules2d, ConvTransposeCapsules2d

from .loops import route
from .row import Row

B, C, d, J, D, K, SIDE = 2, 3, 4, 5, 3, 3, 4  # K: window, SIDE: of the map of poses


def _routed(votes: Tensor, bias: Tensor, leaky: bool) -> Tensor:
    """``votes [B, C, J, D, h, w]`` and a bias that fits; a softmax over J at each position by itself."""
    return route(votes.movedim(3, -1), 1, 2, bias=bias.movedim(1, -1), leaky=leaky).movedim(-1, 2)


def sarasra_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``conv_slim_capsule`` with stride 2: ``x [B, C, d, H, W]``, ``weight [k, k, d, J·D]`` for all types.

    On an even side TensorFlow's "SAME" puts the one position of padding at the end.
    """
    maps = F.pad(x.flatten(0, 1), (0, 1, 0, 1))
    votes = F.conv2d(maps, weight.permute(3, 2, 0, 1), stride=2).unflatten(1, (J, D)).unflatten(0, (B, C))
    return _routed(votes, bias, leaky=True)


def sarasra_conv_ours(x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Tensor:
    layer = ConvCapsules2d(
        C, d, J, D, K, 2, "same", bias=True, window="joined", share_types=True, device="meta", **options
    )
    weight = weight_to_capsroute(weight, "Sarasra/models:conv", J=J)
    return torch.func.functional_call(layer, {"weight": weight, "bias": bias.view(J, D)}, (x,))


def segcaps(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``ConvCapsuleLayer``, channels last: ``x [B, H, W, C, d]``, ``weight [k, k, d, J·D]``, ``bias [1, 1, J, D]``."""
    maps = x.permute(0, 3, 4, 1, 2).flatten(0, 1)
    votes = F.conv2d(maps, weight.permute(3, 2, 0, 1), padding=1).unflatten(1, (J, D)).unflatten(0, (B, C))
    return _routed(votes, bias.view(J, D, 1, 1), leaky=False).permute(0, 3, 4, 1, 2)


def segcaps_ours(x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Tensor:
    layer = ConvCapsules2d(
        C, d, J, D, K, 1, "same", bias=True, window="joined", share_types=True, device="meta", **options
    )
    weight = weight_to_capsroute(weight, "lalonderodney/SegCaps", J=J)
    return _channels_last(layer, x, weight, bias)


def segcaps_deconv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``DeconvCapsuleLayer`` with a window of 4 and twice as many positions: ``weight [4, 4, J·D, d]``."""
    maps = x.permute(0, 3, 4, 1, 2).flatten(0, 1)
    votes = F.conv_transpose2d(maps, weight.permute(3, 2, 0, 1), stride=2, padding=1)
    votes = votes.unflatten(1, (J, D)).unflatten(0, (B, C))
    return _routed(votes, bias.view(J, D, 1, 1), leaky=False).permute(0, 3, 4, 1, 2)


def segcaps_deconv_ours(x: Tensor, weight: Tensor, bias: Tensor, **options: Any) -> Tensor:
    layer = ConvTransposeCapsules2d(
        C, d, J, D, 4, 2, "same", bias=True, window="joined", share_types=True, device="meta", **options
    )
    return _channels_last(layer, x, weight_to_capsroute(weight, "h,w,JD,d->1,J,D,hwd", J=J), bias)


def _channels_last(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    poses = torch.func.functional_call(layer, {"weight": weight, "bias": bias.view(J, D)}, (x.permute(0, 3, 4, 1, 2),))
    return poses.permute(0, 3, 4, 1, 2)


def sr_capsnet(x: Tensor, weight: Tensor) -> Tensor:
    """``DynamicRouting2d``: ``x [B, C·d, H, W]``, ``weight [k·k·C, J·D, d]``: a capsule for each place of a window."""
    windows = F.unfold(x, K).view(B, C, d, K * K, -1).permute(0, 4, 3, 1, 2).flatten(2, 3)  # [B, l, k·k·C, d]
    votes = (weight @ windows[..., None]).view(B, -1, K * K * C, J, D)
    return route(votes, 2, 3).flatten(2).transpose(1, 2).unflatten(2, (SIDE - K + 1, -1))


def sr_capsnet_ours(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
    layer = ConvCapsules2d(C, d, J, D, K, device="meta", **options)
    weight = weight_to_capsroute(weight, "coder3000/SR-CapsNet", J=J)
    poses = torch.func.functional_call(layer, {"weight": weight}, (x.unflatten(1, (C, d)),))
    return poses.flatten(1, 2)


NO_EPS: dict[str, Any] = {"eps": 0}
MAPS = {"x": (B, SIDE, SIDE, C, d), "bias": (1, 1, J, D)}

ROWS = [
    Row(
        "Sarasra/models:conv, `leaky=True`",
        {"x": (B, C, d, SIDE, SIDE), "weight": (K, K, d, J * D), "bias": (J, D, 1, 1)},
        sarasra_conv,
        {"leaky": True, **NO_EPS},
        sarasra_conv_ours,
        lengths=1.0,  # longer votes enlarge rounding a hundred times in some draws
    ),
    Row("lalonderodney/SegCaps", {**MAPS, "weight": (K, K, d, J * D)}, segcaps, NO_EPS, segcaps_ours),
    Row(
        "lalonderodney/SegCaps, `DeconvCapsuleLayer`",
        {**MAPS, "weight": (4, 4, J * D, d)},
        segcaps_deconv,
        NO_EPS,
        segcaps_deconv_ours,
    ),
    Row(
        "coder3000/SR-CapsNet",
        {"x": (B, C * d, SIDE, SIDE), "weight": (K * K * C, J * D, d)},
        sr_capsnet,
        NO_EPS,
        sr_capsnet_ours,
    ),
]
