"""Floor 2: checks of the arguments of the routing functions, in one place for every backend.

Each failure is a TypeError (wrong kind) or a ValueError (wrong size or value) that names the argument, what was given
and what was expected.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .options import (
    DEFAULTS,
    DETAILS,
    GRADIENTS,
    LOGIT_UPDATES,
    MOST_TEMPERATURES,
    SOFTMAX_AXES,
    SQUASHES,
    RoutingKeywords,
    RoutingOptions,
    constants_of_squash,
    hashable,
)

_MOST_BITS = 256
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


def per_pair(name: str, value: object, like_name: str, like: Tensor, batch: int, inputs: int, outputs: int) -> None:
    """``[I, J]`` or ``[B, I, J]``."""
    tensor = floating(name, value)
    same_kind(name, tensor, like_name, like)
    given = tuple(tensor.shape)
    if len(given) == 2:
        shape(name, tensor, "I, J", (inputs, outputs))
    elif len(given) == 3:
        shape(name, tensor, "B, I, J", (batch, inputs, outputs))
    else:
        raise ValueError(
            f"{name} must have shape [I, J] = {(inputs, outputs)} or [B, I, J] = {(batch, inputs, outputs)}, "
            f"got {given}"
        )


def at_least_one(**sizes: int) -> None:
    """Sizes of a module, by the names of its arguments."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def choice(name: str, value: object, known: Sequence[str]) -> None:
    """One of the known strings."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(map(repr, known))}, got {type(value).__name__}")
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def shown(value: float) -> str:
    """A number for a message; of a huge int only its size, since Python refuses to write some of them."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"an int of {value.bit_length()} bits"
    return str(value)


def number(name: str, value: object, expected: str, *, above: float = 0, or_equal: bool = False) -> None:
    """A finite int or float above a limit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}")
    most = sys.float_info.max  # an int may be larger and yet below infinity
    if not (above < value <= most or (or_equal and value == above)):  # false for NaN too
        raise ValueError(f"{name} must be {expected}, got {shown(value)}")


def scalar_options(options: RoutingOptions) -> None:
    """The options that are no tensors, and the combinations that make no sense."""
    iterations: object = options.iterations
    if isinstance(iterations, bool) or not isinstance(iterations, int):
        raise TypeError(f"iterations must be an int of at least 1, got {type(iterations).__name__}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {shown(iterations)}")
    if iterations >= 2**31:
        raise ValueError(f"iterations must be below 2**31, got {shown(iterations)}")
    choice("softmax_over", options.softmax_over, SOFTMAX_AXES)
    choice("gradient", options.gradient, GRADIENTS)
    if not isinstance(options.leaky, bool):
        raise TypeError(f"leaky must be a bool, got {type(options.leaky).__name__}")
    if options.leaky and options.softmax_over != "outputs":
        raise ValueError(
            f"leaky must be False unless softmax_over is 'outputs', got softmax_over={options.softmax_over!r}"
        )
    number("eps", options.eps, "a finite number of at least 0", or_equal=True)
    if options.squash is not DEFAULTS.squash or options.squash_constant is not None:
        _squash_options(options)
    if options.logit_update is not DEFAULTS.logit_update:
        choice("logit_update", options.logit_update, LOGIT_UPDATES)
    if options.agreement_factor is not DEFAULTS.agreement_factor:
        number(
            "agreement_factor", options.agreement_factor, "a finite number", above=-sys.float_info.max, or_equal=True
        )
    if options.temperature is not DEFAULTS.temperature:
        _temperature(options)


def _squash_options(options: RoutingOptions) -> None:
    choice("squash", options.squash, SQUASHES)
    if options.squash_constant is None:
        return
    if options.squash not in constants_of_squash():
        raise ValueError(
            f"squash_constant must be None unless squash is one of {', '.join(map(repr, constants_of_squash()))}, "
            f"got squash={options.squash!r}"
        )
    number("squash_constant", options.squash_constant, "a finite number above 0")


def _temperature(options: RoutingOptions) -> None:
    given: object = options.temperature
    expected = "a finite number above 0, or a sequence of one for each iteration"
    if not isinstance(given, tuple):
        _one_temperature("temperature", given, expected)
        return
    for k, value in enumerate(given):
        _one_temperature(f"temperature[{k}]", value, "a finite number above 0")
    if len(given) not in {1, options.iterations} or len(given) > MOST_TEMPERATURES:
        raise ValueError(
            f"temperature must be {expected} (iterations={options.iterations}, at most {MOST_TEMPERATURES}), "
            f"got {len(given)} numbers"
        )


def _one_temperature(name: str, value: object, expected: str) -> None:
    number(name, value, expected)
    if 1 / float(value) == float("inf"):  # type: ignore[arg-type]  # what the kernels multiply with
        raise ValueError(f"{name} must be {expected}, and so must 1 / temperature; got {value}")


def coupling_alone(options: RoutingOptions, logits: object) -> None:
    """Given coupling coefficients leave nothing to route."""
    if logits is not None:
        raise ValueError("coupling must not be given together with logits: given coefficients need no softmax")
    for name in ("softmax_over", "leaky", "gradient", "logit_update", "agreement_factor", "temperature"):
        value, default = getattr(options, name), getattr(DEFAULTS, name)
        if value != default:
            raise ValueError(
                f"{name} must be left at {default!r} where coupling is given, which leaves nothing to route; "
                f"got {value!r}"
            )


def detail_names(details: object) -> None:
    """A sequence of known names."""
    expected = f"details must be None or a sequence of {', '.join(map(repr, DETAILS))}"
    if isinstance(details, str) or not isinstance(details, Sequence):
        raise TypeError(f"{expected}, got {details!r}")
    for name in details:
        if name not in DETAILS:
            raise ValueError(f"{expected}, got {name!r}")


def keyword_options(options: Mapping[str, Any]) -> RoutingOptions:
    """Check the routing options of a module when it is made.

    Args:
        options: Those of :class:`capsroute.routing.options.RoutingKeywords`.

    Returns:
        All options, with defaults for those that are not given.

    Raises:
        TypeError: An unknown name, or a value of the wrong kind.
        ValueError: A value that cannot be, or values that do not go together.
    """
    known = list(RoutingKeywords.__annotations__)
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"unknown routing option {name!r}: expected one of {', '.join(known)}{hint}")
    checked = RoutingOptions(**options)
    checked = checked._replace(temperature=hashable(checked.temperature))
    scalar_options(checked)
    return checked


def shared_tensors(
    like_name: str,
    like: Tensor,
    bias: object,
    logits_name: str,
    logits: object,
    input_weight: object,
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
        per_pair(logits_name, logits, like_name, like, batch, inputs, outputs)
    if input_weight is not None:
        tensor = floating("input_weight", input_weight)
        same_kind("input_weight", tensor, like_name, like)
        shape("input_weight", tensor, "B, I", (batch, inputs))
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
