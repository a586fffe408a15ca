"""A compiled network trains like the one that it was made from."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from capsroute.training import TrainingError
from python_tests.training.doubles import few_digits, make_trainer, nothing, parameters, straight_run


# Whole compilation takes half a minute; without the last part, the same graphs are seen.
@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.nightly)])
def test_compiled_training(compiler, monkeypatch):
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiler))
    # Batches of one size: each other one is compiled again.
    data = few_digits(train=70, test=35)
    options = {"data": data, "epochs": 1, "batch_size": 35, "reconstruction": False, "ema": 0.5, "lr": 1e-3}
    trainer, recorder = straight_run(**options, compile=True)
    plain, expected = straight_run(**options)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for left, right in zip((*recorder.steps, *recorder.epochs), (*expected.steps, *expected.epochs), strict=True):
        assert left.loss == pytest.approx(right.loss, rel=1e-4)
    assert recorder.epochs[0].test_loss == pytest.approx(expected.epochs[0].test_loss, rel=1e-4)
    assert parameters(trainer).keys() == parameters(plain).keys()
    plain.load_state_dict(trainer.state_dict())  # as where there is no compiler
    assert plain.evaluate()[0] == pytest.approx(trainer.evaluate()[0], rel=1e-4)


def test_without_a_compiler():
    from torch._inductor import config

    torch._dynamo.reset()
    trainer = make_trainer(compile=True, routing="reference")
    message = r"^torch\.compile cannot compile the network \(.*no-such-compiler.*\): install what it asks for"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(TrainingError, match=message) as caught:
        trainer.fit([], nothing)
    assert "\n" not in str(caught.value)
