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
    squash: str = "standard"
    squash_constant: float = 1.0
    logit_update: str = "accumulate"
    agreement_factor: float = 1.0
    temperature: float | tuple[float, ...] = 1.0

    def temperature_of(self, t: int) -> float:
        """Of iteration t = 0 ..."""
        return self.temperature[t] if isinstance(self.temperature, tuple) else self.temperature


@dataclass(frozen=True)
class Trace:
    """What the backward of one sample needs, per iteration: the couplings [I, J], s and v [J, D]."""

    couplings: list[Array]
    totals: list[Array]
    outputs: list[Array]


def squash_factor(r: float, options: Options) -> tuple[float, float]:
    """What a vector of length r is multiplied with, and its derivative with respect to r; both 0 at r = 0 where the
    formula has no value there."""
    n, eps, c = r * r, options.eps, options.squash_constant
    kind = options.squash
    if kind == "none":
        return 1.0, 0.0
    if kind == "shifted":
        q = n + eps
        if q == 0:
            return 0.0, 0.0
        return np.sqrt(q) / (c + q), (0.5 / np.sqrt(q) / (c + q) - np.sqrt(q) / (c + q) ** 2) * 2 * r
    if r == 0:
        return 0.0, 0.0
    length, slope = {
        "standard": (np.sqrt(n + eps), r / np.sqrt(n + eps)),
        "norm_eps": (r + eps, 1.0),
        "exponential": (r + eps, 1.0),
        "clamped": (max(r, eps), float(r >= eps)),
        "power": (max(r, eps), float(r >= eps)),
    }[kind]
    gain, rise = n / (1 + n), 2 * r / (1 + n) ** 2
    if kind == "power":
        gain, rise = gain**c, c * gain ** (c - 1) * rise
    if kind == "exponential":
        gain, rise = -np.expm1(-r), np.exp(-r)
    return gain / length, rise / length - gain / length**2 * slope


def squash(s: Array, options: Options) -> Array:
    """The squash of each row of s [J, D]."""
    return np.array([row * squash_factor(float(np.sqrt(row @ row)), options)[0] for row in s]).reshape(s.shape)


def squash_backward(s: Array, grad: Array, options: Options) -> Array:
    """Transposed Jacobian of squash at s [J, D] applied to grad [J, D]."""
    result = np.zeros_like(s)
    for j, (row, g) in enumerate(zip(s, grad, strict=True)):
        r = float(np.sqrt(row @ row))
        factor, slope = squash_factor(r, options)
        result[j] = factor * g
        if r > 0:
            result[j] += slope * (row @ g) / r * row
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


def route_sample(
    votes: Array, bias: Array, logits: Array, weights: Array, options: Options, coupling: Array | None
) -> tuple[Array, Trace]:
    """Route one sample without absent capsules: votes [I, J, D], bias and v [J, D], logits [I, J], weights [I]."""
    trace = Trace([], [], [])
    b = logits
    for t in range(1 if coupling is not None else options.iterations):
        c = softmax(b / options.temperature_of(t), options) if coupling is None else coupling
        total = np.einsum("ij,i,ijd->jd", c, weights, votes) + bias
        output = squash(total, options)
        trace.couplings.append(c)
        trace.totals.append(total)
        trace.outputs.append(output)
        agreement = options.agreement_factor * np.einsum("ijd,jd->ij", votes, output)
        b = b + agreement if options.logit_update == "accumulate" else agreement
    return output, trace


def route_sample_backward(
    votes: Array, grad: Array, weights: Array, trace: Trace, options: Options, coupling: Array | None
) -> tuple[Array, Array, Array, Array]:
    """Gradients of one sample by votes [I, J, D], bias [J, D], logits (or coupling) [I, J] and weights [I].

    Written with the logits b themselves, b of an iteration being that of the one before plus its agreement; the package
    keeps no such thing.
    """
    d_votes, d_bias = np.zeros_like(votes), np.zeros_like(grad)
    d_b, d_weights = np.zeros(votes.shape[:2]), np.zeros(len(votes))  # d_b: of the logits of the next iteration
    axis = 0 if options.softmax_over == "inputs" else 1
    accumulates = options.logit_update == "accumulate"
    last = len(trace.totals) - 1
    d_output = grad
    for t in range(last, -1, -1):
        c, total, output = trace.couplings[t], trace.totals[t], trace.outputs[t]
        if t < last:
            d_output = options.agreement_factor * np.einsum("ij,ijd->jd", d_b, votes)
            if options.gradient == "all":
                d_votes += options.agreement_factor * d_b[:, :, None] * output
        d_total = squash_backward(total, d_output, options)
        product = np.einsum("ijd,jd->ij", votes, d_total)
        d_bias += d_total
        d_weights += (c * product).sum(axis=1)
        if t == last or options.gradient == "all":
            d_votes += (c * weights[:, None])[:, :, None] * d_total
        product = product * weights[:, None]
        if coupling is not None:
            return d_votes, d_bias, product, d_weights
        d_logit = c * (product - (c * product).sum(axis=axis, keepdims=True)) / options.temperature_of(t)
        d_b = d_logit + (d_b if accumulates else 0)
        if options.gradient == "last":
            # The outputs of before and the votes within the last logits are constants, the initial logits are not.
            return d_votes, d_bias, d_b if accumulates or last == 0 else np.zeros_like(d_b), d_weights
    return d_votes, d_bias, d_b, d_weights


def route_votes(
    votes: Array,
    bias: Array | None = None,
    logits: Array | None = None,
    input_weight: Array | None = None,
    coupling: Array | None = None,
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
        input_weight: ``[B, I]`` or None.
        coupling: As logits, which are then None; or None.
        input_mask: ``[B, I]`` or None.
        output_mask: ``[B, J]`` or None.
        grad: Gradient of the output, ``[B, J, D]``.
        options: The other options.

    Returns:
        ``output`` and the gradients, in the shapes of those given.
    """
    batch, inputs, outputs, size = votes.shape
    pairs = logits if coupling is None else coupling
    all_pairs = np.zeros((batch, inputs, outputs)) + (0.0 if pairs is None else pairs)
    weights = np.ones((batch, inputs)) if input_weight is None else input_weight
    name = "logits" if coupling is None else "coupling"
    result = {
        "output": np.zeros((batch, outputs, size)),
        "votes": np.zeros_like(votes),
        "bias": np.zeros((outputs, size)),
        name: np.zeros_like(all_pairs),
        "input_weight": np.zeros((batch, inputs)),
    }
    for b in range(batch):
        here = np.arange(inputs) if input_mask is None else np.flatnonzero(input_mask[b])
        there = np.arange(outputs) if output_mask is None else np.flatnonzero(output_mask[b])
        cell = np.ix_(here, there)
        b_there = np.zeros((len(there), size)) if bias is None else bias[there]
        own, own_pairs, fixed = votes[b][cell], all_pairs[b][cell], None
        if coupling is not None:
            own_pairs, fixed = np.zeros_like(own_pairs), own_pairs
        v, trace = route_sample(own, b_there, own_pairs, weights[b, here], options, fixed)
        d_votes, d_bias, d_pairs, d_weights = route_sample_backward(
            own, grad[b][there], weights[b, here], trace, options, fixed
        )
        result["output"][b, there] = v
        result["votes"][b][cell] = d_votes
        result["bias"][there] += d_bias
        result[name][b][cell] = d_pairs
        result["input_weight"][b, here] = d_weights
    if pairs is not None and pairs.ndim == 2:
        result[name] = result[name].sum(axis=0)
    for given_name, given in (("bias", bias), (name, pairs), ("input_weight", input_weight)):
        if given is None:
            del result[given_name]
    return result


def dynamic_routing(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    logits: Array | None = None,
    input_weight: Array | None = None,
    coupling: Array | None = None,
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
    result = route_votes(
        votes, bias, logits, input_weight, coupling, input_mask, output_mask, grad=grad, options=options
    )
    d_votes = result.pop("votes")
    result["x"] = np.einsum("ijpq,bijp->biq", weight[shared], d_votes)
    result["weight"] = np.zeros_like(weight)
    np.add.at(result["weight"], shared, np.einsum("bijp,biq->ijpq", d_votes, x))
    return result
