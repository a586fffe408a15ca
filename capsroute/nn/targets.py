"""What is true of samples, as it comes to losses, decoders and networks: class numbers or presence, checked here alone.

Shapes, dtypes and devices are always checked. Values are where that waits for nothing: on the CPU, in Python. On a GPU
an assertion goes to the device beside the other work, and what is wrong comes as torch's "device-side assert triggered"
at the next synchronisation; ``CUDA_LAUNCH_BLOCKING=1`` shows where. While a program is compiled, exported, traced or
mapped by ``torch.func.vmap``, values are nobody's yet, and are not checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from capsroute.routing import checks

__all__ = ["class_numbers", "item_ids", "presence"]


# Other modules call these as ``targets.presence(...)``: torch.fx keeps such a call whole, as the node that it is.
fx.wrap("presence")
fx.wrap("class_numbers")
fx.wrap("item_ids")


def presence(name: str, value: object, like_name: str, like: Tensor) -> Tensor:
    """Which classes are there: bool ``[B, J, *space]``, contiguous or not.

    Args:
        name: Of the argument that is checked.
        value: Class numbers ``[B, *space]``, int64, from 0 to J - 1; or presence ``[B, J, *space]``, 0 or 1 at each
            class, bool or of any real dtype.
        like_name: Of the argument that decides about the device.
        like: ``[B, J, *space]``, on that device.

    Raises:
        TypeError: No tensor, or one of a dtype that is neither.
        ValueError: Another shape or device; a class that there is not; or presence that is not 0 or 1.
    """
    _, classes, *space = like.shape
    numbers, present = [like.shape[0], *space], list(like.shape)
    axes = "".join(f", {axis}" for axis in "DHW"[3 - len(space) :])
    tensor = _dense(name, value, "class numbers or presence")
    if _fits(tensor, present):
        return _zero_or_one(name, tensor, like_name, like)
    if not _fits(tensor, numbers):
        raise ValueError(
            f"{name} must have the shape [B{axes}] = {numbers} (class numbers) or [B, J{axes}] = {present} (presence), "
            f"got {list(tensor.shape)}"
        )
    checked = _indices(name, tensor, f"[B{axes}]", "class numbers", classes, like_name, like)
    each = torch.arange(classes, device=checked.device).view(-1, *(1 for _ in space))
    return checked.unsqueeze(1) == each


def class_numbers(name: str, value: object, like_name: str, like: Tensor) -> Tensor:
    """One class for each sample: int64 ``[B]``, for what cannot take several. ``like`` is ``[B, J]``; see above."""
    tensor = _dense(name, value, "class numbers")
    if not _fits(tensor, like.shape[:1]):
        raise ValueError(
            f"{name} must be one class number per sample, [B] = {[like.shape[0]]}, got the shape {list(tensor.shape)}"
        )
    return _indices(name, tensor, "[B]", "class numbers", like.shape[1], like_name, like)


def item_ids(name: str, value: object, axes: str, sizes: Sequence[int], table: Tensor) -> Tensor:
    """Places in a table ``[N, D]``: int64 of the sizes that are expected, each from 0 to N - 1; -1 is any size."""
    tensor = _dense(name, value, "item ids")
    if not _fits(tensor, sizes):
        expected = axes if -1 in sizes else f"{axes} = {list(sizes)}"
        raise ValueError(f"{name} must have the shape {expected}, got {list(tensor.shape)}")
    return _indices(name, tensor, axes, "item ids", table.shape[0], "the embedding", table)


def _dense(name: str, value: object, kind: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of {kind}, got {type(value).__name__}")
    if value.is_nested or value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense (strided) tensor, got one that is nested or of layout {value.layout}")
    return value


def _fits(value: Tensor, sizes: Sequence[int]) -> bool:
    """Whether it has these sizes, -1 for any; sizes that ``torch.jit.trace`` records are no numbers, their count is."""
    if value.dim() != len(sizes) or _is_jit_tracing():
        return value.dim() == len(sizes)
    # Not "in (-1, given)", which says no to sizes that torch.compile has left open.
    return all(size == -1 or size == given for size, given in zip(sizes, value.shape, strict=True))


def _indices(name: str, value: Tensor, axes: str, kind: str, count: int, like_name: str, like: Tensor) -> Tensor:
    if value.dtype != torch.int64:
        raise TypeError(
            f"{name} of shape {axes} must hold {kind} of dtype torch.int64, got {value.dtype}; use .long() on whole "
            "numbers"
        )
    checks.same_kind(name, value, like_name, like, dtype=False)
    if _can_be_read(value):
        if value.numel() > 0:
            least, most = (int(end) for end in value.aminmax())
            if least < 0 or most >= count:
                wrong = least if least < 0 else most
                raise ValueError(f"{name} must hold {kind} from 0 to {count - 1}, got {wrong}")
    elif _can_be_asserted(value):
        _assert_later(((value >= 0) & (value < count)).all(), f"{name} must hold {kind} from 0 to {count - 1}")
    return value


def _zero_or_one(name: str, value: Tensor, like_name: str, like: Tensor) -> Tensor:
    checks.same_kind(name, value, like_name, like, dtype=False)
    if value.dtype == torch.bool:
        return value
    if value.is_complex():
        raise TypeError(f"{name} must hold presence of a real dtype, or bool, got {value.dtype}")
    right = (value == 0) | (value == 1)
    expected = f"{name} must hold 0 (absent) or 1 (present) for each class"
    if _can_be_read(value):
        if not bool(right.all()):
            raise ValueError(f"{expected}, got {value[~right][0].item()}")
    elif _can_be_asserted(value):
        _assert_later(right.all(), expected)
    return value.bool()


def _can_be_read(value: Tensor) -> bool:
    """Whether Python may look at the values, without waiting for a device."""
    return value.device.type == "cpu" and _has_values(value)


def _can_be_asserted(value: Tensor) -> bool:
    return value.device.type == "cuda" and _has_values(value)


def _has_values(value: Tensor) -> bool:
    """Whether it stands for nothing but itself: no program is being made, and no sample is one of many."""
    if torch.compiler.is_compiling() or _is_jit_tracing():
        return False
    plain = type(value) in (Tensor, torch.nn.Parameter)  # not fake, not functional, not distributed
    mapped = torch._C._functorch.is_functorch_wrapped_tensor(value)  # torch has no public question for it
    return plain and not mapped and torch._C._len_torch_dispatch_stack() == 0


def _is_jit_tracing() -> bool:
    return torch._C._get_tracing_state() is not None


def _assert_later(right: Tensor, sentence: str) -> None:
    torch._assert_async(right, sentence)
