"""Beside all floors: what a routing function returns where more than the output is asked for."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RoutingResult(NamedTuple):
    """The output with the details that were asked for; those that were not are None."""

    output: Tensor
    """Output capsules, ``[B, J, D]``; differentiable."""
    coupling: Tensor | None = None
    """Coupling coefficients of the last iteration, ``[B, I, J]``, before any ``input_weight``; detached."""
    pre_squash: Tensor | None = None
    """s of the last iteration, bias included, ``[B, J, D]``; differentiable."""
    agreement: Tensor | None = None
    """Inner products of the votes with the output, ``[B, I, J]``; detached."""
