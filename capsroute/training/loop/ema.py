"""Exponential moving average of the weights, which is often more accurate than the last weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Average of the parameters of a network over the steps of its training.

    After step ``n`` (from 1) the average moves towards the parameters by ``1 - min(decay, (1 + n) / (10 + n))`` of the
    distance: at first it follows closely, so that the initial parameters are soon forgotten.

    Args:
        model: The network; the average starts from its parameters.
        decay: Share of the average that stays at each step, in the long run.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._average = {name: value.detach().clone() for name, value in self._parameters()}
        self._in_force = False

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the parameters after a step, which are counted from 1, into the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        current = [value.detach() for _, value in self._parameters()]
        torch._foreach_lerp_(list(self._average.values()), current, 1 - decay)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within it, the network has the average in the place of its parameters; once is enough."""
        if self._in_force:
            yield
            return
        self._exchange()
        self._in_force = True
        try:
            yield
        finally:
            self._exchange()
            self._in_force = False

    def state_dict(self) -> dict[str, Any]:
        """A state of the network with the average of each parameter; buffers are as the network has them."""
        return {**self._model.state_dict(), **self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        for name, value in self._average.items():
            value.copy_(state[name])

    def _parameters(self) -> list[tuple[str, Tensor]]:
        """A parameter with two names stands here twice, as in a state dict."""
        return list(self._model.named_parameters(remove_duplicate=False))

    @torch.no_grad()
    def _exchange(self) -> None:
        # All are read before any is written: a parameter may have two names.
        before = {name: value.clone() for name, value in self._parameters()}
        for name, value in self._parameters():
            value.copy_(self._average[name])
        for name, value in before.items():
            self._average[name].copy_(value)
