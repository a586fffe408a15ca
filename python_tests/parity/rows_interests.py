"""Interest capsules of recommenders."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute.layouts import weight_to_capsroute

from .page import from_page
from .row import B, D, I, J, Row, d
from .squashes import under_root

squash = under_root(1e-9)


def _votes(x: Tensor, weight: Tensor) -> Tensor:
    """``[B, J, I, D]`` from ``weight [d, D]``, ``[d, J·D]`` or ``[1, I, J·D, d]``: bilinear types 0, 1, 2."""
    hat = (weight[0] @ x[..., None]).squeeze(-1) if weight.dim() == 4 else x @ weight
    hat = hat.repeat(1, 1, J) if hat.shape[-1] == D else hat
    return hat.view(B, I, J, D).transpose(1, 2)


def _interests(votes: Tensor, b: Tensor, mask: Tensor, dim: int) -> Tensor:
    """``b [B, J, I]``; the coupling is set to 0 behind the softmax where the mask is; last iteration only."""
    for k in range(3):
        c = b.softmax(dim).where(mask[:, None] != 0, 0.0)[:, :, None]
        v = squash((c @ (votes if k == 2 else votes.detach())).squeeze(2))
        b = b + (votes.detach() * v.detach()[:, :, None]).sum(-1)
    return v


def comirec(x: Tensor, weight: Tensor, mask: Tensor, logits: Tensor | None = None) -> Tensor:
    """A softmax over the interests; ``logits [B, J, I]`` are random and take no gradient, with type 0 only."""
    b = x.new_zeros(B, J, I) if logits is None else logits
    return _interests(_votes(x, weight), b, mask, dim=1)


def torch_rechub(x: Tensor, weight: Tensor, mask: Tensor, logits: Tensor | None = None) -> Tensor:
    """The same with a softmax over the items, the padding among them; layers of type 0 and 1 hold [D, d], [J·D, d]."""
    b = x.new_zeros(B, J, I) if logits is None else logits
    return _interests(_votes(x, weight.mT if weight.dim() == 2 else weight), b, mask, dim=2)


def before_the_softmax(layout: str, **sizes: int) -> Any:
    """Over the outputs it makes no difference whether an absent item is taken out before or behind the softmax."""

    def ours(x: Tensor, weight: Tensor, mask: Tensor, logits: Tensor | None = None, **options: Any) -> Tensor:
        initial = None if logits is None else logits.mT
        weight = weight_to_capsroute(weight, layout, **sizes)
        return capsroute.dynamic_routing(x, weight, logits=initial, input_mask=mask != 0, **options)

    return ours


def behind_the_softmax(layout: str, **sizes: int) -> Any:
    def ours(x: Tensor, weight: Tensor, mask: Tensor, logits: Tensor | None = None, **options: Any) -> Tensor:
        initial = None if logits is None else logits.mT
        weight = weight_to_capsroute(weight, layout, **sizes)
        return capsroute.dynamic_routing(x, weight, logits=initial, input_weight=mask, **options)

    return ours


def _interests_there(mask: Tensor) -> Tensor:
    """Which interests users have, [B, J]: as many as the logarithm of their items, rounded up, and at least one."""
    counts = mask.sum(1).log2().ceil().clamp(1, J)
    return torch.arange(J, device=mask.device) < counts[:, None]


def easyrec(x: Tensor, weight: Tensor, logits: Tensor, mask: Tensor, r: int) -> Tensor:
    """Since its gradients go through the last iteration only; ``weight [d, D]``, ``logits [B, I, J]`` random.

    Scale 1.5, power 0.8. The logits of the next iteration are the products of *unit* votes with the unsquashed s, plus
    the masked *coupling coefficients* of this one.
    """
    there = _interests_there(mask)
    votes = x @ weight  # [B, I, D], the same for all interests
    units = torch.nn.functional.normalize(votes.detach(), dim=-1)
    for k in range(r):
        c = (logits.masked_fill(~there[:, None], float("-inf")) * 1.5).softmax(2) * mask[..., None]
        s = torch.einsum("bih,bij->bjh", votes if k == r - 1 else votes.detach(), c)
        logits = c + torch.einsum("bjh,bih->bij", s.detach(), units)
    n = s.norm(dim=-1, keepdim=True).clamp_min(1e-7)
    return ((n**2 / (1 + n**2)) ** 0.8 / n * s) * there[..., None]


def easyrec_ours(x: Tensor, weight: Tensor, logits: Tensor, mask: Tensor, **options: Any) -> Tensor:
    votes = (x @ weight)[:, :, None].expand(B, I, J, D)
    there = _interests_there(mask)
    return capsroute.route_votes(votes, logits=logits, input_mask=mask != 0, output_mask=there, **options)


def easyrec_loop_ours(x: Tensor, weight: Tensor, logits: Tensor, mask: Tensor, iterations: int = 3) -> Tensor:
    route = from_page("docs/recommenders.md", "easyrec_interests")
    lengths = mask.sum(1).long()
    return route(x, lengths, weight, logits, num_iters=iterations, routing_logits_scale=1.5, squash_pow=0.8)


X, MASK, LOGITS = (B, I, d), (B, I), (B, J, I)
COMIREC: dict[str, Any] = {"gradient": "last", "eps": 1e-9}
RECHUB: dict[str, Any] = {"softmax_over": "inputs", **COMIREC}
POWER: dict[str, Any] = {"squash": "power", "squash_constant": 0.8, "eps": 1e-7}
RANDOM = frozenset({"mask", "logits"})
EASYREC = {"x": X, "weight": (d, D), "logits": (B, I, J), "mask": MASK}

ROWS = [
    Row(
        "THUDM/ComiRec:0",
        {"x": X, "weight": (d, D), "mask": MASK, "logits": LOGITS},
        comirec,
        COMIREC,
        before_the_softmax("THUDM/ComiRec:0", J=J),
        constants=RANDOM,
    ),
    Row(
        "THUDM/ComiRec:1",
        {"x": X, "weight": (d, J * D), "mask": MASK},
        comirec,
        COMIREC,
        before_the_softmax("THUDM/ComiRec:1", J=J),
        constants=RANDOM,
    ),
    Row(
        "THUDM/ComiRec:2",
        {"x": X, "weight": (1, I, J * D, d), "mask": MASK},
        comirec,
        COMIREC,
        before_the_softmax("THUDM/ComiRec:2", J=J),
        constants=RANDOM,
    ),
    Row(
        "datawhalechina/torch-rechub:0",
        {"x": X, "weight": (D, d), "mask": MASK, "logits": LOGITS},
        torch_rechub,
        RECHUB,
        behind_the_softmax("datawhalechina/torch-rechub:0", J=J),
        constants=RANDOM,
    ),
    Row(
        "datawhalechina/torch-rechub:1",
        {"x": X, "weight": (J * D, d), "mask": MASK},
        torch_rechub,
        RECHUB,
        behind_the_softmax("datawhalechina/torch-rechub:1", J=J),
        constants=RANDOM,
    ),
    Row(
        "datawhalechina/torch-rechub:2",
        {"x": X, "weight": (1, I, J * D, d), "mask": MASK},
        torch_rechub,
        RECHUB,
        behind_the_softmax("datawhalechina/torch-rechub:2", J=J),
        constants=RANDOM,
    ),
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
