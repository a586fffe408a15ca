"""Random affine maps: each factor alone, and all of them."""

from __future__ import annotations

import pytest
import torch

from capsroute.experiments.data.affine import affine
from capsroute.training.datasets import ImageSet
from python_tests.experiments.data.doubles import marked_images

NOTHING = {"degrees": 0.0, "shear": 0.0, "scale": (1.0, 1.0)}


def bars(count):
    """A white upright bar of 14x3 pixels in the middle of 28x28."""
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 7:21, 13:16] = 255
    return ImageSet(images, torch.arange(count) % 10)


def moments(images):
    """Ink, its centre ``[N, 2]`` (x, y) from the middle, and its covariance ``[N, 2, 2]``, in pixels."""
    ink = images[:, 0].double() / 255
    axis = torch.arange(ink.shape[-1]) - (ink.shape[-1] - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y]).flatten(1).double()  # [2, pixels]
    ink = ink.flatten(1)
    mass = ink.sum(dim=1)
    centre = ink @ grid.T / mass[:, None]
    off = grid[None] - centre[:, :, None]
    return mass, centre, torch.einsum("np,nap,nbp->nab", ink, off, off) / mass[:, None, None]


def lean(covariance):
    """Angle of the long axis against the upright, in degrees; positive where the top leans to the left."""
    return -torch.rad2deg(torch.atan2(2 * covariance[:, 0, 1], covariance[:, 1, 1] - covariance[:, 0, 0]) / 2)


def test_no_map_only_moves():
    data = bars(300)
    mass, centre, covariance = moments(affine(data, 0, **NOTHING).images)
    assert torch.allclose(mass, torch.tensor(42.0).double(), rtol=0.02)
    # 40 pixels leave 26 and 37 free for a bar of 14x3; its centre is uniform over them.
    for along, free in ((0, 37), (1, 26)):
        assert abs(centre[:, along].mean()) < 1.5
        assert 0.96 * free / 2 < centre[:, along].abs().max() <= free / 2 + 0.01
    assert lean(covariance).abs().max() < 1


def test_scales():
    mass, _, covariance = moments(affine(bars(300), 0, **NOTHING | {"scale": (0.8, 1.2)}).images)
    assert 0.64 * 42 * 0.97 < mass.min() < 0.75 * 42
    assert 1.35 * 42 < mass.max() < 1.44 * 42 * 1.03
    height = (12 * covariance[:, 1, 1]).sqrt()
    width = (12 * covariance[:, 0, 0]).sqrt()
    assert torch.corrcoef(torch.stack([height, width]))[0, 1].abs() < 0.2  # each axis has its own


def test_rotations():
    mass, _, covariance = moments(affine(bars(300), 0, **NOTHING | {"degrees": 20.0}).images)
    assert torch.allclose(mass, torch.tensor(42.0).double(), rtol=0.03)
    angles = lean(covariance)
    assert -20.5 < angles.min() < -18
    assert 18 < angles.max() < 20.5


def test_shears():
    mass, _, covariance = moments(affine(bars(300), 0, **NOTHING | {"shear": 0.2}).images)
    assert torch.allclose(mass, torch.tensor(42.0).double(), rtol=0.03)
    columns_per_row = covariance[:, 0, 1] / covariance[:, 1, 1]
    assert 0.18 < columns_per_row.max() < 0.21
    assert -0.21 < columns_per_row.min() < -0.18
    height = (12 * covariance[:, 1, 1]).sqrt()
    assert (height - height.mean()).abs().max() < 0.3  # a rotation would lower it


def test_all_ink_stays_inside():
    """A digit's ink is 20x20; nothing of it is cut off, wherever it goes and however large it becomes."""
    images = torch.zeros(500, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 4:24, 4:24] = 255
    mass, _, _ = moments(affine(ImageSet(images, torch.zeros(500, dtype=torch.int64)), 0).images)
    # Scale alone decides the ink: from 0.64 to 1.44 of what it was.
    assert mass.min() > 400 * 0.64 * 0.99
    alone = moments(affine(ImageSet(images, torch.zeros(500, dtype=torch.int64)), 0, side=100).images)[0]
    assert torch.allclose(mass, alone, rtol=0.01)


def test_a_place_within_reach():
    """The middle stays within reach of the canvas's middle, but ink that would be cut off is moved inside."""
    near = moments(affine(bars(300), 0, **NOTHING, reach=6).images)[1] - moments(bars(300).images)[1]
    assert 5.8 < near.abs().max() <= 6.01
    far = moments(affine(bars(300), 0, **NOTHING, reach=30).images)
    assert torch.allclose(far[0], torch.tensor(42.0).double(), rtol=0.02)
    assert far[1].abs().amax(dim=0).tolist() == pytest.approx([18.5, 13], abs=0.05)
    same = moments(affine(bars(300), 0, degrees=20, reach=6).images)[2]
    assert torch.allclose(lean(same), lean(moments(affine(bars(300), 0, degrees=20).images)[2]), atol=1.0)


def test_labels_dtype_and_seed():
    data = marked_images(30)
    mapped = affine(data, 7)
    assert mapped.images.dtype == torch.uint8
    assert mapped.image_shape == (1, 40, 40)
    assert torch.equal(mapped.labels, data.labels)
    assert torch.equal(mapped.images, affine(data, 7).images)
    assert not torch.equal(mapped.images, affine(data, 8).images)


def test_an_empty_image_and_no_image():
    assert (
        int(affine(ImageSet(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(2).long()), 0).images.sum()) == 0
    )
    assert len(affine(marked_images(0), 0)) == 0
