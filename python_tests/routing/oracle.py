"""Dynamic routing in NumPy float64, sample by sample: an oracle that shares no code with the package.

It follows section "Notation and the mathematics" of the design (Sabour et al. 2017, procedure 1, with the logits
rewritten as the inner product of the votes with the running sum of the outputs). Absent capsules are cut out of the
arrays before anything is computed, so that masking cannot be wrong in the same way here and in the package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """The options of one routing; the names are those of ``capsroute.dynamic_routing``."""

    iterations: int = 3
    softmax_over: str = "outputs"
    leaky: bool = False
    gradient: str = "all"
    eps: float = 1e-8


@dataclass(frozen=True)
class Trace:
    """What the backward of one sample needs: per iteration the couplings [I, J], s and the query V [J, D]."""

    couplings: list[Array]
    totals: list[Array]
    queries: list[Array]


def squash(s: Array, eps: float) -> Array:
    """s·|s|²/(1+|s|²)/√(|s|²+ε) of each row of s [J, D]; 0 at s = 0."""
    norm2 = (s * s).sum(axis=1, keepdims=True)
    root = np.sqrt(norm2 + eps)
    return s * norm2 / (1 + norm2) / np.where(root == 0, 1, root)


def squash_backward(s: Array, grad: Array, eps: float) -> Array:
    """Transposed Jacobian of squash at s [J, D] applied to grad [J, D]; 0 at s = 0 where ε = 0."""
    result = np.zeros_like(s)
    for j, (row, g) in enumerate(zip(s, grad, strict=True)):
        norm2 = float(row @ row)
        if norm2 == 0:
            continue  # the factor |s|²/√(|s|²+ε) and its product with s vanish, whatever ε is
        root = np.sqrt(norm2 + eps)
        factor = norm2 / (1 + norm2) / root
        slope = (1 / (1 + norm2) - norm2 / (2 * root * root)) / (1 + norm2) / root  # d factor / d |s|²
        result[j] = factor * g + 2 * slope * (row @ g) * row
    return result


def softmax(logits: Array, options: Options) -> Array:
    """Coupling coefficients of logits [I, J], over outputs (with a leak if asked for) or over inputs."""
    couplings = np.zeros_like(logits)
    inputs, outputs = logits.shape
    if options.softmax_over == "inputs":
        for j in range(outputs):
            e = np.exp(logits[:, j] - logits[:, j].max(initial=-np.inf))
            couplings[:, j] = e / e.sum()
        return couplings
    for i in range(inputs):
        row = np.append(logits[i], 0.0) if options.leaky else logits[i]
        e = np.exp(row - row.max(initial=-np.inf))
        couplings[i] = (e / e.sum())[:outputs]
    return couplings


def route_sample(votes: Array, bias: Array, logits: Array, options: Options) -> tuple[Array, Trace]:
    """Route one sample without absent capsules: votes [I, J, D], bias [J, D], logits [I, J] -> v [J, D]."""
    query = np.zeros_like(bias)
    trace = Trace([], [], [])
    for _ in range(options.iterations):
        coupling = softmax(logits + np.einsum("ijd,jd->ij", votes, query), options)
        total = np.einsum("ij,ijd->jd", coupling, votes) + bias
        output = squash(total, options.eps)
        trace.couplings.append(coupling)
        trace.totals.append(total)
        trace.queries.append(query)
        query = query + output
    return output, trace


def route_sample_backward(votes: Array, grad: Array, trace: Trace, options: Options) -> tuple[Array, Array, Array]:
    """Gradients of one sample with respect to votes [I, J, D], bias [J, D] and logits [I, J], for grad [J, D]."""
    d_votes, d_bias = np.zeros_like(votes), np.zeros_like(grad)
    d_logits = np.zeros(votes.shape[:2])
    d_output = grad  # gradient of v^t: that of the result, then what later iterations ask of it through V
    d_query_sum = np.zeros_like(grad)
    for t in reversed(range(options.iterations)):
        coupling, total, query = trace.couplings[t], trace.totals[t], trace.queries[t]
        d_total = squash_backward(total, d_output, options.eps)
        product = np.einsum("ijd,jd->ij", votes, d_total)
        axis = 0 if options.softmax_over == "inputs" else 1
        d_logit = coupling * (product - (coupling * product).sum(axis=axis, keepdims=True))
        d_votes += coupling[:, :, None] * d_total
        d_bias += d_total
        d_logits += d_logit
        if options.gradient == "last":
            break  # V and the votes inside the last logits are constants
        d_votes += d_logit[:, :, None] * query
        d_query_sum = d_query_sum + np.einsum("ij,ijd->jd", d_logit, votes)
        d_output = d_query_sum
    return d_votes, d_bias, d_logits


def route_votes(
    votes: Array,
    bias: Array | None = None,
    logits: Array | None = None,
    input_mask: NDArray[np.bool_] | None = None,
    output_mask: NDArray[np.bool_] | None = None,
    *,
    grad: Array,
    options: Options,
) -> dict[str, Array]:
    """Output and gradients of routing votes [B, I, J, D].

    Args:
        votes: Prediction vectors, ``[B, I, J, D]``.
        bias: ``[J, D]`` or None.
        logits: ``[I, J]``, ``[B, I, J]`` or None.
        input_mask: ``[B, I]`` or None.
        output_mask: ``[B, J]`` or None.
        grad: Gradient of the output, ``[B, J, D]``.
        options: The other options.

    Returns:
        ``output`` and the gradients ``votes``, and ``bias`` and ``logits`` in the shapes of those given.
    """
    batch, inputs, outputs, size = votes.shape
    all_logits = np.zeros((batch, inputs, outputs)) + (0.0 if logits is None else logits)
    result = {
        "output": np.zeros((batch, outputs, size)),
        "votes": np.zeros_like(votes),
        "bias": np.zeros((outputs, size)),
        "logits": np.zeros_like(all_logits),
    }
    for b in range(batch):
        here = np.arange(inputs) if input_mask is None else np.flatnonzero(input_mask[b])
        there = np.arange(outputs) if output_mask is None else np.flatnonzero(output_mask[b])
        cell = np.ix_(here, there)
        b_there = np.zeros((len(there), size)) if bias is None else bias[there]
        v, trace = route_sample(votes[b][cell], b_there, all_logits[b][cell], options)
        d_votes, d_bias, d_logits = route_sample_backward(votes[b][cell], grad[b][there], trace, options)
        result["output"][b, there] = v
        result["votes"][b][cell] = d_votes
        result["bias"][there] += d_bias
        result["logits"][b][cell] = d_logits
    if logits is not None and logits.ndim == 2:
        result["logits"] = result["logits"].sum(axis=0)
    for name, given in (("bias", bias), ("logits", logits)):
        if given is None:
            del result[name]
    return result


def dynamic_routing(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    logits: Array | None = None,
    input_mask: NDArray[np.bool_] | None = None,
    output_mask: NDArray[np.bool_] | None = None,
    *,
    grad: Array,
    options: Options,
) -> dict[str, Array]:
    """As ``route_votes``, from x ``[B, I, d]`` and weight ``[I_w, J, D, d]``; gradients ``x`` and ``weight``."""
    shared = np.arange(x.shape[1]) % weight.shape[0]
    if input_mask is not None:
        x = np.where(input_mask[:, :, None], x, 0.0)  # an absent value may be NaN and must not reach dW
    votes = np.einsum("ijpq,biq->bijp", weight[shared], x)
    result = route_votes(votes, bias, logits, input_mask, output_mask, grad=grad, options=options)
    d_votes = result.pop("votes")
    result["x"] = np.einsum("ijpq,bijp->biq", weight[shared], d_votes)
    result["weight"] = np.zeros_like(weight)
    np.add.at(result["weight"], shared, np.einsum("bijp,biq->ijpq", d_votes, x))
    return result
