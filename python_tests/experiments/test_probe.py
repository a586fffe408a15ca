"""The linear probe: what it reads, what it cannot, and how that is judged."""

from __future__ import annotations

import pytest
import torch

from capsroute.experiments.probe import r2, read


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 5, generator=generator)
    linear = features @ torch.randn(5, 2, generator=generator) + 3
    noise = torch.randn(400, 2, generator=generator)
    return features, linear, noise


def judged(features, targets):
    return r2(read(features[200:], (features[:200], targets[:200])), targets[200:])


def test_reads_what_is_linear_and_nothing_else(parts):
    features, linear, noise = parts
    assert judged(features, linear) > 0.999
    assert abs(judged(features, noise)) < 0.1
    assert 0.2 < judged(features, linear + linear.std() * noise) < 0.8


def test_columns_that_say_the_same_do_no_harm(parts):
    features, linear, _ = parts
    assert judged(torch.cat([features, features, torch.zeros(400, 3)], dim=1), linear) > 0.999


def test_r2():
    targets = torch.tensor([[0, 1], [2, 5]])
    assert r2(targets, targets) == 1
    assert r2(torch.tensor([[1.0, 3.0]]), targets) == 0
    assert r2(-targets.double(), targets) < 0
