"""What a configuration refuses, and how a resumed one is made."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute.training import TrainConfig, TrainingError, preset


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("routing", "fast", "one of fused, reference"),
        ("epochs", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("iterations", -1, "at least 1"),
        ("lr", 0.0, "a number above 0"),
        ("lr", math.inf, "a number above 0"),
        ("lr", math.nan, "a number above 0"),
        ("lr_decay", 1.1, "above 0 and at most 1"),
        ("lr_decay", 0.0, "above 0 and at most 1"),
        ("shift", -1, "at least 0"),
        ("reconstruction_weight", -0.1, "a number of at least 0"),
        ("accumulate", 0, "at least 1"),
        ("ema", 1.0, "at least 0 and below 1"),
        ("ema", math.nan, "at least 0 and below 1"),
        ("schedule", "linear", "one of exponential, cosine"),
        ("warmup", -1, "at least 0"),
        ("seed", -1, "at least 0"),
        ("seed", 2**32, r"below 2\*\*32"),
        ("image_size", 7, "at least 8"),
        ("channels", 2, "1 for grey or 3 for colours"),
        ("test_share", 1.0, "above 0 and below 1"),
        ("test_seed", -1, "at least 0"),
        ("class_weights", "equal", "one of none, balanced"),
    ],
)
def test_values_out_of_range(name, value, expected):
    with pytest.raises(TrainingError, match=f"{name} must be .*{expected}.* got {value}"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("dataset", 3, "text, got int"),
        ("routing", None, "text, got NoneType"),
        ("image_size", 2.5, "a whole number, got float"),
        ("epochs", 2.5, "a whole number, got float"),
        ("epochs", True, "a whole number, got bool"),
        ("seed", torch.zeros(3), "a whole number, got Tensor"),
        ("lr", "fast", "a number, got str"),
        ("lr", 10**400, "a number, got one that is too large"),
        ("amp", 1, "True or False, got int"),
    ],
)
def test_values_of_another_kind(name, value, expected):
    """As a file may hold them."""
    with pytest.raises(TrainingError, match=f"^{name} must be {expected}$"):
        TrainConfig(**{name: value})


def test_every_seed_is_another():
    """Torch takes the lowest 32 bits: the largest seed that is allowed is the last that is no repetition."""
    first, largest, beyond = (
        torch.rand(8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 2**32 - 1, 2**32)
    )
    assert torch.equal(first, beyond)
    assert not torch.equal(first, largest)
    assert TrainConfig(seed=2**32 - 1).seed == 2**32 - 1


def test_presets_are_configurations():
    assert TrainConfig(**preset("digits")).dataset == "digits"
    mnist = TrainConfig(**preset("mnist"))
    assert (mnist.shift, mnist.batch_size, mnist.reconstruction_weight) == (2, 128, 0.0005)
    with pytest.raises(TrainingError, match=r"dataset must be one of .*digits.*folder.*; got cifar"):
        preset("cifar")


def test_as_dict_and_back():
    config = TrainConfig(epochs=7, amp=True)
    assert TrainConfig.from_dict(config.as_dict()) == config
    with pytest.raises(TrainingError, match=r"other entries than expected: \['colour'\]"):
        TrainConfig.from_dict({**config.as_dict(), "colour": 1})
    added = ("network", "accumulate", "compile", "ema", "schedule", "warmup")
    added += ("image_size", "channels", "test_share", "test_seed", "class_weights")
    former = {name: value for name, value in config.as_dict().items() if name not in added}
    assert TrainConfig.from_dict(former) == config
    former.pop("seed")
    with pytest.raises(TrainingError, match=r"other entries than expected: \['seed'\]"):
        TrainConfig.from_dict(former)


def test_a_resumed_run_may_be_longer_but_not_different():
    config = TrainConfig(epochs=3, lr=0.01)
    resumed = config.resumed_with({"epochs": 9, "routing": "reference", "lr": 0.01})
    assert (resumed.epochs, resumed.routing, resumed.lr) == (9, "reference", 0.01)
    with pytest.raises(TrainingError, match=r"of another configuration: lr was 0\.01, not 0\.02"):
        config.resumed_with({"lr": 0.02})
    with pytest.raises(TrainingError, match="epochs must be at least 1"):
        config.resumed_with({"epochs": 0})
    assert config.resumed_with({"accumulate": 4, "compile": True}) == TrainConfig(
        epochs=3, lr=0.01, accumulate=4, compile=True
    )


def test_a_cosine_ends_with_its_epochs():
    config = TrainConfig(epochs=3, schedule="cosine")
    assert config.resumed_with({"epochs": 3}) == config
    with pytest.raises(TrainingError, match="of another configuration: epochs was 3, not 9"):
        config.resumed_with({"epochs": 9})
