"""Checks of the arguments of the routing functions, in one place for every backend.

Each failure is a TypeError (wrong kind) or a ValueError (wrong size or value) that names the argument, what was given
and what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .options import GRADIENTS, SOFTMAX_AXES, RoutingOptions

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def floating(name: str, value: object) -> Tensor:
    """A dense tensor of a dtype that the kernels know."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.dtype not in DTYPES:
        raise TypeError(f"{name} must be float32, float64, bfloat16 or float16, got {value.dtype}")
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense (strided) tensor, got layout {value.layout}")
    return value


def rank(name: str, value: Tensor, axes: str) -> torch.Size:
    """One dimension per name in ``axes``; returns their sizes."""
    given, expected = value.shape, axes.count(",") + 1
    if len(given) != expected:
        raise ValueError(f"{name} must have {expected} dimensions [{axes}], got shape {tuple(given)}")
    return given


def shape(name: str, value: Tensor, axes: str, expected: Sequence[int]) -> None:
    """Exactly the expected sizes."""
    given = rank(name, value, axes)
    if any(given[k] != expected[k] for k in range(len(expected))):
        raise ValueError(f"{name} must have shape [{axes}] = {tuple(expected)}, got {tuple(given)}")


def positive(name: str, axes: str, given: torch.Size, *sizes: int) -> None:
    """At least 1, for those ``sizes`` of the shape ``given`` that must not be 0."""
    for size in sizes:
        if size < 1:
            raise ValueError(f"{name} [{axes}] must have sizes of at least 1 there, got shape {tuple(given)}")


def same_kind(name: str, value: Tensor, like_name: str, like: Tensor, *, dtype: bool = True) -> None:
    """Device, and unless told otherwise dtype, of another argument."""
    if dtype and value.dtype != like.dtype:
        raise TypeError(f"{name} must have the dtype of {like_name}, {like.dtype}, got {value.dtype}")
    if value.device != like.device:
        raise ValueError(f"{name} must be on the device of {like_name}, {like.device}, got {value.device}")


def mask(name: str, value: object, like_name: str, like: Tensor, axes: str, expected: Sequence[int]) -> None:
    """A bool tensor of the expected sizes."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a bool torch.Tensor or None, got {type(value).__name__}")
    if value.dtype != torch.bool:
        raise TypeError(f"{name} must have dtype torch.bool, got {value.dtype}")
    same_kind(name, value, like_name, like, dtype=False)
    shape(name, value, axes, expected)


def initial_logits(value: object, like_name: str, like: Tensor, batch: int, inputs: int, outputs: int) -> None:
    """``[I, J]`` or ``[B, I, J]``."""
    tensor = floating("logits", value)
    same_kind("logits", tensor, like_name, like)
    given = tuple(tensor.shape)
    if len(given) == 2:
        shape("logits", tensor, "I, J", (inputs, outputs))
    elif len(given) == 3:
        shape("logits", tensor, "B, I, J", (batch, inputs, outputs))
    else:
        raise ValueError(
            f"logits must have shape [I, J] = {(inputs, outputs)} or [B, I, J] = {(batch, inputs, outputs)}, "
            f"got {given}"
        )


def choice(name: str, value: object, known: Sequence[str]) -> None:
    """One of the known strings."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(map(repr, known))}, got {type(value).__name__}")
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def scalar_options(options: RoutingOptions) -> None:
    """The options that are no tensors, and the combinations that make no sense."""
    iterations: object = options.iterations
    if isinstance(iterations, bool) or not isinstance(iterations, int):
        raise TypeError(f"iterations must be an int of at least 1, got {type(iterations).__name__}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    choice("softmax_over", options.softmax_over, SOFTMAX_AXES)
    choice("gradient", options.gradient, GRADIENTS)
    if not isinstance(options.leaky, bool):
        raise TypeError(f"leaky must be a bool, got {type(options.leaky).__name__}")
    if options.leaky and options.softmax_over != "outputs":
        raise ValueError(
            f"leaky must be False unless softmax_over is 'outputs', got softmax_over={options.softmax_over!r}"
        )
    eps: object = options.eps
    if isinstance(eps, bool) or not isinstance(eps, int | float):
        raise TypeError(f"eps must be a number of at least 0, got {type(eps).__name__}")
    if not 0 <= eps < float("inf"):  # false for NaN too
        raise ValueError(f"eps must be finite and at least 0, got {eps}")


def shared_tensors(
    like_name: str,
    like: Tensor,
    bias: object,
    logits: object,
    input_mask: object,
    output_mask: object,
    sizes: tuple[int, int, int, int],
) -> None:
    """The tensor arguments that both public functions take; ``sizes`` is (B, I, J, D)."""
    batch, inputs, outputs, output_size = sizes
    if bias is not None:
        tensor = floating("bias", bias)
        same_kind("bias", tensor, like_name, like)
        shape("bias", tensor, "J, D", (outputs, output_size))
    if logits is not None:
        initial_logits(logits, like_name, like, batch, inputs, outputs)
    if input_mask is not None:
        mask("input_mask", input_mask, like_name, like, "B, I", (batch, inputs))
    if output_mask is not None:
        mask("output_mask", output_mask, like_name, like, "B, J", (batch, outputs))


def inputs_and_weight(x: object, weight: object) -> tuple[int, int, int, int]:
    """Check ``x [B, I, d]`` and ``weight [I_w, J, D, d]``; returns (B, I, J, D)."""
    x = floating("x", x)
    weight = floating("weight", weight)
    same_kind("weight", weight, "x", x)
    batch, inputs, size = x_shape = rank("x", x, "B, I, d")
    distinct, outputs, output_size, weight_size = weight_shape = rank("weight", weight, "I, J, D, d")
    positive("x", "B, I, d", x_shape, inputs, size)
    positive("weight", "I, J, D, d", weight_shape, distinct, outputs, output_size, weight_size)
    if weight_size != size:
        raise ValueError(
            f"weight [I, J, D, d] must have d = {size} as x [B, I, d] has, got shape {tuple(weight.shape)}"
        )
    if inputs % distinct != 0:
        raise ValueError(
            f"weight [I_w, J, D, d] must have I_w = I = {inputs} or a divisor of it, got shape {tuple(weight.shape)}"
        )
    return batch, inputs, outputs, output_size


def prediction_votes(votes: object) -> tuple[int, int, int, int]:
    """Check ``votes [B, I, J, D]``; returns its sizes."""
    tensor = floating("votes", votes)
    batch, inputs, outputs, output_size = votes_shape = rank("votes", tensor, "B, I, J, D")
    positive("votes", "B, I, J, D", votes_shape, inputs, outputs, output_size)
    return batch, inputs, outputs, output_size
