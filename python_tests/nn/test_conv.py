"""Convolutional capsules and transposed ones: against loops over positions, against torch's convolutions, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from capsroute import reference, testing
from capsroute.nn import (
    ConvCapsules1d,
    ConvCapsules2d,
    ConvCapsules3d,
    ConvTransposeCapsules1d,
    ConvTransposeCapsules2d,
    ConvTransposeCapsules3d,
    conv_base,
)

from .conv_oracle import assert_same, oracle, prepared, random_poses

# Layer, space, and the arguments of the convolution.
GEOMETRIES = [
    (ConvCapsules2d, (3, 3), {"kernel_size": 1}),
    (ConvCapsules2d, (4, 5), {"kernel_size": 3}),
    (ConvCapsules2d, (4, 5), {"kernel_size": (4, 5)}),
    (ConvCapsules2d, (4, 6), {"kernel_size": 2, "stride": 2}),
    (ConvCapsules2d, (5, 4), {"kernel_size": 3, "stride": 2, "padding": 1}),
    (ConvCapsules2d, (5, 7), {"kernel_size": (1, 3), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}),
    (ConvCapsules2d, (5, 5), {"kernel_size": 3, "dilation": 2, "padding": 2, "stride": 3}),
    (ConvCapsules1d, (7,), {"kernel_size": 3, "stride": 2, "padding": 1}),
    (ConvCapsules3d, (2, 3, 2), {"kernel_size": (2, 1, 3), "stride": (1, 2, 1), "padding": (1, 0, 1)}),
    (ConvTransposeCapsules2d, (3, 2), {"kernel_size": 1}),
    (ConvTransposeCapsules2d, (3, 2), {"kernel_size": 3, "padding": 1}),
    (ConvTransposeCapsules2d, (3, 2), {"kernel_size": 2, "stride": 2}),
    (ConvTransposeCapsules2d, (3, 2), {"kernel_size": 4, "stride": 2, "padding": 1}),
    (ConvTransposeCapsules2d, (3, 2), {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}),
    (ConvTransposeCapsules2d, (3, 2), {
        "kernel_size": (3, 5), "stride": (2, 3), "padding": (0, 2), "output_padding": (1, 2),
    }),
    (ConvTransposeCapsules2d, (3, 2), {"kernel_size": (2, 4), "stride": (1, 3), "padding": (1, 0)}),
    (ConvTransposeCapsules1d, (4,), {"kernel_size": 5, "stride": 2, "padding": 1}),
    (ConvTransposeCapsules3d, (1, 2, 2), {"kernel_size": (2, 1, 3), "stride": (2, 1, 2), "padding": (0, 0, 1)}),
]  # fmt: skip
# Both windows with each geometry, and both with weights that types share and do not.
READINGS = (
    ({"window": "separate"}, {"window": "joined", "share_types": True}),
    ({"window": "separate", "share_types": True}, {"window": "joined"}),
)


@pytest.mark.parametrize(("number", "layer_class", "space", "geometry"), [
    (number, *geometry) for number, geometry in enumerate(GEOMETRIES)
])  # fmt: skip
def test_is_routing_of_what_reaches_each_position(number, layer_class, space, geometry):
    poses = random_poses(2, 2, 2, *space)
    torchs = getattr(torch.nn, layer_class.__name__.replace("Capsules", ""))
    sizes = torchs(1, 1, **geometry)(torch.zeros(1, 1, *space)).shape[2:]
    for reading in READINGS[number % 2]:
        layer = prepared(layer_class(2, 2, 3, 3, **geometry, bias=True, **reading))
        actual = layer(poses)
        assert actual.shape == (2, 3, 3, *sizes)
        assert_same(layer, poses, actual, oracle(layer, poses, layer.padding, sizes))


@pytest.mark.parametrize(("layer_class", "geometry"), [
    (ConvCapsules2d, {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}),
    (ConvTransposeCapsules2d, {"stride": (2, 1), "padding": (1, 2), "output_padding": (1, 0)}),
])  # fmt: skip
@pytest.mark.parametrize("share", [False, True])
def test_votes_of_joined_windows_are_a_convolution(layer_class, geometry, share):
    layer = prepared(layer_class(3, 4, 5, 6, (3, 2), **geometry, bias=True, window="joined", share_types=share))
    poses = random_poses(2, 3, 4, 5, 6)
    kernels = layer.weight.unflatten(3, (3, 2, 4)).permute(0, 1, 2, 5, 3, 4).expand(3, -1, -1, -1, -1, -1)
    if layer_class is ConvCapsules2d:
        votes = [F.conv2d(poses[:, c], kernels[c].flatten(0, 1), **geometry) for c in range(3)]
    else:
        votes = [
            F.conv_transpose2d(poses[:, c], kernels[c].flatten(0, 1).transpose(0, 1), **geometry) for c in range(3)
        ]
    votes = torch.stack(votes, dim=1).unflatten(2, (5, 6)).permute(0, 4, 5, 1, 2, 3)  # [B, H', W', C, J, D]
    routed = reference.route_votes(votes.flatten(0, 2), layer.bias).unflatten(0, votes.shape[:3])
    assert_same(layer, poses, layer(poses), routed.permute(0, 3, 4, 1, 2))


@pytest.mark.parametrize(("layer_class", "geometry"), [
    (ConvCapsules2d, {"kernel_size": (5, 3), "padding": "same"}),
    (ConvCapsules1d, {"kernel_size": 5, "stride": 2}),
    (ConvCapsules3d, {"kernel_size": 2, "padding": 1}),
    (ConvTransposeCapsules2d, {"kernel_size": 4, "stride": 2, "padding": "same"}),
])  # fmt: skip
@pytest.mark.parametrize("share", [False, True])
def test_windows_that_would_be_larger_than_votes_are_not_gathered(layer_class, geometry, share, monkeypatch):
    """And the votes are routed where the convolution left them; either way the results are the same."""
    smaller, larger = (layer_class(3, 4, 2, size, window="joined", share_types=share, **geometry) for size in (3, 32))
    poses = torch.randn(2, 3, 4, *[6] * smaller.dimensions)
    gathered, routed, watched = [], [], (conv_base.route_votes, conv_base.ConvRouting.inputs)
    monkeypatch.setattr(conv_base, "route_votes", lambda *a, **k: routed.append(a[0]) or watched[0](*a, **k))
    monkeypatch.setattr(conv_base.ConvRouting, "inputs", lambda *a: gathered.append(a) or watched[1](*a))
    by_convolution = smaller(poses)
    assert not gathered
    votes = routed[0]
    assert votes.untyped_storage().nbytes() == votes.nbytes
    assert votes.stride()[-2:] == (3, 1)
    larger(poses)
    assert len(routed) == 1
    assert gathered
    monkeypatch.setattr(conv_base, "votes_are_smaller", lambda *sizes: False)
    torch.testing.assert_close(smaller(poses), by_convolution)
    assert len(routed) == 1


@pytest.mark.parametrize(("layer_class", "size", "width", "stride", "before", "count"), [
    (ConvCapsules2d, 6, 3, 1, 1, 6), (ConvCapsules2d, 6, 3, 2, 0, 3), (ConvCapsules2d, 7, 3, 2, 1, 4),
    (ConvCapsules2d, 6, 5, 2, 1, 3), (ConvCapsules2d, 5, 1, 2, 0, 3), (ConvCapsules2d, 5, 2, 1, 0, 5),
    (ConvTransposeCapsules2d, 3, 4, 2, 1, 6), (ConvTransposeCapsules2d, 3, 3, 2, 0, 6),
    (ConvTransposeCapsules2d, 2, 5, 3, 1, 6), (ConvTransposeCapsules2d, 3, 3, 1, 1, 3),
])  # fmt: skip
def test_same_padding_has_the_odd_position_at_the_end(layer_class, size, width, stride, before, count):
    layer = prepared(layer_class(2, 2, 2, 3, width, stride, "same"))
    poses = random_poses(1, 2, 2, size, size)
    assert_same(layer, poses, layer(poses), oracle(layer, poses, (before, before), (count, count)))


@pytest.mark.parametrize(("layer_class", "options"), [
    (ConvCapsules2d, {"iterations": 1, "softmax_over": "inputs"}),
    (ConvCapsules2d, {"iterations": 4, "gradient": "last", "eps": 0.25}),
    (ConvCapsules2d, {"squash": "exponential", "agreement_factor": 0.5, "temperature": (1.0, 2.0, 0.5)}),
    (ConvTransposeCapsules2d, {"iterations": 2, "gradient": "last", "leaky": True}),
], ids=str)  # fmt: skip
def test_options_reach_the_routing(layer_class, options):
    layer = prepared(layer_class(2, 3, 3, 4, 2, **options))
    poses = random_poses(2, 2, 3, 3, 4)
    actual = layer(poses)
    assert_same(layer, poses, actual, oracle(layer, poses, (0, 0), actual.shape[3:]))


def test_on_every_backend(backend):
    layer = ConvCapsules2d(2, 3, 3, 4, 3, padding=1, init_std=0.5)
    poses = torch.randn(2, 2, 3, 4, 4)
    actual = layer(poses)
    with testing.backend("reference"):
        torch.testing.assert_close(actual, layer(poses))


@pytest.mark.parametrize("window", ["separate", "joined"])
def test_a_weight_for_every_position(window):
    layer = prepared(ConvCapsules2d(2, 3, 3, 4, 2, bias=True, window=window, positions=(2, 3)))
    poses = random_poses(2, 2, 3, 3, 4)
    actual = layer(poses)
    for index in range(6):
        row, column = divmod(index, 3)
        one = prepared(ConvCapsules2d(2, 3, 3, 4, 2, bias=True, window=window))
        one.load_state_dict({"weight": layer.weight[index], "bias": layer.bias})
        alone = one(poses[..., row : row + 2, column : column + 2])
        torch.testing.assert_close(actual[..., row, column], alone[..., 0, 0], rtol=1e-12, atol=1e-13)
    gradient = torch.autograd.grad(actual[..., 1, 1].sum(), layer.weight)[0]
    assert torch.equal(gradient.flatten(1).abs().amax(1) > 0, torch.arange(6) == 4)


@pytest.mark.parametrize("own", [False, True], ids=["one weight", "a weight for every position"])
def test_one_softmax_over_positions(own):
    layer = prepared(
        ConvCapsules2d(
            2, 3, 3, 4, 2, bias=True, window="joined", jointly=True, positions=(2, 3) if own else None, iterations=3
        )
    )
    poses = random_poses(2, 2, 3, 3, 4)
    weight = layer.weight if own else layer.weight.expand(6, *layer.weight.shape)
    kernels = weight.unflatten(4, (2, 2, 3))  # [L, C, J, D, kh, kw, d]
    votes = torch.stack(
        [
            torch.einsum(
                "cjkyxd,bcdyx->bcjk", kernels[3 * row + column], poses[..., row : row + 2, column : column + 2]
            )
            for row in range(2)
            for column in range(3)
        ],
        dim=2,
    )  # [B, C, L, J, D]
    logits = torch.zeros(2, 2, 6, 3, dtype=torch.float64)
    for _ in range(3):
        coupling = torch.softmax(logits.flatten(2), dim=2).unflatten(2, (6, 3))
        s = (coupling[..., None] * votes).sum(1) + layer.bias
        squared = s.square().sum(-1, keepdim=True)
        v = squared / (1 + squared) * s / (squared + 1e-8).sqrt()
        logits = logits + (votes * v[:, None]).sum(-1)
    assert_same(layer, poses, layer(poses), v.permute(0, 2, 3, 1).unflatten(3, (2, 3)))


def test_layers_can_follow_each_other():
    first, second = (prepared(ConvCapsules2d(2, 3, 2, 3, 3, padding=1)) for _ in range(2))
    poses = random_poses(2, 2, 3, 4, 4)
    torch.testing.assert_close(second(first(poses)), second(first(poses).contiguous()), rtol=1e-13, atol=1e-13)


def test_a_window_of_one_position_reads_the_poses_in_place():
    layer = ConvCapsules2d(2, 3, 2, 3, 1)
    poses = torch.randn(2, 4, 4, 2, 3).permute(0, 3, 4, 1, 2)  # as a capsule layer leaves them
    seen = []
    layer.inputs = lambda views: seen.append(ConvCapsules2d.inputs(layer, views)) or seen[0]
    layer(poses)
    assert seen[0].data_ptr() == poses.data_ptr()


@pytest.mark.parametrize("layer", [
    ConvCapsules2d(2, 3, 4, 5, 3, padding=1, stride=2),
    ConvCapsules2d(2, 3, 4, 5, 3, padding=1, stride=2, window="joined"),
    ConvCapsules2d(2, 3, 4, 5, 3, padding=1, stride=2, window="joined", jointly=True),
    ConvCapsules2d(2, 3, 4, 5, 3, padding=1, stride=2, positions=2),
    ConvTransposeCapsules2d(2, 3, 4, 5, 2, padding=3, stride=2),
])  # fmt: skip
def test_empty_batch(layer):
    assert layer(torch.empty(0, 2, 3, 4, 4)).shape == (0, 4, 5, 2, 2)


@pytest.mark.parametrize("window", ["separate", "joined"])
def test_compiles_and_exports_without_a_break(window):
    layer = ConvCapsules2d(2, 3, 4, 5, 3, padding="same", bias=True, window=window)
    poses = torch.randn(2, 2, 3, 4, 4, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(poses), layer(poses))
    gradients = [torch.autograd.grad(run(poses).sum(), poses)[0] for run in (compiled, layer)]
    torch.testing.assert_close(*gradients)
    exported = torch.export.export(layer, (poses.detach(),)).module()
    torch.testing.assert_close(exported(poses.detach()), layer(poses))


@pytest.mark.parametrize("window", ["separate", "joined"])
def test_autocast(window):
    layer = ConvCapsules2d(2, 3, 4, 5, 3, window=window)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(torch.randn(2, 2, 3, 4, 4))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("options", "competitors"),
    [
        ({}, 20),
        ({"leaky": True}, 21),
        ({"window": "joined"}, 20),
        ({"share_types": True}, 20),
        ({"softmax_over": "inputs"}, 9 * 32),
        ({"softmax_over": "inputs", "window": "joined"}, 32),
    ],
    ids=str,
)
def test_initial_outputs_have_unit_length_before_the_squash(options, competitors):
    torch.manual_seed(0)
    layer = ConvCapsules2d(32, 8, 20, 16, 3, bias=True, **options)
    assert layer.weight.std().item() == pytest.approx(competitors / math.sqrt(9 * 32 * 16), rel=0.02)
    assert torch.equal(layer.bias, torch.zeros(20, 16))
    poses = F.normalize(torch.randn(16, 32, 8, 3, 3), dim=2)
    x = layer.inputs(poses.permute(0, 3, 4, 1, 2)[:, None, None]).flatten(0, 1)
    votes = reference.prediction_vectors(x, layer.weight)
    assert (votes.sum(dim=1) / competitors).square().sum(-1).mean().item() == pytest.approx(1, rel=0.3)


def test_initial_scale():
    """Given; and where two windows along each axis reach an output position, that of both."""
    torch.manual_seed(0)
    assert ConvCapsules2d(8, 8, 10, 16, 3, init_std=0.01).weight.std().item() == pytest.approx(0.01, rel=0.02)
    transposed = ConvTransposeCapsules2d(16, 8, 20, 16, 4, 2)
    assert transposed.weight.std().item() == pytest.approx(20 / (4 * 16 * 16) ** 0.5, rel=0.02)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"in_capsules": 0}, ValueError, "in_capsules must be at least 1, got 0"),
    ({"in_size": 0}, ValueError, "in_size must be at least 1, got 0"),
    ({"out_capsules": -1}, ValueError, "out_capsules must be at least 1, got -1"),
    ({"out_size": 1.5}, TypeError, "out_size must be an int"),
    ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
    ({"kernel_size": (3, 3, 3)}, ValueError, r"kernel_size must be an int or a sequence of 2 ints, got \(3, 3, 3\)"),
    ({"kernel_size": "3"}, TypeError, "kernel_size must be an int or a sequence of 2 ints, got str"),
    ({"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    ({"stride": True}, TypeError, "stride must be an int or a sequence of 2 ints, got bool"),
    ({"padding": -1}, ValueError, "padding must be at least 0, got -1"),
    ({"padding": "valid"}, ValueError, "padding must be 'same', an int or a sequence of 2 ints, got 'valid'"),
    ({"window": "both"}, ValueError, "window must be one of 'separate', 'joined', got 'both'"),
], ids=str)  # fmt: skip
def test_bad_arguments_of_both(arguments, error, message):
    sizes = {"in_capsules": 2, "in_size": 3, "out_capsules": 2, "out_size": 3, "kernel_size": 3}
    for layer_class in (ConvCapsules2d, ConvTransposeCapsules2d):
        with pytest.raises(error, match=message):
            layer_class(**{**sizes, **arguments})


@pytest.mark.parametrize(("layer_class", "arguments", "error", "message"), [
    (ConvCapsules2d, {"dilation": (1, 0)}, ValueError, r"dilation\[1\] must be at least 1, got 0"),
    (ConvCapsules2d, {"positions": 0}, ValueError, "positions must be at least 1, got 0"),
    (ConvCapsules2d, {"jointly": True}, ValueError, "jointly needs window='joined'"),
    (ConvCapsules2d, {"jointly": True, "window": "joined", "softmax_over": "inputs"}, ValueError,
     "jointly needs a softmax over outputs"),
    (ConvTransposeCapsules2d, {"kernel_size": 1}, ValueError, r"kernel_size must not be below stride=\(2, 2\)"),
    (ConvTransposeCapsules2d, {"output_padding": 2}, ValueError,
     r"output_padding must be below stride=\(2, 2\), got \(2, 2\)"),
    (ConvTransposeCapsules2d, {"output_padding": -1}, ValueError, "output_padding must be at least 0, got -1"),
    (ConvTransposeCapsules2d, {"padding": "same", "output_padding": 1}, ValueError,
     "output_padding must be 0 with padding='same'"),
    (ConvTransposeCapsules2d, {"jointly": True}, TypeError, "unknown routing option 'jointly'"),
])  # fmt: skip
def test_bad_arguments_of_one(layer_class, arguments, error, message):
    sizes = {"in_capsules": 2, "in_size": 3, "out_capsules": 2, "out_size": 3, "kernel_size": 4, "stride": 2}
    with pytest.raises(error, match=message):
        layer_class(**{**sizes, **arguments})


def test_bad_poses():
    joined = ConvCapsules2d(2, 3, 2, 3, 3, window="joined")
    with pytest.raises(TypeError, match=r"weight must have the dtype of poses, torch.float64, got torch.float32"):
        joined(torch.zeros(1, 2, 3, 4, 4, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"poses must be float32, .* got torch.int64"):
        joined(torch.zeros(1, 2, 3, 4, 4, dtype=torch.int64))
    layer = ConvCapsules2d(2, 3, 2, 3, 3)
    with pytest.raises(ValueError, match=r"poses must have the shape \[B, 2, 3, H, W\], got \[1, 3, 2, 4, 4\]"):
        layer(torch.zeros(1, 3, 2, 4, 4))
    with pytest.raises(ValueError, match=r"poses must have the shape \[B, 2, 3, H, W\], got \[1, 6, 4, 4\]"):
        layer(torch.zeros(1, 6, 4, 4))
    with pytest.raises(ValueError, match=r"kernel_size=\(3, 3\) with .* does not fit into the space \(2, 4\)"):
        layer(torch.zeros(1, 2, 3, 2, 4))
    with pytest.raises(ValueError, match=r"positions=\(2, 2\) of this layer do not fit those of poses, \(2, 3\)"):
        ConvCapsules2d(2, 3, 2, 3, 3, positions=2)(torch.zeros(1, 2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"\[B, 2, 3, W\]"):
        ConvCapsules1d(2, 3, 2, 3, 3)(torch.zeros(1, 2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"poses must have the shape \[B, 2, 3, H, W\], got \[1, 3, 2, 4, 4\]"):
        ConvTransposeCapsules2d(2, 3, 2, 3, 4, 2)(torch.zeros(1, 3, 2, 4, 4))
    with pytest.raises(ValueError, match=r"poses of the space \(1, 1\) leave an output of the size \(-2, -2\)"):
        ConvTransposeCapsules2d(2, 3, 2, 3, 4, 2, padding=3)(torch.zeros(1, 2, 3, 1, 1))


def test_repr_names_every_option():
    text = repr(ConvCapsules2d(2, 3, 4, 5, 3, 2, "same", bias=True, window="joined", share_types=True, leaky=True))
    for part in ("2, 3, 4, 5", "(3, 3)", "stride=(2, 2)", "bias=True", "'joined'", "share_types=True", "leaky=True"):
        assert part in text
    assert "padding='same'" in text
    assert "padding=(1, 1), output_padding=(1, 1)" in repr(ConvTransposeCapsules2d(2, 3, 4, 5, 4, 2, 1, 1))
