"""The registered ops: schemas, implementations, fakes, vmap rules.

``dynamic_routing`` and ``route_votes`` differ only in where the votes come from, their *sources*: x and weight, or
votes. Each has a forward and a backward op of the form

    (grad_output,) sources..., bias, logits, input_mask, output_mask, (saved tensors,) options, values, ...

with options and values packed by :mod:`capsroute.options`. Results and workspace are torch's memory; the compiled core
gets addresses. The ops are opaque to torch.compile and torch.export and have no autograd formula of their own: use the
public functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _native, backends
from .options import RoutingOptions

Optional = Sequence[Tensor | None]  # bias, logits, input_mask, output_mask

_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}  # DType of csrc/capsroute.h
SOURCES = {"dynamic_routing": ("x", "weight"), "route_votes": ("votes",)}

_library = torch.library.Library("capsroute", "DEF")


def _sizes(sources: Sequence[Tensor]) -> tuple[int, int, int, int, int, int]:
    """B, I, J, d, D, I_w, in the order of the core."""
    if len(sources) == 1:
        batch, inputs, outputs, output_size = sources[0].shape
        return batch, inputs, outputs, 1, output_size, inputs
    batch, inputs, size = sources[0].shape
    distinct, outputs, output_size, _ = sources[1].shape
    return batch, inputs, outputs, size, output_size, distinct


def _empty_results(sources: Sequence[Tensor], options: RoutingOptions, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The output and what backward needs (no elements without ``save``): s and normaliser of each iteration."""
    batch, _, outputs, _, size, _ = _sizes(sources)
    like = sources[0]
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    kept = options.iterations if save else 0
    output = like.new_empty((batch, outputs, size))
    pre_squash = like.new_empty((kept, batch, outputs, size), dtype=dtype)
    kept_sums = kept if options.softmax_over == "inputs" else 0
    normaliser = like.new_empty((kept_sums, batch, 2, outputs), dtype=dtype)
    return output, pre_squash, normaliser


def _empty_gradients(tensors: Optional, needed: Sequence[bool]) -> tuple[Tensor, ...]:
    """Contiguous memory for the gradients of sources, bias and logits; no elements where not needed."""
    like = tensors[0]
    assert like is not None
    return tuple(
        like.new_empty(tensor.shape) if wanted and tensor is not None else like.new_empty(0)
        for tensor, wanted in zip(tensors, needed, strict=True)
    )


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None or tensor.numel() == 0 else tensor.data_ptr()


def _contiguous(tensors: Optional) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


class _Place(NamedTuple):
    """What runs a call, and where: the compiled module, its threads, the CUDA device (-1 = CPU) and the stream."""

    core: Any
    threads: int
    device: int
    stream: int
    alignment: int  # of the workspace, in bytes


def _place(like: Tensor, options: RoutingOptions) -> _Place:
    """The device decides, so that an exported program that was moved finds its kernels; CPU tensors may be emulated."""
    if like.is_cuda:
        index = like.get_device()
        return _Place(_native, 1, index, torch._C._cuda_getCurrentRawStream(index), 256)
    if options.backend == "cuda_emulated":
        return _Place(backends.emulated(), 1, 0, 0, 256)
    return _Place(_native, torch.get_num_threads(), -1, 0, 64)


def _problem(
    place: _Place, sources: Sequence[Tensor | None], optional: Optional, sizes: Sequence[int], options: RoutingOptions
) -> Any:
    """The addresses of tensors, all contiguous but votes, for the core. The caller keeps the tensors alive."""
    like = sources[0]
    assert like is not None
    x, weight, votes = (None, None, like) if len(sources) == 1 else (like, sources[1], None)
    bias, logits, input_mask, output_mask = optional
    if options.allow_tf32 is None and place.device >= 0:
        options = options._replace(allow_tf32=backends.tf32_allowed())
    return place.core.RoutingProblem(
        sizes,
        _DTYPES[like.dtype],
        options.integers(),
        options.floats(),
        place.threads,
        place.device,
        place.stream,
        _address(x),
        _address(weight),
        _address(votes),
        (0, 0, 0, 0) if votes is None else votes.stride(),
        _address(bias),
        _address(logits),
        logits is not None and logits.dim() == 3,
        _address(input_mask),
        _address(output_mask),
    )


def _workspace(size: int, alignment: int, like: Tensor) -> tuple[Tensor, int]:
    """Memory from torch's allocator, and the first address in it that is aligned."""
    memory = torch.empty(size + alignment - 1, dtype=torch.uint8, device=like.device)
    return memory, -(-memory.data_ptr() // alignment) * alignment


def _arranged(sources: Sequence[Tensor]) -> list[Tensor | None]:
    """Votes are read in place whatever their strides; x and weight are made contiguous."""
    return list(sources) if len(sources) == 1 else _contiguous(sources)


def _forward(
    sources: Sequence[Tensor], optional: Optional, options: RoutingOptions, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    results = _empty_results(sources, options, save)
    if results[0].numel() == 0:
        return results
    arranged, optional = _arranged(sources), _contiguous(optional)
    place = _place(sources[0], options)
    problem = _problem(place, arranged, optional, _sizes(sources), options)
    size = problem.forward_workspace()
    memory, workspace = _workspace(size, place.alignment, results[0])
    problem.forward(*map(_address, results), workspace, size)
    del memory, arranged  # they had to live until here
    return results


def _backward(
    grad_output: Tensor,
    sources: Sequence[Tensor],
    optional: Optional,
    saved: Sequence[Tensor],
    options: RoutingOptions,
    needed: list[bool],
) -> tuple[Tensor, ...]:
    gradients = _empty_gradients([*sources, *optional[:2]], needed)
    if grad_output.numel() == 0:
        return tuple(gradient.zero_() for gradient in gradients)
    arranged, optional = _arranged(sources), _contiguous(optional)
    place = _place(sources[0], options)
    problem = _problem(place, arranged, optional, _sizes(sources), options)
    given = _contiguous([grad_output, *saved])
    x, weight, votes = (None, None, gradients[0]) if len(sources) == 1 else (*gradients[:2], None)
    buffers = place.core.RoutingBackward(*map(_address, (*given, x, weight, votes, *gradients[-2:])))
    size = problem.backward_workspace(buffers)
    memory, workspace = _workspace(size, place.alignment, grad_output)
    problem.backward(buffers, workspace, size)
    del memory, arranged, given
    return gradients


def describe(tensors: Optional, options: RoutingOptions) -> str:
    """Which CUDA kernel the forward of a call takes, in a few words; nothing runs.

    Args:
        tensors: Sources, bias, logits, input_mask and output_mask.
        options: With a backend that has CUDA kernels for the device of the tensors.
    """
    *sources, bias, logits, input_mask, output_mask = tensors
    given = [tensor for tensor in sources if tensor is not None]
    place = _place(given[0], options)
    problem = _problem(place, sources, (bias, logits, input_mask, output_mask), _sizes(given), options)
    return str(problem.describe())


def _in_turn(op: Any, in_dims: Sequence[int | None], arguments: Sequence[Any], count: int) -> tuple[Any, Any]:
    """The vmap rule that is always right: one call per instance."""

    def instance(n: int) -> Iterator[Any]:
        for argument, dim in zip(arguments, in_dims, strict=True):
            mapped = isinstance(argument, Tensor) and dim is not None  # lists have lists of dims
            yield argument.select(dim, n) if mapped else argument

    results = [op(*instance(n)) for n in range(count)]
    stacked = tuple(torch.stack(instances) for instances in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


def _fold(arguments: list[Any], in_dims: Sequence[int | None], count: int, per_sample: Sequence[int]) -> list[Any]:
    """Make the mapped axis part of the batch, which is the first axis of the per-sample arguments."""
    folded = list(arguments)
    for k in per_sample:
        if folded[k] is not None:
            dim = in_dims[k]
            wide = folded[k].expand(count, *folded[k].shape) if dim is None else folded[k].movedim(dim, 0)
            folded[k] = wide.flatten(0, 1)
    return folded


def _forward_vmap(op: Any, sources: int, info: Any, in_dims: Sequence[int | None], arguments: Sequence[Any]) -> Any:
    """Fold the mapped axis into the batch unless something that the samples share is mapped too."""
    logits = arguments[sources + 1]
    per_sample_logits = logits is not None and logits.dim() - (in_dims[sources + 1] is not None) == 3
    shared = [*range(1, sources), sources, *([] if per_sample_logits else [sources + 1])]
    if any(in_dims[k] is not None for k in shared):
        return _in_turn(op, in_dims, arguments, info.batch_size)
    per_sample = [0, sources + 2, sources + 3, *([sources + 1] if per_sample_logits else [])]
    output, *saved = op(*_fold(list(arguments), in_dims, info.batch_size, per_sample))
    unfolded = [tensor.unflatten(1, (info.batch_size, tensor.shape[1] // info.batch_size)) for tensor in saved]
    return (output.unflatten(0, (info.batch_size, output.shape[0] // info.batch_size)), *unfolded), (0, 1, 1)


def _register(name: str, sources: int) -> None:
    """Define the two ops of one routing function."""
    tensors = ", ".join(f"Tensor {source}" for source in SOURCES[name])
    optional = "Tensor? bias, Tensor? logits, Tensor? input_mask, Tensor? output_mask"
    packed = "int[] options, float[] values"
    saved = "Tensor pre_squash, Tensor normaliser"
    gradients = ", ".join(["Tensor"] * (sources + 2))
    last = sources + 4  # where bias .. output_mask end

    _library.define(f"{name}_forward({tensors}, {optional}, {packed}, bool save) -> (Tensor, Tensor, Tensor)")
    _library.define(
        f"{name}_backward(Tensor grad_output, {tensors}, {optional}, {saved}, {packed}, bool[] needed) -> ({gradients})"
    )

    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        options, values, save = arguments[last:]
        unpacked = RoutingOptions.unpack(options, values)
        return _forward(arguments[:sources], arguments[sources:last], unpacked, save)

    def forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
        options, values, save = arguments[last:]
        return _empty_results(arguments[:sources], RoutingOptions.unpack(options, values), save)

    def backward(grad_output: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        saved_tensors = arguments[last : last + 2]
        options, values, needed = arguments[last + 2 :]
        unpacked = RoutingOptions.unpack(options, values)
        return _backward(grad_output, arguments[:sources], arguments[sources:last], saved_tensors, unpacked, needed)

    def backward_fake(grad_output: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        return _empty_gradients(arguments[: sources + 2], arguments[-1])

    def forward_vmap(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> Any:
        return _forward_vmap(getattr(torch.ops.capsroute, f"{name}_forward"), sources, info, in_dims, arguments)

    def backward_vmap(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> Any:
        return _in_turn(getattr(torch.ops.capsroute, f"{name}_backward"), in_dims, arguments, info.batch_size)

    for op, run, fake, vmap in (
        ("forward", forward, forward_fake, forward_vmap),
        ("backward", backward, backward_fake, backward_vmap),
    ):
        for device in ("CPU", "CUDA"):
            _library.impl(f"{name}_{op}", run, device)
        torch.library.register_fake(f"capsroute::{name}_{op}", fake, lib=_library)
        torch.library.register_vmap(f"capsroute::{name}_{op}", vmap, lib=_library)


for _name, _names in SOURCES.items():
    _register(_name, len(_names))
