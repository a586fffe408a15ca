"""Interest capsules of recommenders."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import capsroute

from .page import from_page
from .row import B, D, I, J, Row, d, dense
from .squashes import under_root
from .votes import VOTES

squash = under_root(1e-9)


def _interests(votes: Tensor, b: Tensor, mask: Tensor, dim: int) -> Tensor:
    """``b [B, J, I]``; the coupling is set to 0 behind the softmax where the mask is; last iteration only."""
    for k in range(3):
        c = b.softmax(dim).where(mask[:, None] != 0, 0.0)[:, :, None]
        v = squash((c @ (votes if k == 2 else votes.detach())).squeeze(2))
        b = b + (votes.detach() * v.detach()[:, :, None]).sum(-1)
    return v


def _row(layout: str, options: dict[str, Any], dim: int, masked: Callable[[Tensor], dict[str, Tensor]]) -> Row:
    """A softmax along ``dim``; ``masked`` are the arguments that the mask becomes in our call.

    With the bilinear type 0, the last of the name, ``logits [B, J, I]`` are random and take no gradient.
    """
    shape, formula = VOTES[layout]

    def theirs(x: Tensor, weight: Tensor, mask: Tensor, logits: Tensor | None = None) -> Tensor:
        return _interests(formula(x, weight), x.new_zeros(B, J, I) if logits is None else logits, mask, dim)

    def ours(x: Tensor, weight: Tensor, mask: Tensor, logits: Tensor | None = None, **options: Any) -> Tensor:
        initial = None if logits is None else logits.mT
        return dense(layout, J=J)(x, weight, logits=initial, **masked(mask), **options)

    shapes = {"x": X, "weight": shape, "mask": MASK, **({"logits": LOGITS} if layout.endswith(":0") else {})}
    return Row(layout, shapes, theirs, options, ours, constants=RANDOM)


def before_the_softmax(mask: Tensor) -> dict[str, Tensor]:
    """Over the outputs it makes no difference whether an absent item is taken out before or behind the softmax."""
    return {"input_mask": mask != 0}


def behind_the_softmax(mask: Tensor) -> dict[str, Tensor]:
    """Over the items it does: the padding takes its share."""
    return {"input_weight": mask}


def interests_there(mask: Tensor) -> Tensor:
    """Which interests users have, [B, J]: as many as the logarithm of their items, rounded up, and at least one."""
    counts = mask.sum(1).log2().ceil().clamp(1, J)
    return torch.arange(J, device=mask.device) < counts[:, None]


def easyrec(
    x: Tensor, weight: Tensor, logits: Tensor, mask: Tensor, r: int, scale: float = 1.5, power: float = 0.8
) -> Tensor:
    """Since its gradients go through the last iteration only; ``weight [d, D]``, ``logits [B, I, J]`` random.

    The logits of the next iteration are the products of *unit* votes with the unsquashed s, plus the masked *coupling
    coefficients* of this one.
    """
    there = interests_there(mask)
    votes = x @ weight  # [B, I, D], the same for all interests
    units = torch.nn.functional.normalize(votes.detach(), dim=-1)
    for k in range(r):
        c = (logits.masked_fill(~there[:, None], float("-inf")) * scale).softmax(2) * mask[..., None]
        s = torch.einsum("bih,bij->bjh", votes if k == r - 1 else votes.detach(), c)
        logits = c + torch.einsum("bjh,bih->bij", s.detach(), units)
    n = s.norm(dim=-1, keepdim=True).clamp_min(1e-7)
    return ((n**2 / (1 + n**2)) ** power / n * s) * there[..., None]


def easyrec_ours(x: Tensor, weight: Tensor, logits: Tensor, mask: Tensor, **options: Any) -> Tensor:
    votes = (x @ weight)[:, :, None].expand(B, I, J, D)
    there = interests_there(mask)
    return capsroute.route_votes(votes, logits=logits, input_mask=mask != 0, output_mask=there, **options)


def easyrec_loop_ours(
    x: Tensor,
    weight: Tensor,
    logits: Tensor,
    mask: Tensor,
    iterations: int = 3,
    scale: float = 1.5,
    power: float = 0.8,
) -> Tensor:
    route = from_page("docs/recommenders.md", "easyrec_interests")
    lengths = mask.sum(1).long()
    return route(x, lengths, weight, logits, num_iters=iterations, routing_logits_scale=scale, squash_pow=power)


X, MASK, LOGITS = (B, I, d), (B, I), (B, J, I)
COMIREC: dict[str, Any] = {"gradient": "last", "eps": 1e-9}
RECHUB: dict[str, Any] = {"softmax_over": "inputs", **COMIREC}
POWER: dict[str, Any] = {"squash": "power", "squash_constant": 0.8, "eps": 1e-7}
RANDOM = frozenset({"mask", "logits"})
EASYREC = {"x": X, "weight": (d, D), "logits": (B, I, J), "mask": MASK}

ROWS = [
    *(_row(f"THUDM/ComiRec:{k}", COMIREC, 1, before_the_softmax) for k in range(3)),
    *(_row(f"datawhalechina/torch-rechub:{k}", RECHUB, 2, behind_the_softmax) for k in range(3)),
    Row(
        "alibaba/TorchEasyRec, `num_iters=1`",
        EASYREC,
        partial(easyrec, r=1),
        {"iterations": 1, "temperature": 1 / 1.5, **POWER},
        easyrec_ours,
        constants=RANDOM,
    ),
    Row(
        "alibaba/TorchEasyRec, `num_iters=3`",
        EASYREC,
        partial(easyrec, r=3),
        {},
        easyrec_loop_ours,
        constants=RANDOM,
    ),
]
