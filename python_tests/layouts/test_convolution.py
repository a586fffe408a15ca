"""Convolutional layouts against capsroute's own convolutional capsules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from capsroute import reference
from capsroute.layouts import convert_state_dict, module_options, votes_to_capsroute, weight_to_capsroute
from capsroute.nn import ConvCapsules2d

from .public_modules import parameter, route
from .test_state_dicts import assert_equal, random, randomized
from .test_tensors import CONVOLUTIONAL, B, D, H, I, J, K, W, d

SR_CAPSNET = "coder3000/SR-CapsNet:DynamicRouting2d"


class SrCapsNetDynamicRouting2d(nn.Module):
    """[B, A * C, H, W] to [B, B_out * D, H', W']; the window's positions run slower than the types."""

    def __init__(self) -> None:
        super().__init__()
        self.W = parameter(K * K * I, J * D, d)

    def forward(self, poses: Tensor) -> Tensor:
        unfolded = F.unfold(poses, K, stride=2, padding=1)
        positions = unfolded.shape[-1]
        inputs = unfolded.view(len(poses), I, d, K * K, positions).permute(0, 4, 3, 1, 2).flatten(2, 3)
        votes = (self.W @ inputs.unsqueeze(-1)).squeeze(-1).unflatten(-1, (J, D))  # [b, l, kkA, B, D]
        v = route(votes, 2, 3, 3).flatten(2).mT
        return v.reshape(len(poses), J * D, (H + 1) // 2, (W + 1) // 2)


def test_sr_capsnet_in_a_convolution() -> None:
    module = randomized(SrCapsNetDynamicRouting2d())
    layer = ConvCapsules2d(I, d, J, D, K, stride=2, padding=1, **module_options(SR_CAPSNET), dtype=torch.float64)
    layer.load_state_dict(convert_state_dict(module.state_dict(), SR_CAPSNET, J=J))
    poses = random(B, I * d, H, W)
    assert_equal(layer(poses.unflatten(1, (I, d))).flatten(1, 2), module(poses))


@pytest.mark.parametrize("name", ["Sarasra/models:conv", "lalonderodney/SegCaps"])
def test_joined_windows(name: str) -> None:
    shape, formula = CONVOLUTIONAL[name]
    weight, poses = random(*shape) / 5, random(B, I, d, H, W)
    layer = ConvCapsules2d(I, d, J, D, K, window="joined", share_types=True, dtype=torch.float64)
    layer.load_state_dict({"weight": weight_to_capsroute(weight, name, J=J)})
    routed = reference.route_votes(votes_to_capsroute(formula(weight, poses), name))
    assert_equal(layer(poses).movedim((1, 2), (-2, -1)).reshape(-1, J, D), routed)
