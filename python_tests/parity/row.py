"""One row of the table in docs/migrate.md, as a test needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute.layouts import weight_to_capsroute

Tensors = dict[str, Tensor]
Outputs = Tensor | tuple[Tensor, ...]

B, I, d, J, D = 3, 6, 4, 5, 3  # noqa: E741  # sizes of every row


@dataclass(frozen=True)
class Row:
    """An implementation that the options can express.

    ``theirs`` states its formulae in plain PyTorch, in its own layouts; ``ours`` is what docs/migrate.md puts in its
    place. Both take the tensors by name and give the output capsules in our layout, or these and further results, which
    are compared without gradients.
    """

    name: str  # as in the table of docs/migrate.md
    shapes: dict[str, tuple[int, ...]]  # of the tensors, in its layouts
    theirs: Callable[..., Outputs]
    options: dict[str, Any]  # as in the table of docs/migrate.md
    ours: Callable[..., Outputs]
    lengths: float = 2.0  # of the votes, about
    constants: frozenset[str] = field(default=frozenset())  # tensors without a gradient
    samples: int = B

    def tensors(self, dtype: torch.dtype, seed: int = 0) -> Tensors:
        """The arguments, on torch's default device. A ``mask`` is of ones, then zeros; its first sample all ones."""
        generator = torch.Generator().manual_seed(seed)
        return {name: self._tensor(name, shape, generator).to(dtype) for name, shape in self.shapes.items()}

    def _tensor(self, name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu")
        if name == "mask":
            values = (values < 0.5).double().sort(1, descending=True).values
            values[0] = 1
        if name == "weight":
            values *= self.lengths * (d * D) ** -0.5
        if name == "votes":
            values *= self.lengths * D**-0.5
        if name == "bias":
            values *= 0.3
        return values.to(torch.get_default_device())


def dense(layout: str, **sizes: int) -> Callable[..., Tensor]:
    """The drop-in of a fully connected layer, for a weight in one of the layouts of :mod:`capsroute.layouts`."""

    def ours(x: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any) -> Tensor:
        return capsroute.dynamic_routing(x, weight_to_capsroute(weight, layout, **sizes), bias, **options)

    return ours


def evaluate(row: Row, who: str, tensors: Tensors) -> tuple[Tensors, Tensors]:
    """Results and gradients, by name, of ``"theirs"`` or ``"ours"``."""
    leaves = {name: t.detach().requires_grad_(name not in row.constants) for name, t in tensors.items()}
    options = row.options if who == "ours" else {}
    found = getattr(row, who)(**leaves, **options)
    output, *others = found if isinstance(found, tuple) else (found,)
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(output.shape, generator=generator, dtype=torch.float64, device="cpu").to(output)
    wanted = [name for name in leaves if name not in row.constants]
    grads = torch.autograd.grad(output, [leaves[name] for name in wanted], grad)
    results = {f"result {k}": value.detach() for k, value in enumerate((output, *others))}
    return results, dict(zip(wanted, grads, strict=True))
