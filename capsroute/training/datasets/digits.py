"""Scikit-learn's 1,797 handwritten digits of 8x8 pixels: real images without a download.

They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998).
"""

import torch

from capsroute.training.datasets.facts import DIGITS
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.extras import require

__all__ = ["load_digits"]

# The held-out fifth is the same in every run, whatever its seed, so that accuracies can be compared.
_SPLIT_SEED = 0
_WHITE = 16


def load_digits() -> Dataset:
    """Loads the digits: 1,437 to train on and a stratified fifth, 360, to test on.

    Raises:
        TrainingError: Scikit-learn is not installed.
    """
    sklearn_datasets = require("sklearn.datasets", "dataset digits")
    model_selection = require("sklearn.model_selection", "dataset digits")
    digits = sklearn_datasets.load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1)  # [1797, 1, 8, 8], 0 to 16
    labels = torch.from_numpy(digits.target).to(torch.int64)
    train, test = model_selection.train_test_split(
        range(len(labels)), test_size=0.2, stratify=digits.target, random_state=_SPLIT_SEED
    )
    return Dataset(
        ImageSet(images[train], labels[train], _WHITE),
        ImageSet(images[test], labels[test], _WHITE),
        DIGITS,
    )
