"""PrimaryCapsules and primary_poses: which channels make a capsule, and in which order capsules come."""

from __future__ import annotations

import pytest
import torch

from capsroute.nn import PrimaryCapsules, primary_poses, squash


def test_a_capsule_is_a_group_of_channels_at_one_position():
    primary = PrimaryCapsules(3, types=4, size=2, kernel_size=2, stride=1)
    features = torch.randn(5, 3, 4, 6)
    maps = primary.conv(features)  # [5, 8, 3, 5]
    capsules = primary(features)
    assert capsules.shape == (5, 3 * 5 * 4, 2)
    for row, column, kind in [(0, 0, 0), (2, 4, 3), (1, 2, 1)]:
        index = (row * 5 + column) * 4 + kind
        expected = squash(maps[:, 2 * kind : 2 * kind + 2, row, column])
        torch.testing.assert_close(capsules[:, index], expected)


def test_sizes_of_the_paper():
    primary = PrimaryCapsules(256)
    assert primary(torch.randn(2, 256, 20, 20)).shape == (2, 1152, 8)


def test_zero_features_give_finite_gradients():
    primary = PrimaryCapsules(2, types=2, size=4, kernel_size=3, stride=1)
    torch.nn.init.zeros_(primary.conv.bias)
    features = torch.zeros(1, 2, 5, 5, requires_grad=True)
    primary(features).sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(primary.conv.weight.grad).all()


def test_memory_format_does_not_matter():
    primary = PrimaryCapsules(3, types=4, size=2, kernel_size=3, stride=2).double()
    features = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    plain = primary(features)
    torch.testing.assert_close(primary.to(memory_format=torch.channels_last)(features), plain)


def test_empty_batch():
    assert PrimaryCapsules(3, types=2, size=4, kernel_size=3, stride=1)(torch.empty(0, 3, 5, 5)).shape == (0, 18, 4)


@pytest.mark.parametrize("name", ["types", "size"])
def test_bad_sizes(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        PrimaryCapsules(3, **{name: 0})


def test_repr():
    assert "types=32, size=8, eps=1e-08" in repr(PrimaryCapsules(4))


def test_poses_are_the_primary_capsules_on_their_grid():
    primary = PrimaryCapsules(3, types=4, size=2, kernel_size=3, stride=1, eps=0.5)
    features = torch.randn(2, 3, 5, 6)
    poses = primary_poses(primary.conv(features), 4, eps=0.5)
    assert poses.shape == (2, 4, 2, 3, 4)
    torch.testing.assert_close(poses.permute(0, 3, 4, 1, 2).flatten(1, 3), primary(features))


def test_poses_with_every_squash():
    maps = torch.randn(2, 6, 3, 4)
    poses = primary_poses(maps, 2, 0.1, "shifted", 0.25)
    torch.testing.assert_close(poses[0, 1, :, 1, 1], squash(maps[0, 3:, 1, 1], 0.1, "shifted", 0.25))


def test_poses_of_bad_arguments():
    with pytest.raises(
        ValueError, match=r"maps must have a multiple of types=4 channels, got the shape \[2, 6, 3, 3\]"
    ):
        primary_poses(torch.zeros(2, 6, 3, 3), 4)
    with pytest.raises(ValueError, match="types must be at least 1, got 0"):
        primary_poses(torch.zeros(2, 6, 3, 3), 0)
    with pytest.raises(TypeError, match="maps must be float32"):
        primary_poses(torch.zeros(2, 6, 3, 3, dtype=torch.int64), 2)
    with pytest.raises(ValueError, match=r"eps must be .* got -1\.0"):
        primary_poses(torch.zeros(2, 6, 3, 3), 2, eps=-1.0)


def test_one_image_without_a_batch() -> None:
    with pytest.raises(ValueError, match=r"features must have 4 dimensions \[B, C, H, W\]"):
        PrimaryCapsules(1, 2, 4, 3)(torch.zeros(1, 5, 5))
