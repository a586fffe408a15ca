"""SegCaps: the sizes of the published code and its options."""

from __future__ import annotations

import pytest
import torch

from capsroute.models import SegCaps
from capsroute.nn import ConvCapsules2d, ConvTransposeCapsules2d, margin_loss

from . import count

SMALL = {"types": 1, "size": 4}

# The capsule layers of the published SegCaps R3 in their order: kernel, components in, types and components out.
PUBLISHED = [
    (5, 16, 2, 16),
    (5, 16, 4, 16),
    (5, 16, 4, 32),
    (5, 32, 8, 32),
    (5, 32, 8, 64),
    (5, 64, 8, 32),
    (4, 32, 8, 32),
    (5, 32, 4, 32),
    (4, 32, 4, 16),
    (5, 16, 4, 16),
    (4, 16, 2, 16),
    (1, 16, 1, 16),
]


def test_parameters_of_the_published_network():
    capsules = sum(k * k * d * types * size + types * size for k, d, types, size in PUBLISHED)
    convolution = 25 * 16 + 16
    decoder = 16 * 64 + 64 + 64 * 128 + 128 + 128 + 1
    model = SegCaps()
    assert count(model) == convolution + capsules + decoder == 1_425_649  # "1.4 M" in the table of the authors
    assert count(SegCaps(decoder=False)) == convolution + capsules
    assert decoder == 9_537
    assert count(SegCaps(types=1, size=8)) == 179_897
    layers = [m for m in model.modules() if isinstance(m, ConvCapsules2d | ConvTransposeCapsules2d)]
    assert [(m.kernel_size[0], m.in_size, m.out_capsules, m.out_size) for m in layers] == PUBLISHED
    assert all(torch.equal(m.bias, torch.full_like(m.bias, 0.1)) for m in layers)


@pytest.mark.parametrize("sides", [(8, 8), (16, 24)])
def test_shapes(sides):
    model = SegCaps(**SMALL, in_channels=2)
    with torch.no_grad():
        output = model(torch.rand(2, 2, *sides))
    assert output.capsules.shape == (2, 4, *sides)
    assert output.reconstruction.shape == (2, 2, *sides)
    torch.testing.assert_close(output.lengths, output.capsules.norm(dim=1))
    assert SegCaps(**SMALL, in_channels=2, decoder=False)(torch.rand(2, 2, *sides)).reconstruction is None


def test_options_reach_every_layer_but_the_first():
    model = SegCaps(**SMALL, iterations=2, temperature=(1.0, 2.0), leaky=True)
    layers = [m for m in model.modules() if isinstance(m, ConvCapsules2d | ConvTransposeCapsules2d)]
    assert [m.options.iterations for m in layers] == [1] + 11 * [2]
    assert all(m.options.leaky for m in layers)


def test_the_mask_chooses_what_is_reconstructed_and_nothing_else():
    model = SegCaps(**SMALL)
    images, mask = torch.rand(2, 1, 8, 8), torch.rand(2, 8, 8) > 0.5
    everything, masked = model(images), model(images, mask)
    assert torch.equal(everything.lengths, masked.lengths)
    inside = mask.unsqueeze(1)
    assert torch.equal(everything.reconstruction[inside], masked.reconstruction[inside])
    nothing = model.decoder(torch.zeros(1, 4, 1, 1)).squeeze()
    torch.testing.assert_close(masked.reconstruction[~inside], nothing.expand(int((~mask).sum())))


def test_several_classes():
    """Capsules, lengths and what is decoded have an axis of the classes; one class is as it was."""
    torch.manual_seed(0)
    model = SegCaps(**SMALL, classes=3)
    images, classes = torch.rand(2, 1, 8, 16), torch.randint(3, (2, 8, 16))
    output = model(images, classes)
    assert output.capsules.shape == (2, 3, 4, 8, 16)
    torch.testing.assert_close(output.lengths, output.capsules.norm(dim=2))
    present = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1)
    seen = (output.capsules * present.unsqueeze(2)).reshape(2, 12, 8, 16)
    torch.testing.assert_close(output.reconstruction, model.decoder(seen))
    torch.testing.assert_close(model(images, present).reconstruction, output.reconstruction)
    margin_loss(output.lengths, classes).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.segment.parameters())


def test_another_last_layer():
    """Lengths are taken over components, however many classes it has."""
    model = SegCaps(**SMALL, decoder=False)
    model.segment = ConvCapsules2d(2, 4, 3, 6, 1, window="joined", share_types=True)
    output = model(torch.rand(1, 1, 8, 8))
    torch.testing.assert_close(output.lengths, output.capsules.norm(dim=2))
    assert output.lengths.shape == (1, 3, 8, 8)
    model.decoder = SegCaps(**SMALL).decoder
    with pytest.raises(ValueError, match=r"decoder must take 3 x 6 components, .* takes 4: .* classes=3"):
        model(torch.rand(1, 1, 8, 8))


def test_bad_arguments():
    with pytest.raises(ValueError, match="images must have a height and width that are multiples of 8, got 8 and 12"):
        SegCaps(**SMALL)(torch.zeros(1, 1, 8, 12))
    with pytest.raises(ValueError, match=r"mask must have the shape \[1, 8, 8\], got \[1, 1, 8, 8\]"):
        SegCaps(**SMALL)(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="types must be at least 1, got 0"):
        SegCaps(types=0)
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        SegCaps(classes=0)
