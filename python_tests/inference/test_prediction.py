"""Predictions are what the network says, batch by batch, and so is the picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from capsroute.inference import InputImage, draw_reconstructions, predict
from capsroute.training import TrainingError
from capsroute.training.datasets import load_digits

CLASSES = tuple("0123456789")


@pytest.fixture(scope="module")
def images():
    return [InputImage(Path(f"{n}.png"), pixels) for n, pixels in enumerate(load_digits().test.batch(slice(0, 13))[0])]


@pytest.mark.parametrize("batch_size", [1, 5, 13, 64])
def test_predictions_are_those_of_the_network(network, images, batch_size):
    with torch.no_grad():
        expected = network(torch.stack([image.pixels for image in images]))
    predictions = list(predict(network, images, batch_size=batch_size, reconstruct=True))
    assert [prediction.image for prediction in predictions] == images
    assert [prediction.label for prediction in predictions] == expected.lengths.argmax(dim=1).tolist()
    torch.testing.assert_close(torch.stack([p.scores for p in predictions]), expected.lengths)
    torch.testing.assert_close(torch.stack([p.reconstruction for p in predictions]), expected.reconstruction)


def test_nothing_is_reconstructed_unasked(network, images):
    assert all(prediction.reconstruction is None for prediction in predict(network, images))
    assert list(predict(network, [])) == []


def test_the_floating_type_of_the_network(network, images):
    half = next(predict(network.to(torch.float64), images[:1]))
    network.to(torch.float32)
    assert half.scores.dtype == torch.float32


def test_broken_weights(network, images):
    weight = network.classes.weight.detach()
    before = weight.clone()
    weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"the network gives 0.png scores that are no numbers"):
        list(predict(network, images))
    weight.copy_(before)


def picture(predictions):
    file = io.BytesIO()
    draw_reconstructions(file, predictions, CLASSES)
    with Image.open(file) as image:
        return np.asarray(image)


def test_the_picture_shows_each_image_above_its_reconstruction(network, images):
    predictions = list(predict(network, images, reconstruct=True))
    pixels = picture(predictions)
    # 8 pixels of margin, 16 of caption, every pixel of the 8x8 images 12 wide, 8 between images and 4 between the two.
    assert pixels.shape == (8 + 2 * (16 + 2 * 96 + 16), 8 + 10 * (96 + 8), 3)
    for place, (top, left) in {0: (24, 8), 9: (24, 8 + 9 * 104), 12: (24 + 224, 8 + 2 * 104)}.items():
        for shown, offset in ((predictions[place].image.pixels, 0), (predictions[place].reconstruction, 100)):
            found = pixels[top + offset + 6 : top + offset + 96 : 12, left + 6 : left + 96 : 12]
            expected = (shown[0] * 255).round().byte().numpy()
            assert (found == expected[:, :, None]).all()


def test_the_picture_of_colours(network, images):
    prediction = next(predict(network, images[:1], reconstruct=True))
    red = torch.zeros(3, 8, 8)
    red[0] = 1
    coloured = type(prediction)(InputImage(Path("red.png"), red), 0, prediction.scores, 1 - red)
    pixels = picture([coloured])
    assert pixels[30, 20].tolist() == [255, 0, 0]
    assert pixels[130, 20].tolist() == [0, 255, 255]


def test_no_picture_without_reconstructions(network, images):
    with pytest.raises(ValueError, match="predictions must have reconstructions"):
        picture(list(predict(network, images)))
