"""PoolingCNN: as large as the CapsNet beside it, its shapes and its options."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from capsroute.models import POOLING_PRESETS, PRESETS, CapsNet, PoolingCNN

from . import count

SMALL = {"image_size": 8, "channels": (6, 12), "kernel": 3, "hidden": (20, 8), "decoder_sizes": (16,)}


def without_decoder(model):
    return count(model) - (count(model.decoder) if model.decoder is not None else 0)


def within_a_tenth(cnn, capsnet):
    return abs(without_decoder(cnn) / without_decoder(capsnet) - 1) <= 0.1


@pytest.mark.parametrize("name", PRESETS)
def test_presets_match_the_capsnet_of_the_same_name(name):
    cnn, capsnet = PoolingCNN(**POOLING_PRESETS[name], device="meta"), CapsNet(**PRESETS[name], device="meta")
    assert within_a_tenth(cnn, capsnet)
    assert count(cnn.decoder) == count(capsnet.decoder)
    found = PoolingCNN.matching(PRESETS[name], device="meta")
    assert {key: value.shape for key, value in found.state_dict().items()} == {
        key: value.shape for key, value in cnn.state_dict().items()
    }


@settings(max_examples=20, deadline=None)
@given(
    in_channels=st.integers(1, 3),
    image_size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    conv_channels=st.integers(4, 256),
    primary_types=st.integers(2, 32),
    primary_size=st.integers(4, 16),
    classes=st.integers(2, 20),
    capsule_size=st.integers(4, 16),
    shared_weight=st.booleans(),
)
def test_matches_any_capsnet_or_says_that_it_cannot(**options):
    options |= {"conv_kernel": 3, "primary_kernel": 5, "decoder_sizes": (16,), "device": "meta"}
    capsnet = CapsNet(**options)
    assume(without_decoder(capsnet) > 40 * options["classes"] * options["capsule_size"])
    cnn = PoolingCNN.matching(options, device="meta")
    assert within_a_tenth(cnn, capsnet)
    assert cnn.classes.out_features == options["classes"]
    output = cnn(torch.empty(2, options["in_channels"], *options["image_size"], device="meta"))
    assert output.features.shape == (2, options["classes"] * options["capsule_size"])
    assert output.reconstruction.shape == (2, options["in_channels"], *options["image_size"])


def test_no_such_network():
    tiny = {"image_size": 5, "conv_channels": 2, "conv_kernel": 3, "primary_types": 1, "primary_kernel": 3}
    with pytest.raises(ValueError, match="no PoolingCNN with 160 features for 10 classes has about"):
        PoolingCNN.matching(tiny)
    assert within_a_tenth(PoolingCNN.matching(tiny, features=16), CapsNet(**tiny))


def test_numbers_of_features():
    cnn = PoolingCNN.matching(PRESETS["small"], features=16, device="meta")
    assert cnn.classes.in_features == 16
    assert within_a_tenth(cnn, CapsNet(**PRESETS["small"], device="meta"))
    with pytest.raises(ValueError, match="features must be at least 1, got 0"):
        PoolingCNN.matching(PRESETS["small"], features=0, device="meta")


def test_shapes():
    model = PoolingCNN(**{**SMALL, "image_size": (9, 13)}, in_channels=2, classes=4)
    output = model(torch.rand(3, 2, 9, 13))
    assert output.features.shape == (3, 8)
    assert output.scores.shape == (3, 4)
    assert output.reconstruction.shape == (3, 2, 9, 13)
    assert output.features.min() >= 0


def test_reconstruction_can_be_left_out():
    images = torch.rand(2, 1, 8, 8)
    assert PoolingCNN(**SMALL)(images, reconstruct=False).reconstruction is None
    assert PoolingCNN(**{**SMALL, "decoder_sizes": None})(images).reconstruction is None


def test_labels_change_nothing():
    model = PoolingCNN(**SMALL).eval()
    images = torch.rand(2, 1, 8, 8)
    for told, untold in zip(model(images, torch.tensor([1, 2])), model(images), strict=True):
        assert torch.equal(told, untold)


def test_a_part_may_move_within_the_reach_of_the_poolings():
    """Maximum over windows: what the article says is lost."""
    model = PoolingCNN(**{**SMALL, "channels": (1, 1), "kernel": 1}, dropout=0.0).eval()
    for parameter in model.convs.parameters():
        torch.nn.init.ones_(parameter)
    images = torch.zeros(3, 1, 8, 8)
    images[0, 0, 0, 0] = images[1, 0, 3, 2] = images[2, 0, 4, 0] = 1
    scores = model(images).scores
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


def test_dropout_is_of_the_classification_in_training_alone():
    torch.manual_seed(0)
    model = PoolingCNN(**SMALL, dropout=0.5)
    images = torch.rand(8, 1, 8, 8)
    first, second = model(images), model(images)
    assert not torch.equal(first.scores, second.scores)
    assert torch.equal(first.reconstruction, second.reconstruction)
    model.eval()
    assert torch.equal(model(images).scores, model(images).scores)


@pytest.mark.parametrize("name", POOLING_PRESETS)
def test_features_are_of_the_size_of_the_images_at_first(name):
    torch.manual_seed(0)
    size = POOLING_PRESETS[name].get("image_size", 28)
    images = torch.rand(8, POOLING_PRESETS[name].get("in_channels", 1), size, size)
    features = PoolingCNN(**POOLING_PRESETS[name])(images, reconstruct=False).features
    ratio = features.detach().square().mean() / images.square().mean()
    assert 0.3 < ratio < 30  # with initial weights as torch has them, below 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ()}, r"channels and hidden must name at least one layer each, got \(\)"),
        ({"hidden": ()}, r"channels and hidden must name at least one layer each, got .* and \(\)"),
        ({"channels": (4, 0)}, r"channels\[1\] must be at least 1, got 0"),
        ({"kernel": 4}, "kernel must be odd, so that maps keep their size, got 4"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        PoolingCNN(**{**SMALL, **changes})
