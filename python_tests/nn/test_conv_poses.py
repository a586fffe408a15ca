"""primary_poses: which channels make a capsule on a grid."""

from __future__ import annotations

import pytest
import torch

from capsroute.nn import PrimaryCapsules, primary_poses, squash


def test_a_capsule_is_a_group_of_channels_at_one_position():
    maps = torch.randn(2, 6, 3, 4)
    poses = primary_poses(maps, 2)
    assert poses.shape == (2, 2, 3, 3, 4)
    torch.testing.assert_close(poses[1, 1, :, 2, 3], squash(maps[1, 3:, 2, 3]))


def test_are_the_primary_capsules_on_their_grid():
    primary = PrimaryCapsules(3, types=4, size=2, kernel_size=3, stride=1, eps=0.5)
    features = torch.randn(2, 3, 5, 6)
    poses = primary_poses(primary.conv(features), 4, eps=0.5)  # [B, C, d, H, W]
    torch.testing.assert_close(poses.permute(0, 3, 4, 1, 2).flatten(1, 3), primary(features))


def test_every_squash():
    maps = torch.randn(2, 6, 3, 4)
    poses = primary_poses(maps, 2, 0.1, "shifted", 0.25)
    torch.testing.assert_close(poses[0, 1, :, 1, 1], squash(maps[0, 3:, 1, 1], 0.1, "shifted", 0.25))


def test_bad_arguments():
    with pytest.raises(
        ValueError, match=r"maps must have a multiple of types=4 channels, got the shape \[2, 6, 3, 3\]"
    ):
        primary_poses(torch.zeros(2, 6, 3, 3), 4)
    with pytest.raises(ValueError, match="types=0"):
        primary_poses(torch.zeros(2, 6, 3, 3), 0)
    with pytest.raises(TypeError, match="floating-point"):
        primary_poses(torch.zeros(2, 6, 3, 3, dtype=torch.int64), 2)
    with pytest.raises(ValueError, match=r"eps must be .* got -1\.0"):
        primary_poses(torch.zeros(2, 6, 3, 3), 2, eps=-1.0)
