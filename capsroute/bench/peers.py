"""What capsroute is compared with: routing as tensor expressions, eager and compiled.

Both formulations compute what ``capsroute.reference`` defines, with the default options; they differ in how the votes
and the sums over input capsules are written. Each is as fast as its form allows: no masks, no optional terms, votes
made once and kept, the uniform coupling of the first iteration taken as a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .names import check

Route = Callable[..., Tensor]  # of x and weight, or of votes

EPS = 1e-8


def _squash(s: Tensor) -> Tensor:
    squared = (s * s).sum(-1, keepdim=True)
    return s * (squared / (1 + squared) * torch.rsqrt(squared + EPS))


def einsum(x: Tensor, weight: Tensor, iterations: int, gradient: str) -> Tensor:
    """Votes, sums and agreement as ``torch.einsum``; x ``[B, I, d]``, weight ``[I, J, D, d]`` -> ``[B, J, D]``."""
    return einsum_of_votes(torch.einsum("bip,ijqp->bijq", x, weight), iterations, gradient)


def einsum_of_votes(votes: Tensor, iterations: int, gradient: str) -> Tensor:
    """Sums and agreement as ``torch.einsum``; votes ``[B, I, J, D]`` -> ``[B, J, D]``."""

    def sum_over_inputs(coupling: Tensor | None, votes: Tensor) -> Tensor:
        if coupling is None:
            return votes.sum(1) / votes.shape[2]
        return torch.einsum("bij,bijq->bjq", coupling, votes)

    def agreement(votes: Tensor, v: Tensor) -> Tensor:
        return torch.einsum("bijq,bjq->bij", votes, v)

    return _iterate(votes, sum_over_inputs, agreement, iterations, gradient, softmax_axis=2)


def bmm(x: Tensor, weight: Tensor, iterations: int, gradient: str) -> Tensor:
    """The same as batched matrix products."""
    inputs, outputs, output_size, input_size = weight.shape
    flat = weight.reshape(inputs, outputs * output_size, input_size).transpose(1, 2)
    votes = torch.bmm(x.transpose(0, 1), flat)  # [I, B, J·D]
    return bmm_of_votes(votes.view(inputs, -1, outputs, output_size).transpose(0, 1), iterations, gradient)


def bmm_of_votes(votes: Tensor, iterations: int, gradient: str) -> Tensor:
    """Sums and agreement as batched matrix products; votes ``[B, I, J, D]``, of any strides -> ``[B, J, D]``."""
    votes = votes.transpose(1, 2).contiguous()  # [B, J, I, D]
    outputs = votes.shape[1]

    def sum_over_inputs(coupling: Tensor | None, votes: Tensor) -> Tensor:
        if coupling is None:
            return votes.sum(2) / outputs
        return torch.matmul(coupling[:, :, None, :], votes).squeeze(2)

    def agreement(votes: Tensor, v: Tensor) -> Tensor:
        return torch.matmul(votes, v[..., None]).squeeze(3)

    return _iterate(votes, sum_over_inputs, agreement, iterations, gradient, softmax_axis=1)


def _iterate(
    votes: Tensor,
    sum_over_inputs: Callable[[Tensor | None, Tensor], Tensor],
    agreement: Callable[[Tensor, Tensor], Tensor],
    iterations: int,
    gradient: str,
    softmax_axis: int,
) -> Tensor:
    """Sabour et al. 2017, procedure 1, over votes in the order of the two functions that read them."""
    earlier = votes.detach() if gradient == "last" else votes
    logits: Tensor | None = None
    v = votes
    for iteration in range(1, iterations + 1):
        last = iteration == iterations
        coupling = None if logits is None else torch.softmax(logits, dim=softmax_axis)
        v = _squash(sum_over_inputs(coupling, votes if last else earlier))
        if not last:
            change = agreement(earlier, v)
            logits = change if logits is None else logits + change
    return v


FORMULATIONS: dict[str, Callable[[Tensor, Tensor, int, str], Tensor]] = {"einsum": einsum, "bmm": bmm}
OF_VOTES: dict[str, Callable[[Tensor, int, str], Tensor]] = {"einsum": einsum_of_votes, "bmm": bmm_of_votes}
FAMILIES = ("eager", "compile")


def check_families(families: Sequence[str]) -> None:
    """Raise a ValueError that lists the families if one of these is unknown."""
    if families:
        check("compare", families, FAMILIES)


def contenders(families: Sequence[str], iterations: int, gradient: str, of_votes: bool = False) -> dict[str, Route]:
    """Every formulation in each family, by a name such as ``eager einsum``, as functions of x and weight.

    A compiled one is compiled by its first call, for the sizes of that call.

    Args:
        families: ``"eager"``, ``"compile"`` or both.
        iterations: T.
        gradient: ``"all"`` or ``"last"``.
        of_votes: Take functions of votes ``[B, I, J, D]`` instead.

    Raises:
        ValueError: An unknown family.
    """
    check_families(families)
    formulations: Mapping[str, Callable[..., Tensor]] = OF_VOTES if of_votes else FORMULATIONS
    return {
        f"{family} {name}": _bound(function, iterations, gradient, compiled=family == "compile")
        for family in families
        for name, function in formulations.items()
    }


def compiled(formulation: str, iterations: int, gradient: str, mode: str | None = None) -> Route:
    """One of :data:`FORMULATIONS`, compiled by its first call in a mode of ``torch.compile``, None for its default."""
    return _bound(FORMULATIONS[formulation], iterations, gradient, compiled=True, mode=mode)


def _bound(
    function: Callable[..., Tensor], iterations: int, gradient: str, compiled: bool, mode: str | None = None
) -> Callable[..., Tensor]:
    def route(*tensors: Tensor) -> Tensor:
        return function(*tensors, iterations, gradient)

    return torch.compile(route, fullgraph=True, dynamic=False, mode=mode) if compiled else route


def eager_bytes(votes: int, element_size: int, iterations: int) -> int:
    """Roughly what an eager formulation holds at once in forward and backward: several tensors the size of the votes.

    Per iteration autograd may add one gradient of the votes to another, and einsum keeps copies in other orders. It
    serves to leave out a peer that would exhaust the machine, and errs on the high side.
    """
    return votes * element_size * (4 + iterations)
