"""Beside all floors: routing by agreement in plain PyTorch, the definition, the tests' oracle and the fallback.

The code follows Sabour, Frosst and Hinton, "Dynamic Routing Between Capsules" (2017), procedure 1, written with the
running sum of the outputs: the logits of iteration t are the initial logits plus the agreement of the votes with
V = v^1 + ... + v^(t-1). Everything is differentiated by autograd and computed in the dtype of the arguments.
The size of the batch is never read, so that what traces this code, as the exporters of ONNX do, is right for any.
Options are checked, and that tensors are plain ones; for the rest ``capsroute.routing.functional`` has the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .options import of_keywords
from .result import RoutingResult
from .tensors import boolean, floating

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .keywords import RoutingKeywords


def _where_positive(condition: Tensor, value: Tensor) -> Tensor:
    """``value`` where ``condition > 0``, else 1: what a root or a quotient is then safe to take, gradients too."""
    return torch.where(condition > 0, value, 1.0)


def squash(s: Tensor, eps: float = 1e-8, kind: str = "standard", constant: float = 1.0) -> Tensor:
    """Scale each vector by a function of its length; by default to a length below one.

    With ``n = |s|^2`` and ``r = |s|``:

    * ``"standard"``: ``s n / (1 + n) / sqrt(n + eps)``, Sabour et al. 2017, equation 1;
    * ``"norm_eps"``: ``s n / (1 + n) / (r + eps)``;
    * ``"clamped"``: ``s n / (1 + n) / max(r, eps)``;
    * ``"shifted"``: ``s sqrt(q) / (constant + q)`` with q = n + eps;
    * ``"exponential"``: ``s (1 - exp(-r)) / (r + eps)``, Mazzia et al. 2021, equation 3;
    * ``"power"``: ``s (n / (1 + n))^constant / max(r, eps)``;
    * ``"none"``: s.

    Where a formula has no value at s = 0, value and gradient there are 0. The gradient of ``"power"`` grows without
    bound towards 0 where ``constant < 1/2``.

    Args:
        s: Vectors along the last axis, ``[..., D]``.
        eps: At least 0.
        kind: One of the names above.
        constant: The number in ``"shifted"`` and ``"power"``.

    Returns:
        Tensor of the shape and dtype of ``s``.
    """
    if kind == "none":
        return s
    n = (s * s).sum(-1, keepdim=True)
    if kind == "standard":
        return s * (n / (1 + n) / _where_positive(n + eps, n + eps).sqrt())
    if kind == "shifted":
        q = n + eps  # not sqrt(q) / (constant + q), whose gradient has a factor of 1 / |s|^3, too small for large s
        return s * (q / (constant + q) / _where_positive(q, q).sqrt())
    r = torch.where(n > 0, _where_positive(n, n).sqrt(), 0.0)
    if kind == "power":
        gain = torch.where(n > 0, (_where_positive(n, n) / (1 + n)).pow(constant), 0.0)
    elif kind == "exponential":
        half = torch.tanh(r / 2)
        gain = 2 * half / (1 + half)  # 1 - exp(-r), exact for small r too; ONNX has no expm1
    else:
        gain = n / (1 + n)
    length = r.clamp_min(eps) if kind in ("clamped", "power") else r + eps
    return s * (gain / _where_positive(length, length))


def prediction_vectors(x: Tensor, weight: Tensor) -> Tensor:
    """What each input capsule predicts for each output capsule: ``[B, I, d], [I_w, *J, D, d] -> [B, I, *J, D]``."""
    grouped = x.unflatten(1, (x.shape[1] // weight.shape[0], weight.shape[0]))  # input i uses weight i mod I_w
    return torch.einsum("brid,i...d->bri...", grouped, weight).flatten(1, 2)


def coupling_coefficients(logits: Tensor, present: Tensor | None, dim: int, leaky: bool) -> Tensor:
    """Softmax of ``logits [B, I, J]`` along ``dim`` over what is present; over nothing it is 0.

    ``leaky`` adds one zero logit whose share is dropped.
    """
    if present is not None:
        logits = logits.masked_fill(~present, float("-inf"))
    largest = logits.detach().amax(dim, keepdim=True)
    if leaky:
        largest = largest.clamp_min(0)
    largest = largest.masked_fill(largest == float("-inf"), 0)
    share = (logits - largest).exp()
    total = share.sum(dim, keepdim=True)
    if leaky:
        total = total + (-largest).exp()
    return share / torch.where(total == 0, 1.0, total)


def _check_kinds(check: Callable[[str, Any], Any], **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None:
            check(name, tensor)


def route_votes(
    votes: Tensor,
    bias: Tensor | None = None,
    *,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    input_weight: Tensor | None = None,
    coupling: Tensor | None = None,
    details: Sequence[str] | None = None,
    **keywords: Unpack[RoutingKeywords],
) -> Any:
    """Plain version of :func:`capsroute.route_votes`; the same arguments and result."""
    options = of_keywords(keywords)
    _check_kinds(floating, votes=votes, bias=bias, logits=logits, input_weight=input_weight, coupling=coupling)
    _check_kinds(boolean, input_mask=input_mask, output_mask=output_mask)
    axes = votes.shape[2:-1]
    votes = votes.flatten(2, -2)  # [B, I, J, D]
    bias = None if bias is None else bias.flatten(0, -2)
    given = logits if coupling is None else coupling  # [I, J] or [B, I, J]
    if given is not None:
        given = given.flatten(-len(axes))
    present = None if input_mask is None else input_mask[:, :, None]  # who takes part, [B, I, J] or with sizes of 1
    if output_mask is not None:
        output_mask = output_mask.flatten(1)
        present = output_mask[:, None, :] if present is None else present & output_mask[:, None, :]
    if present is not None:
        votes = votes.masked_fill(~present[..., None], 0)
        if input_weight is not None and input_mask is not None:
            input_weight = input_weight.masked_fill(~input_mask, 0)

    constant_votes = votes if options.gradient == "all" else votes.detach()
    initial = votes.new_zeros(votes.shape[1:3]) if given is None else given
    # V, the sum of the outputs that the logits come from: [J, D] while it is 0, then [B, J, D].
    total = votes.new_zeros(votes.shape[2:])
    iterations = 1 if coupling is not None else options.iterations
    temperatures = options.temperatures()
    v = s = c = total
    for iteration in range(1, iterations + 1):
        last = iteration == iterations
        if options.gradient == "last":
            total = total.detach()  # tangents too, which no_grad would let through
        with torch.set_grad_enabled(torch.is_grad_enabled() and (last or options.gradient != "last")):
            if coupling is not None:
                c = initial if initial.dim() == 3 else initial.unsqueeze(0)
                c = c if present is None else c.masked_fill(~present, 0)
            else:
                b = (constant_votes * total.unsqueeze(-3)).sum(-1)
                if options.logit_update == "accumulate" or iteration == 1:
                    b = initial + b
                if temperatures != (1.0,):
                    b = b / temperatures[min(iteration, len(temperatures)) - 1]
                axis = 2 if options.softmax_over == "outputs" else 1
                c = coupling_coefficients(b, present, axis, options.leaky)
            weighted = c if input_weight is None else c * input_weight[:, :, None]
            s = torch.einsum("bij,bijk->bjk", weighted, votes if last else constant_votes)
            if bias is not None:
                s = s + bias
            if output_mask is not None:
                s = s.masked_fill(~output_mask[..., None], 0)
            v = squash(s, options.eps, options.squash, options.constant_of_squash())
            agreement = options.agreement_factor * v
            total = total + agreement if options.logit_update == "accumulate" else agreement
    output = v.unflatten(1, axes)
    if details is None:
        return output
    return RoutingResult(
        output,
        c.detach().expand(votes.shape[:3]).unflatten(2, axes) if "coupling" in details else None,
        s.unflatten(1, axes) if "pre_squash" in details else None,
        (votes * v[:, None]).sum(-1).detach().unflatten(2, axes) if "agreement" in details else None,
    )


def dynamic_routing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    input_weight: Tensor | None = None,
    coupling: Tensor | None = None,
    details: Sequence[str] | None = None,
    **keywords: Unpack[RoutingKeywords],
) -> Any:
    """Plain version of :func:`capsroute.dynamic_routing`; the same arguments and result."""
    _check_kinds(floating, x=x, weight=weight)
    if input_mask is not None:
        boolean("input_mask", input_mask)
        x = x.masked_fill(~input_mask[..., None], 0)  # absent values must not reach the gradient of the weight either
    return route_votes(
        prediction_vectors(x, weight),
        bias,
        logits=logits,
        input_mask=input_mask,
        output_mask=output_mask,
        input_weight=input_weight,
        coupling=coupling,
        details=details,
        **keywords,
    )
