"""The average of the weights."""

from __future__ import annotations

import pytest
import torch

from capsroute.training.loop.ema import WeightAverage
from python_tests.training.doubles import assert_bitwise_equal, parameters, straight_run


class Tied(torch.nn.Module):
    """One parameter by two names, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 3, bias=False)
        self.second = self.first
        self.register_buffer("count", torch.zeros(()))


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_average_against_its_formula(decay):
    network = Tied().double()
    average = WeightAverage(network, decay)
    expected = network.first.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            network.first.weight.normal_()
        network.count += 1
        average.update(step)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * network.first.weight.detach()
    state = average.state_dict()
    assert state.keys() == network.state_dict().keys()
    torch.testing.assert_close(state["first.weight"], expected)
    assert torch.equal(state["first.weight"], state["second.weight"])
    assert state["count"] == 29


def test_in_force_and_back():
    network = Tied()
    average = WeightAverage(network, 0.9)
    before = network.first.weight.detach().clone()
    with torch.no_grad():
        network.first.weight.zero_()

    def fail():
        with average.in_force():
            assert torch.equal(network.first.weight, before)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.equal(network.first.weight, torch.zeros(3, 3))
    assert torch.equal(average.state_dict()["second.weight"], before)


def test_the_average_is_what_is_tested_and_saved():
    trainer, recorder = straight_run(ema=0.9, epochs=3)
    plain, _ = straight_run(epochs=3)
    assert_bitwise_equal(parameters(trainer), parameters(plain))  # the training is not changed by it
    averaged = {name: value.clone() for name, value in trainer.state_dict()["ema"].items()}
    assert not torch.equal(averaged["classes.weight"], trainer.model.classes.weight)
    plain.model.load_state_dict(averaged)
    assert plain.evaluate() == (recorder.epochs[-1].test_loss, trainer.test_accuracy)
    with trainer.averaged():
        assert_bitwise_equal(parameters(trainer), averaged)
        assert trainer.evaluate() == plain.evaluate()
        assert_bitwise_equal(parameters(trainer), averaged)
    assert plain.state_dict()["ema"] is None
