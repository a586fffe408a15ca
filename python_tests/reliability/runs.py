"""Short trainings of the default network on the digits, with the op, with its definition, and with wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute import reference
from capsroute.bench.training import Routed
from capsroute.training import TrainConfig
from capsroute.training.config import preset
from capsroute.training.datasets import load_dataset
from capsroute.training.loop.records import EpochRecord, StepRecord
from capsroute.training.loop.trainer import Trainer
from capsroute.training.networks import build_network

Route = Callable[..., Tensor]


def _scaled_gradients(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
    """All gradients times 0.9: what is added is 0, and takes a tenth away."""
    x, weight = (tensor + 0.1 * (tensor.detach() - tensor) for tensor in (x, weight))
    return reference.dynamic_routing(x, weight, **options)


def _noisy(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
    """Outputs as exact as float16 has them: 11 bits."""
    output = reference.dynamic_routing(x, weight, **options)
    return output * (1 + 2.0**-11 * (2 * torch.rand_like(output) - 1))


def _lost_gradients(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
    """The last quarter of the input capsules gets no gradient, as if a chunk were forgotten."""
    kept = 3 * x.shape[1] // 4
    x = torch.cat([x[:, :kept], x[:, kept:].detach()], 1)
    return reference.dynamic_routing(x, torch.cat([weight[:kept], weight[kept:].detach()]), **options)


def _with(**changes: Any) -> Route:
    return lambda x, weight, **options: reference.dynamic_routing(x, weight, **(options | changes))


ROUTES: dict[str, Route] = {"op": capsroute.dynamic_routing, "definition": reference.dynamic_routing}
WRONG: dict[str, tuple[str, Route]] = {
    "one iteration": ("T = 1 in place of 3", _with(iterations=1)),
    "last gradient": ("the coupling is a constant in backward", _with(gradient="last")),
    "lost gradients": ("a quarter of the input capsules gets no gradient", _lost_gradients),
    "scaled gradients": ("all gradients times 0.9", _scaled_gradients),
    "noise": ("outputs with the error of float16", _noisy),
}


@dataclass(frozen=True)
class Curve:
    """A run: its seed, and for each epoch the mean training loss, and loss and accuracy of the test after it."""

    seed: int
    loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)

    def on_step(self, record: StepRecord) -> None:
        """Observe a step: nothing."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Observe an epoch."""
        self.loss.append(record.loss)
        self.test_loss.append(record.test_loss)
        self.test_accuracy.append(record.test_accuracy)


def train(route: Route, seed: int, epochs: int) -> Curve:
    """Train as ``capsroute train --dataset digits --seed SEED --epochs EPOCHS`` does, with this routing."""
    config = TrainConfig(**{**preset("digits"), "seed": seed, "epochs": epochs})
    model: Any = build_network(config, torch.device("cpu"))
    layer = model.classes
    options = {"iterations": layer.options.iterations, "eps": layer.options.eps}
    model.register_module("classes", Routed(layer.weight, partial(route, **options)))
    curve = Curve(seed)
    Trainer(model, config, load_dataset("digits"), torch.device("cpu")).fit([curve], lambda: None)
    return curve
