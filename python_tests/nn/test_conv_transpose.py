"""ConvTransposeCapsules1d, 2d and 3d: against loops over positions, against torch's convolution, and bad input."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from capsroute import reference
from capsroute.nn import ConvTransposeCapsules1d, ConvTransposeCapsules2d, ConvTransposeCapsules3d

from .conv_oracle import assert_same, prepared, random_poses, transposed

GEOMETRIES = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    {"kernel_size": (3, 5), "stride": (2, 3), "padding": (0, 2), "output_padding": (1, 2)},
    {"kernel_size": (2, 4), "stride": (1, 3), "padding": (1, 0)},
]
READINGS = [(window, share) for window in ("separate", "joined") for share in (False, True)]


def expected_sizes(space, kernel_size, stride=1, padding=0, output_padding=0):
    """What torch's own layer leaves."""
    layer = torch.nn.ConvTranspose2d(1, 1, kernel_size, stride, padding, output_padding)
    return tuple(layer(torch.zeros(1, 1, *space)).shape[2:])


def pair(value):
    return (value, value) if isinstance(value, int) else value


@pytest.mark.parametrize(("window", "share"), READINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_is_routing_of_what_reaches_each_position(geometry, window, share):
    layer = prepared(ConvTransposeCapsules2d(2, 2, 3, 3, **geometry, bias=True, window=window, share_types=share))
    poses = random_poses(2, 2, 2, 3, 2)
    sizes = expected_sizes((3, 2), **geometry)
    actual = layer(poses)
    assert actual.shape == (2, 3, 3, *sizes)
    assert_same(layer, poses, actual, transposed(layer, poses, pair(geometry.get("padding", 0)), sizes))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_votes_of_joined_kernels_are_a_transposed_convolution(geometry, share):
    layer = prepared(ConvTransposeCapsules2d(3, 4, 5, 6, **geometry, bias=True, window="joined", share_types=share))
    poses = random_poses(2, 3, 4, 4, 5)
    kernels = layer.weight.unflatten(3, (*layer.kernel_size, 4)).permute(0, 5, 1, 2, 3, 4).expand(3, *[-1] * 5)
    keywords = {name: value for name, value in geometry.items() if name != "kernel_size"}
    votes = [F.conv_transpose2d(poses[:, c], kernels[c].flatten(1, 2), **keywords) for c in range(3)]
    votes = torch.stack(votes, dim=1).unflatten(2, (5, 6)).permute(0, 4, 5, 1, 2, 3)  # [B, H', W', C, J, D]
    routed = reference.route_votes(votes.flatten(0, 2), layer.bias).unflatten(0, votes.shape[:3])
    assert_same(layer, poses, layer(poses), routed.permute(0, 3, 4, 1, 2))


@pytest.mark.parametrize(("width", "stride", "before"), [(4, 2, 1), (3, 2, 0), (2, 2, 0), (5, 3, 1), (3, 1, 1)])
def test_same_padding_multiplies_the_sizes(width, stride, before):
    layer = prepared(ConvTransposeCapsules2d(2, 2, 2, 3, width, stride, "same"))
    poses = random_poses(1, 2, 2, 2, 3)
    sizes = (2 * stride, 3 * stride)
    assert_same(layer, poses, layer(poses), transposed(layer, poses, (before, before), sizes))


def test_options_reach_the_routing():
    options = {"iterations": 2, "gradient": "last", "leaky": True}
    layer = prepared(ConvTransposeCapsules2d(2, 3, 3, 4, 4, 2, 1, **options))
    poses = random_poses(2, 2, 3, 2, 2)
    assert_same(layer, poses, layer(poses), transposed(layer, poses, (1, 1), (4, 4)))


def test_one_axis():
    layer = prepared(ConvTransposeCapsules1d(2, 3, 3, 4, 5, 2, 1, bias=True))
    poses = random_poses(2, 2, 3, 4)
    assert_same(layer, poses, layer(poses), transposed(layer, poses, (1,), (9,)))


@pytest.mark.parametrize("window", ["separate", "joined"])
def test_three_axes(window):
    layer = prepared(ConvTransposeCapsules3d(2, 2, 2, 2, (2, 1, 3), (2, 1, 2), (0, 0, 1), window=window))
    poses = random_poses(1, 2, 2, 1, 2, 2)
    assert_same(layer, poses, layer(poses), transposed(layer, poses, (0, 0, 1), (2, 2, 3)))


def test_empty_batch():
    assert ConvTransposeCapsules2d(2, 3, 4, 5, 4, 2, "same")(torch.empty(0, 2, 3, 2, 3)).shape == (0, 4, 5, 4, 6)


def test_a_kernel_that_is_covered_twice_starts_at_the_scale_of_both():
    torch.manual_seed(0)
    layer = ConvTransposeCapsules2d(16, 8, 20, 16, 4, 2)  # 2x2 positions reach each output position
    assert layer.weight.std().item() == pytest.approx(20 / (4 * 16 * 16) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel_size": 1, "stride": 2}, ValueError, r"kernel_size must not be below stride=\(2, 2\)"),
        ({"output_padding": 2}, ValueError, r"output_padding must be below stride=\(2, 2\), got \(2, 2\)"),
        ({"output_padding": -1}, ValueError, "output_padding must be at least 0, got -1"),
        ({"padding": "same", "output_padding": 1}, ValueError, "output_padding must be 0 with padding='same'"),
        ({"padding": "full"}, ValueError, "padding must be 'same', an int or a sequence of 2 ints, got 'full'"),
        ({"window": None}, ValueError, "window must be one of 'separate', 'joined', got None"),
        ({"out_size": 0}, ValueError, "out_size must be at least 1, got 0"),
        ({"jointly": True}, TypeError, "unknown routing option 'jointly'"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1, got 0"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    sizes = {"in_capsules": 2, "in_size": 3, "out_capsules": 2, "out_size": 3, "kernel_size": 4, "stride": 2}
    with pytest.raises(error, match=message):
        ConvTransposeCapsules2d(**{**sizes, **arguments})


def test_bad_poses():
    with pytest.raises(ValueError, match=r"poses must have the shape \[B, 2, 3, H, W\], got \[1, 3, 2, 4, 4\]"):
        ConvTransposeCapsules2d(2, 3, 2, 3, 4, 2)(torch.zeros(1, 3, 2, 4, 4))
    with pytest.raises(ValueError, match=r"poses of the space \(1, 1\) leave an output of the size \(-2, -2\)"):
        ConvTransposeCapsules2d(2, 3, 2, 3, 4, 2, padding=3)(torch.zeros(1, 2, 3, 1, 1))


def test_repr_names_every_option():
    text = repr(ConvTransposeCapsules2d(2, 3, 4, 5, 4, 2, 1, 1, window="joined"))
    for part in ("2, 3, 4, 5", "(4, 4)", "stride=(2, 2)", "'joined'", "padding=(1, 1)", "output_padding=(1, 1)"):
        assert part in text
