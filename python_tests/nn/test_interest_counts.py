"""How many interests users have, by the length of their history."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute.nn import interest_counts, interest_mask


@pytest.mark.parametrize("rounding", ["down", "up"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_interest_counts_follow_the_logarithm(rounding, dtype):
    lengths = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000]
    whole = math.floor if rounding == "down" else math.ceil
    expected = [max(1, min(5, whole(math.log2(max(length, 1))))) for length in lengths]
    counts = interest_counts(torch.tensor(lengths, dtype=dtype), 5, rounding)
    assert counts.tolist() == expected
    assert counts.dtype == torch.int64
    assert interest_counts(torch.tensor(lengths), 1, rounding).tolist() == [1] * len(lengths)


def test_interest_counts_are_exact_and_do_not_overflow():
    lengths = torch.tensor([2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1])
    assert interest_counts(lengths, 100).tolist() == [52, 53, 53, 62]
    assert interest_counts(lengths, 100, "up").tolist()[:3] == [53, 53, 54]


def test_rules_of_libraries():
    """Against counts written down by hand; the most is 4."""
    lengths = [0, 1, 2, 3, 4, 6, 7, 8, 9, 14, 15, 16, 20, 21, 54, 55, 1000]
    table = {
        ("down", "log2"): [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4],  # torch-rechub
        ("up", "log2"): [1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4],  # TorchEasyRec
        ("down", "log2_1p"): [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4],  # DeepMatch
        ("up", "log2_1p"): [1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4],
        ("down", "ln"): [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4],  # EasyRec
        ("up", "ln"): [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4],
    }
    for (rounding, logarithm), expected in table.items():
        counts = interest_counts(torch.tensor(lengths, dtype=torch.int16), 4, rounding, logarithm=logarithm)
        assert counts.tolist() == expected, (rounding, logarithm)
    most = torch.tensor([2**63 - 1, 2**63 - 2])
    assert interest_counts(most, 100, logarithm="ln").tolist() == [43, 43]  # ln(2^63) = 43.67
    assert interest_counts(most, 100, logarithm="log2_1p").tolist() == [62, 62]


def test_interest_mask():
    mask = interest_mask(torch.tensor([2, 0, 3]), 3)
    assert mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert interest_mask(torch.zeros(0, dtype=torch.int64), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(3), 2), TypeError, "lengths must have an integer dtype, got torch.float32"),
        ((torch.ones(3, 1, dtype=torch.int64), 2), ValueError, "lengths must have 1 dimensions"),
        ((torch.ones(3, dtype=torch.int64), 0), ValueError, "interests must be at least 1, got 0"),
        ((torch.ones(3, dtype=torch.int64), 2, "nearest"), ValueError, "rounding must be one of 'down', 'up'"),
        (
            (torch.ones(3, dtype=torch.int64), 2, "up", "log10"),
            ValueError,
            "logarithm must be one of 'log2', ",
        ),
    ],
)
def test_bad_lengths(arguments, error, message):
    with pytest.raises(error, match=message):
        interest_counts(*arguments[:3], **({"logarithm": arguments[3]} if len(arguments) > 3 else {}))


def test_bad_counts():
    with pytest.raises(TypeError, match=r"counts must be a torch\.Tensor of an integer dtype, got int"):
        interest_mask(2, 3)
    with pytest.raises(ValueError, match="counts must be from 0 to interests=3, got 4"):
        interest_mask(torch.tensor([4]), 3)
