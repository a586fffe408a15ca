"""What networks say of each class, counted and scored."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from capsroute.experiments.confusion import confusion, scores
from capsroute.training.datasets import ImageSet

Output = namedtuple("Output", "scores")


def first_pixel_says(images, reconstruct):
    """A network that takes the value of the first pixel for the class."""
    assert not reconstruct
    return Output(torch.nn.functional.one_hot((images[:, 0, 0, 0] * 255).round().long(), 3).float())


def test_confusion_counts_every_image_once():
    labels = torch.randint(3, (600,), generator=torch.Generator().manual_seed(0))
    said = torch.randint(3, (600,), generator=torch.Generator().manual_seed(1))
    data = ImageSet(said.to(torch.uint8)[:, None, None, None].expand(600, 1, 2, 2), labels)
    counted = confusion(SimpleNamespace(model=first_pixel_says, device=torch.device("cpu")), data, 3)
    for true in range(3):
        for predicted in range(3):
            assert counted[true][predicted] == int(((labels == true) & (said == predicted)).sum())


def test_scores_agree_with_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    matrix = [[30, 5, 2], [1, 40, 9], [0, 3, 10]]
    true = [row for row in range(3) for said in range(3) for _ in range(matrix[row][said])]
    said = [said for row in range(3) for said in range(3) for _ in range(matrix[row][said])]
    expected = precision_recall_fscore_support(true, said)
    for label, found in enumerate(scores(matrix)):
        assert [found["precision"], found["recall"], found["f1"]] == pytest.approx(
            [part[label] for part in expected[:3]]
        )


def test_a_class_that_is_never_said_or_never_there():
    assert scores([[4, 0], [2, 0]])[1] == {"precision": 0, "recall": 0, "f1": 0}
    assert scores([[4, 2], [0, 0]])[1] == {"precision": 0, "recall": 0, "f1": 0}
