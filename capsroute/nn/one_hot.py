"""Which of the classes a number is, as torch.func can map it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def one_hot(classes: Tensor, count: int) -> Tensor:
    """Bool ``[..., count]``, True at the class; ``classes`` are int64.

    torch's own refuses numbers outside of the range, for which it reads values: torch.func.vmap of torch.func.grad,
    the gradients of each sample, cannot do that.
    """
    if torch._C._are_functorch_transforms_active():
        return classes.unsqueeze(-1) == torch.arange(count, device=classes.device)
    return nn.functional.one_hot(classes, count).bool()
