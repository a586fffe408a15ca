"""Beside all floors: what a tensor must be before anybody asks for its shape.

Each failure is a TypeError that names the argument, what was given and the way out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .values import kind_of, listed

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def dense(name: str, value: Any, kind: str = "a torch.Tensor") -> Any:
    """A tensor of plain numbers with strides; what ``torch.fx`` traces with passes for one."""
    if not isinstance(value, Tensor):
        if isinstance(value, torch.fx.Proxy):
            return value
        made = f": torch.as_tensor({name}) makes one" if hasattr(value, "__array__") or listed(value) else ""
        raise TypeError(f"{name} must be {kind}, got {kind_of(value)}{made}")
    if value.is_nested:  # first: one of both layouts, and the strided kind does not know its own shape
        raise TypeError(
            f"{name} must be a dense (strided) tensor, got a nested one: torch.nested.to_padded_tensor pads it, and an "
            "input_mask leaves the padding out"
        )
    if type(value) is not Tensor and isinstance(value, torch.masked.MaskedTensor):
        raise TypeError(f"{name} must be a plain tensor, got a masked one: give {name}.get_data() and its mask")
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense (strided) tensor, got layout {value.layout}: give {name}.to_dense()")
    if value.is_quantized:
        raise TypeError(f"{name} must hold plain numbers, got {value.dtype}: give {name}.dequantize()")
    return value


def boolean(name: str, value: Any) -> Any:
    """A dense tensor of True and False."""
    tensor = dense(name, value, "a bool torch.Tensor or None")
    if isinstance(tensor, Tensor) and tensor.dtype != torch.bool:
        raise TypeError(f"{name} must have dtype torch.bool, got {tensor.dtype}")
    return tensor


def floating(name: str, value: Any) -> Any:
    """A dense tensor of a dtype that the kernels know."""
    tensor = dense(name, value)
    if isinstance(tensor, Tensor) and tensor.dtype not in DTYPES:
        way = "" if tensor.dtype == torch.bool else f": give {name}.float()"
        if tensor.is_complex():
            way = f": torch.view_as_real({name}) has its parts"
        raise TypeError(f"{name} must be float32, float64, bfloat16 or float16, got {tensor.dtype}{way}")
    return tensor
