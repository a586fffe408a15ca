"""What all networks for images have in common: they route as the reference does, learn, and survive black images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from capsroute import testing
from capsroute.models import CapsNet, DeepCaps, PoolingCNN, ResNetCapsules, SegCaps, compact_options
from capsroute.nn import margin_loss
from capsroute.training.datasets import load_digits


class Case(NamedTuple):
    """A small network for images of 8x8 pixels, and how far its loss falls in some steps of Adam."""

    make: Callable[..., nn.Module]
    loss: Callable[[Any, Tensor, Tensor], Tensor]  # of an output, images and labels
    rate: float = 3e-3
    steps: int = 30
    left: float = 0.2


def margin(output, images, labels):
    wrong = margin_loss(output.lengths, labels)
    return wrong if output.reconstruction is None else wrong + 0.4 * F.mse_loss(output.reconstruction, images)


def likelihood(output, images, labels):
    return F.nll_loss((output.lengths / output.lengths.sum(1, keepdim=True)).log(), labels)


def crossentropy(output, images, labels):
    return F.cross_entropy(output.scores, labels) + F.mse_loss(output.reconstruction, images)


def segmentation(output, images, labels):
    object_ = (images[:, 0] > 0.4).to(images.dtype)
    wrong = F.binary_cross_entropy(output.lengths.clamp(1e-6, 1 - 1e-6), object_)
    return wrong + F.mse_loss(output.reconstruction, images * object_.unsqueeze(1))


_RESNET = partial(ResNetCapsules, in_channels=1, image_size=8, blocks=1, planes=4, types=4, size=4, depth=2)
CASES = {
    "CapsNet": Case(
        partial(
            CapsNet,
            image_size=8,
            conv_channels=8,
            conv_kernel=3,
            primary_types=4,
            primary_kernel=3,
            decoder_sizes=(32,),
        ),
        margin,
        rate=1e-2,
    ),
    "DeepCaps": Case(partial(DeepCaps, image_size=8, types=4, class_size=8), margin),
    "ResNetCapsules": Case(_RESNET, margin),
    "ResNetCapsules, likelihood": Case(_RESNET, likelihood),
    "SegCaps": Case(partial(SegCaps, types=1, size=4), segmentation, rate=1e-2, left=0.5),
    "PoolingCNN": Case(
        partial(PoolingCNN, image_size=8, channels=(6, 12), kernel=3, hidden=(20, 8), decoder_sizes=(16,), dropout=0.0),
        crossentropy,
        rate=1e-2,
        steps=100,
    ),
}
ROUTED = [name for name in CASES if name != "PoolingCNN" and "likelihood" not in name]


@pytest.mark.parametrize("name", CASES)
def test_learns(name: str) -> None:
    torch.manual_seed(0)
    make, loss, rate, steps, left = CASES[name]
    model = make()
    images, labels = load_digits().train.batch(slice(32))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model(images), images, labels)
        value.backward()
        optimizer.step()
        seen.append(value.item())
    assert seen[-1] < left * seen[0]


@pytest.mark.parametrize("name", ROUTED)
def test_fused_and_reference_routing_agree(name: str) -> None:
    torch.manual_seed(0)
    model = CASES[name].make(dtype=torch.float64)
    images, labels = torch.rand(4, 1, 8, 8, dtype=torch.float64), torch.tensor([1, 2, 3, 4])
    results = []
    for backend in ("cpu", "reference"):
        with testing.backend(backend):
            output = model(images)
            loss = CASES[name].loss(output, images, labels)
            results.append([output.capsules, *torch.autograd.grad(loss, list(model.parameters()))])
    for fused, reference in zip(*results, strict=True):
        torch.testing.assert_close(fused, reference, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ROUTED)
def test_black_images_give_finite_gradients(name: str) -> None:
    model = CASES[name].make()
    output = model(torch.zeros(2, 1, 8, 8))
    sum(part.sum() for part in output[1:] if part is not None).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ROUTED)
def test_unknown_options(name: str) -> None:
    with pytest.raises(TypeError, match="unknown routing option 'routings'"):
        CASES[name].make(routings=3)


def test_the_compact_network_has_few_inputs_for_any_size():
    for height, width in (
        (1, 1),
        (8, 8),
        (23, 23),
        (24, 24),
        (28, 28),
        (64, 64),
        (96, 24),
        (97, 24),
        (224, 224),
        (30, 1000),
    ):
        with torch.device("meta"):
            network = CapsNet(**compact_options((3, height, width)), classes=2)
        inputs = network.primary(network.conv(torch.empty(2, 3, height, width, device="meta")))
        assert inputs.shape[1] == network.classes.weight.shape[0] <= 512
