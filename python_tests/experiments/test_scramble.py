"""The experiment on scrambled faces: its examples, and what it says to wrong sizes."""

from __future__ import annotations

import pytest
import torch

from capsroute.cli import main
from capsroute.experiments import scramble
from capsroute.experiments.data.faces import FACE, faces_and_others, faces_and_scrambled


def test_examples_stand_above_each_other():
    tests = scramble._tests(40)
    examples = scramble._examples(tests)
    pairs = faces_and_scrambled(40, scramble._TEST_SEED).batch(slice(None))[0]
    others = faces_and_others(40, scramble._TEST_SEED).batch(slice(None))[0]
    assert torch.equal(examples[0], pairs[FACE : 2 * scramble._SHOWN : 2])
    assert torch.equal(examples[1], pairs[0 : 2 * scramble._SHOWN : 2])
    assert torch.equal(examples[2], others[0 : 2 * scramble._SHOWN : 2])


@pytest.mark.parametrize("learned", scramble._TRAINED)
@pytest.mark.parametrize("seed", range(3))
def test_no_image_is_learned_and_tested(learned, seed):
    trained = {image.numpy().tobytes() for image in scramble._TRAINED[learned](256, seed).images}
    for tested in scramble._tests(256).values():
        assert not trained & {image.numpy().tobytes() for image in tested.images}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "7"], "images must be even, as half of the images are faces, got 7"),
        (["--images", "8", "--test-images", "3"], "test_images must be even, as half of the images are faces, got 3"),
    ],
)
def test_odd_numbers_of_images(arguments, message, tmp_path, capsys):
    assert main(["experiment", "scramble", "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
