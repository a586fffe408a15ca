"""CapsNet: the sizes of the paper and its options."""

from __future__ import annotations

import pytest
import torch

from capsroute.models import PRESETS, CapsNet

from . import count

SMALL = {"image_size": 9, "conv_channels": 6, "conv_kernel": 3, "primary_types": 3, "primary_kernel": 3}


def test_parameters_of_the_paper():
    model = CapsNet()
    assert (model.classes.in_capsules, model.classes.in_size) == (1152, 8)
    assert model.classes.weight.shape == (1152, 10, 16, 8)
    assert count(model) == 8_215_568  # "8.2M" in the paper, section 5
    assert count(CapsNet(decoder_sizes=None)) == 6_804_224  # "6.8M"


def test_shapes_of_the_paper():
    with torch.no_grad():
        output = CapsNet()(torch.rand(2, 1, 28, 28))
    assert output.capsules.shape == (2, 10, 16)
    assert output.lengths.shape == (2, 10)
    assert output.reconstruction.shape == (2, 1, 28, 28)
    torch.testing.assert_close(output.lengths, output.capsules.norm(dim=-1))


def test_digits_preset():
    model = CapsNet(**PRESETS["digits"])
    assert model.classes.in_capsules == 4 * 4 * 8
    assert model(torch.rand(3, 1, 8, 8)).reconstruction.shape == (3, 1, 8, 8)


def test_every_size_is_an_argument():
    model = CapsNet(
        in_channels=3,
        image_size=(12, 20),
        conv_channels=5,
        conv_kernel=4,
        conv_stride=2,
        conv_padding=1,
        primary_types=3,
        primary_size=7,
        primary_kernel=3,
        primary_stride=1,
        primary_padding=1,
        classes=4,
        capsule_size=6,
        decoder_sizes=(11,),
    )
    output = model(torch.rand(2, 3, 12, 20))
    assert model.classes.in_capsules == 6 * 10 * 3
    assert output.capsules.shape == (2, 4, 6)
    assert output.reconstruction.shape == (2, 3, 12, 20)


def test_routing_options_reach_the_class_capsules():
    options = {"iterations": 2, "softmax_over": "inputs", "gradient": "last", "eps": 0.5}
    layer = CapsNet(**SMALL, **options, routing="reference").classes
    assert {name: getattr(layer.options, name) for name in options} == options
    assert layer.routing == "reference"
    model = CapsNet(**SMALL, leaky=True, bias=True, learnable_logits=True, shared_weight=True)
    assert model.classes.options.leaky
    assert model.classes.bias.shape == (10, 16)
    assert model.classes.logits.shape == (27, 10)
    assert model.classes.weight.shape == (3, 10, 16, 8)
    assert model.routing == "fused"
    model.routing = "reference"
    assert model.classes.routing == "reference"


def test_labels_choose_what_is_reconstructed_and_nothing_else():
    model = CapsNet(**SMALL)
    images = torch.rand(3, 1, 9, 9)
    predicted, told = model(images), model(images, torch.tensor([0, 1, 2]))
    assert torch.equal(predicted.lengths, told.lengths)
    longest = model(images, predicted.lengths.argmax(dim=1))
    assert torch.equal(predicted.reconstruction, longest.reconstruction)
    assert not torch.equal(predicted.reconstruction, told.reconstruction)


def test_reconstruction_can_be_left_out():
    images = torch.rand(2, 1, 9, 9)
    assert CapsNet(**SMALL)(images, reconstruct=False).reconstruction is None
    assert CapsNet(**SMALL, decoder_sizes=None)(images).reconstruction is None


@pytest.mark.parametrize("routing", ["fused", "reference"])
def test_autocast(routing):
    model = CapsNet(**SMALL, routing=routing)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.rand(2, 1, 9, 9))
    assert output.lengths.dtype == torch.float32
    output.lengths.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)
    assert model.conv.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("name", "size"), [("conv_kernel", 10), ("primary_kernel", 8)])
def test_a_kernel_that_does_not_fit(name, size):
    with pytest.raises(ValueError, match=f"{name}={size} does not fit into the"):
        CapsNet(**{**SMALL, name: size})


def test_a_large_image_is_warned_of():
    """Memory runs out later, and without a word about its reason."""
    with pytest.warns(UserWarning, match=r"200x200 makes 270,848 primary capsules, and so 346,685,440 weights"):
        CapsNet(in_channels=3, image_size=200, device="meta", decoder_sizes=None)
