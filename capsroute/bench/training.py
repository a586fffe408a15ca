"""A whole training step of CapsNet with any function that routes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.models import CapsNet
from capsroute.training import TrainConfig
from capsroute.training.loop.objective import training_loss

from .peers import EPS, Route
from .shapes import Shape

CONVOLUTIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Routed(nn.Module):
    """Stands in for the class capsules of a network: a function routes, in float32 under any autocast.

    Args:
        weight: ``[I, J, D, d]``.
        route: Function of x ``[B, I, d]`` and ``weight``.
    """

    def __init__(self, weight: nn.Parameter, route: Route) -> None:
        super().__init__()
        self.weight = weight
        self.route = route

    def forward(self, capsules: Tensor) -> Tensor:
        """``[B, I, d]`` of any floating-point dtype to ``[B, J, D]``, float32."""
        with torch.autocast(capsules.device.type, enabled=False):
            return self.route(capsules.float(), self.weight)


class Subject:
    """A network, and the batch that it is trained on: the same in every run, and for all who route.

    Args:
        network: Options of :class:`~capsroute.models.CapsNet`, all but those of the routing.
        batch: Images, at least 1. They are noise: no value changes the time of a step.
        convolutions: Name in :data:`CONVOLUTIONS`. With ``"bfloat16"`` everything but the routing is under autocast,
            the decoder too, and the routing stays in float32.
    """

    def __init__(self, network: Mapping[str, Any], batch: int, convolutions: str) -> None:
        self.convolutions = CONVOLUTIONS[convolutions]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = CapsNet(**network, eps=EPS)
            layer = self.model.classes
            size = network.get("image_size", 28)
            self.images = torch.rand(batch, 1, size, size)
            self.labels = torch.randint(layer.out_capsules, (batch,))

    @property
    def shape(self) -> Shape:
        """Sizes of the routing in a step."""
        layer = self.model.classes
        sizes = (layer.in_capsules, layer.in_size, layer.out_capsules, layer.out_size, layer.options.iterations)
        return Shape("training", len(self.images), *sizes, "a training step")

    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def step(self, route: Route) -> Step:
        """The training step with this routing, from the initial parameters on."""
        model = copy.deepcopy(self.model)
        model.register_module("classes", Routed(model.classes.weight, route))
        return Step(model, self)


class Step:
    """One training step, to be called any number of times: what ``capsroute train`` does for each batch.

    Forward, margin loss and reconstruction loss, backward, Adam.
    """

    def __init__(self, model: CapsNet, subject: Subject) -> None:
        config = TrainConfig()
        self.model = model
        self.subject = subject
        self.reconstruction_weight = config.reconstruction_weight
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)

    def __call__(self) -> list[Tensor]:
        """The loss, a scalar, and the gradients of all parameters, which the network does not keep."""
        images, labels = self.subject.images, self.subject.labels
        half = self.subject.convolutions != torch.float32
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half):
            output = self.model(images, labels)
        loss = training_loss(output, images, labels, self.reconstruction_weight)
        loss.backward()
        self.optimizer.step()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.optimizer.zero_grad(set_to_none=True)
        return [loss.detach(), *gradients]
