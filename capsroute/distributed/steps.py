"""What stands between two passes, on [B, J, D] and the same on every rank: sums of all ranks, bias, squash, next query.

Tensors are of the accumulation type. docs/maths.md has the formulae.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capsroute.routing import passes
from capsroute.routing.options import RoutingOptions
from capsroute.routing.reference import squash

from .groups import Members


class Steps:
    """The steps of one call with these optional tensors of :data:`capsroute.routing.ops.OPTIONAL`."""

    def __init__(self, members: Members, options: RoutingOptions, optional: Sequence[Tensor | None]) -> None:
        bias, logits, *_, output_mask = optional
        self._members, self._options, self._no_logits = members, options, logits is None
        self._absent = None if output_mask is None else ~output_mask[..., None]
        self._bias = None if bias is None else bias.detach().to(passes.accumulation_type(bias.dtype))
        self._updates = passes.query_updates(options)

    def total(self, part: Tensor, normaliser: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
        """The sum over the inputs of all ranks, and its normaliser, from those of this rank.

        Args:
            part: ``[B, J, D]``; overwritten.
            normaliser: ``[B, 2, J]``, or without elements for a softmax over outputs.
            iteration: From 1.
        """
        if self._options.softmax_over == "outputs":
            return self._present(self._members.add_up(part)), normaliser
        largest, inverse = normaliser.unbind(1)
        if iteration == 1 and self._no_logits:
            common = torch.zeros_like(largest)
        else:
            common = self._members.largest(largest.clone())
        # The sum of exp(logit - common) over the inputs of this rank; 0 if it has none that is there.
        share = torch.where(inverse > 0, (largest - common).exp() / inverse, 0)[..., None]
        added = self._members.add_up(torch.cat((part * share, share), -1))
        sums, total = added[..., :-1], added[..., -1:]
        inverse_total = torch.where(total > 0, 1 / total, 0)
        return self._present(sums * inverse_total), torch.stack((common, inverse_total[..., 0]), 1)

    def output(self, total: Tensor) -> Tensor:
        """v, the squash of s."""
        s = total if self._bias is None else total + self._bias
        options = self._options
        return self._present(squash(s, options.eps, options.squash, options.constant_of_squash()))

    def next_query(self, query: Tensor | None, v: Tensor, iteration: int) -> Tensor:
        """The query of the iteration after this one."""
        keep, add = self._updates[iteration - 1]
        return add * v if query is None or keep == 0 else keep * query + add * v

    def slope(self, total: Tensor, gradient: Tensor) -> Tensor:
        """The gradient with respect to the sum, from that with respect to v."""
        with torch.enable_grad():
            leaf = total.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.output(leaf), leaf, gradient)
        return slope

    def carried(self, carried: Tensor | None, part: Tensor, iteration: int) -> Tensor:
        """The gradient of the query of an iteration: what all ranks ask of it, and what later queries keep of it."""
        asked = self._members.add_up(part)
        if carried is None:
            return asked
        keep, _ = self._updates[iteration - 1]
        return asked if keep == 0 else asked + keep * carried

    def gradient_of_output(self, carried: Tensor, iteration: int) -> Tensor:
        """The gradient of v of an iteration before the last, from that of the next query."""
        _, add = self._updates[iteration - 1]
        return add * carried

    def _present(self, vectors: Tensor) -> Tensor:
        return vectors if self._absent is None else vectors.masked_fill(self._absent, 0)
