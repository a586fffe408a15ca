"""Floor 4: the registered ops, with schemas, implementations, fakes, vmap rules.

``dynamic_routing`` and ``route_votes`` differ only in where the votes come from, their *sources*: x and weight, or
votes. Each has a forward and a backward op of the form

    (grad_output,) sources..., optional tensors..., (saved tensors,) options, values, ...

and an op for the products of the votes with given vectors. Options and values are packed by :mod:`.options`.
Results and workspace are torch's memory; the compiled core gets addresses. The ops are opaque to torch.compile and
torch.export and have no autograd formula of their own: use the public functions, which come in through
:func:`forward` and :func:`backward`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .. import _native
from . import core, dispatch, tangents, vmap
from .options import RoutingOptions

Optional = Sequence[Tensor | None]

_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}  # DType of csrc/capsroute.h
SOURCES = {"dynamic_routing": ("x", "weight"), "route_votes": ("votes",)}
OPTIONAL = ("bias", "logits", "input_weight", "input_mask", "output_mask")  # logits: or the coupling, as options say
DIFFERENTIABLE = 3  # of these, the first ones; and all sources

_library = torch.library.Library("capsroute", "DEF")


def _split(tensors: Optional) -> tuple[Sequence[Tensor], Optional]:
    """The sources of a call, which are always there, and those that may be."""
    return cast("Sequence[Tensor]", tensors[: -len(OPTIONAL)]), tensors[-len(OPTIONAL) :]


def _sizes(sources: Sequence[Tensor]) -> tuple[int, int, int, int, int, int]:
    """B, I, J, d, D, I_w, in the order of the core."""
    if len(sources) == 1:
        batch, inputs, outputs, output_size = sources[0].shape
        return batch, inputs, outputs, 1, output_size, inputs
    batch, inputs, size = sources[0].shape
    distinct, outputs, output_size, _ = sources[1].shape
    return batch, inputs, outputs, size, output_size, distinct


def _empty_results(
    like: Tensor, sizes: Sequence[int], options: RoutingOptions, save: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The output and what backward needs: s and, for a softmax over inputs, normaliser of each iteration."""
    batch, _, outputs, _, size, _ = sizes
    output = like.new_empty((batch, outputs, size))
    if not save:
        return output, None, None
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    pre_squash = like.new_empty((options.iterations, batch, outputs, size), dtype=dtype)
    if options.softmax_over == "outputs":
        return output, pre_squash, None
    return output, pre_squash, like.new_empty((options.iterations, batch, 2, outputs), dtype=dtype)


def _empty_gradients(tensors: Optional, needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """Contiguous memory for the gradients of what is differentiable, where needed."""
    return tuple(
        torch.empty_like(tensor, memory_format=torch.contiguous_format) if wanted and tensor is not None else None
        for tensor, wanted in zip(tensors, needed, strict=True)
    )


def _addresses(tensors: Optional) -> list[int]:
    """0 where there is no tensor, or none of its elements."""
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy where it does not begin at a multiple of its elements, as views of foreign memory may."""
    return tensor if tensor.data_ptr() % tensor.element_size() == 0 else tensor.clone()


def _contiguous(tensors: Optional) -> list[Tensor | None]:
    return [None if tensor is None else _aligned(tensor.contiguous()) for tensor in tensors]


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
        return _Place(core.emulated(), 1, 0, 0, 256)
    return _Place(_native, torch.get_num_threads(), -1, 0, 64)


@lru_cache
def _packed(options: RoutingOptions) -> tuple[list[int], list[float]]:
    return options.integers(), options.floats()


def _arranged(sources: Sequence[Tensor], optional: Optional) -> list[Tensor | None]:
    """x, weight, votes and the others as the core reads them: contiguous, but votes whatever their strides."""
    if len(sources) == 1:
        return [None, None, _aligned(sources[0]), *_contiguous(optional)]
    x, weight, *others = _contiguous([*sources, *optional])
    return [x, weight, None, *others]


def _problem(place: _Place, arranged: Optional, sizes: Sequence[int], options: RoutingOptions) -> Any:
    """The addresses of arranged tensors for the core. The caller keeps the tensors alive."""
    x, _, votes, _, logits, *_ = arranged
    like = x if votes is None else votes
    assert like is not None
    *sources_at, bias_at, logits_at, input_weight_at, input_mask_at, output_mask_at = _addresses(arranged)
    if options.allow_tf32 is None and place.device >= 0:
        options = options._replace(allow_tf32=core.tf32_allowed())
    return place.core.RoutingProblem(
        sizes,
        _DTYPES[like.dtype],
        *_packed(options),
        place.threads,
        place.device,
        place.stream,
        *sources_at,
        (0, 0, 0, 0) if votes is None else votes.stride(),
        bias_at,
        logits_at,
        logits is not None and logits.dim() == 3,
        input_weight_at,
        input_mask_at,
        output_mask_at,
    )


def _workspace(size: int, alignment: int, like: Tensor) -> tuple[Tensor, int]:
    """Memory from torch's allocator, and the first address in it that is aligned."""
    memory = like.new_empty(size + alignment - 1, dtype=torch.uint8)
    return memory, -(-memory.data_ptr() // alignment) * alignment


def _forward(
    sources: Sequence[Tensor], optional: Optional, options: RoutingOptions, save: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    sizes = _sizes(sources)
    results = _empty_results(sources[0], sizes, options, save)
    if results[0].numel() == 0:
        return results
    place = _place(sources[0], options)
    tensors = _arranged(sources, optional)
    problem = _problem(place, tensors, sizes, options)
    size = problem.forward_workspace()
    memory, workspace = _workspace(size, place.alignment, results[0])
    problem.forward(*_addresses(results), workspace, size)
    del memory, tensors  # they had to live until here
    return results


def _backward(
    grad_output: Tensor,
    sources: Sequence[Tensor],
    optional: Optional,
    saved: Optional,
    options: RoutingOptions,
    needed: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    gradients = _empty_gradients([*sources, *optional[:DIFFERENTIABLE]], needed)
    if grad_output.numel() == 0:
        return tuple(None if gradient is None else gradient.zero_() for gradient in gradients)
    place = _place(sources[0], options)
    tensors, given = _arranged(sources, optional), _contiguous([grad_output, *saved])
    problem = _problem(place, tensors, _sizes(sources), options)
    x, weight, votes = (None, None, gradients[0]) if len(sources) == 1 else (*gradients[:2], None)
    buffers = place.core.RoutingBackward(*_addresses((*given, x, weight, votes, *gradients[-DIFFERENTIABLE:])))
    size = problem.backward_workspace(buffers)
    memory, workspace = _workspace(size, place.alignment, grad_output)
    problem.backward(buffers, workspace, size)
    del memory, tensors, given
    return gradients


def _empty_agreement(sources: Sequence[Tensor], query: Tensor) -> Tensor:
    batch, inputs, outputs, *_ = _sizes(sources)
    return query.new_empty((batch, inputs, outputs))


def _agreement(sources: Sequence[Tensor], query: Tensor, options: RoutingOptions) -> Tensor:
    result = _empty_agreement(sources, query)
    if result.numel() == 0:
        return result
    place = _place(sources[0], options)
    tensors, query = _arranged(sources, [None] * len(OPTIONAL)), _aligned(query.contiguous())
    problem = _problem(place, tensors, _sizes(sources), options._replace(coupling_given=False))
    size = problem.agreement_workspace()
    memory, workspace = _workspace(size, place.alignment, result)
    problem.agreement(query.data_ptr(), result.data_ptr(), workspace, size)
    del memory, tensors, query
    return result


def _without_none(results: Optional, like: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """An op returns tensors only: new ones of a ``shape`` without elements stand for what is not there."""
    return tuple(like.new_empty(shape) if result is None else result for result in results)


def forward(
    name: str, tensors: Optional, options: RoutingOptions, save: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Run the forward of a routing op, through torch's dispatcher only where something must see it there.

    Args:
        name: Of the routing op, ``"dynamic_routing"`` or ``"route_votes"``.
        tensors: Sources and then OPTIONAL, checked.
        options: Checked, with a backend that has kernels for the device of the tensors.
        save: Whether a backward may follow.

    Returns:
        Output ``[B, J, D]``; then what :func:`backward` takes as ``saved``, None or no elements where there is nothing.
    """
    if dispatch.is_needed(tensors):
        return FORWARD_OPS[name](*tensors, options.integers(), options.floats(), save)
    return _forward(*_split(tensors), options, save)


def backward(
    name: str,
    grad_output: Tensor,
    tensors: Optional,
    saved: Optional,
    options: RoutingOptions,
    needed: Sequence[bool],
) -> Sequence[Tensor | None]:
    """Run the backward of a routing op; see :func:`forward`.

    Args:
        name: Of the routing op.
        grad_output: Gradient of the output, ``[B, J, D]``, any strides.
        tensors: Those of the forward.
        saved: The forward's second and third result.
        options: Those of the forward.
        needed: For sources, bias, logits and input_weight: whether its gradient is asked for.

    Returns:
        Gradients of these, contiguous; None where not needed.
    """
    if dispatch.is_needed((grad_output, *tensors, *saved)):
        given = _without_none(saved, grad_output, (0,))
        packed = options.integers(), options.floats()
        gradients = BACKWARD_OPS[name](grad_output, *tensors, *given, *packed, list(needed))
        return [gradient if need else None for gradient, need in zip(gradients, needed, strict=True)]
    return _backward(grad_output, *_split(tensors), saved, options, needed)


def agreement(name: str, sources: Sequence[Tensor], query: Tensor, options: RoutingOptions) -> Tensor:
    """The inner product of each vote with a vector of its sample and output, without storing the votes.

    Args:
        name: Of the routing op.
        sources: Those of the routing.
        query: ``[B, J, D]``, float64 for float64 sources, else float32.
        options: Those of the routing; only the backend and its switches count.

    Returns:
        ``[B, I, J]``, dtype of ``query``; it is not differentiable.
    """
    result: Tensor = AGREEMENT_OPS[name](*sources, query, options.integers(), options.floats())
    return result


def describe(tensors: Optional, options: RoutingOptions) -> str:
    """Which kernel the forward of a call takes, in a few words; no kernel runs.

    Args:
        tensors: Sources and then OPTIONAL.
        options: With a backend that has kernels for the device of the tensors.
    """
    sources, optional = _split(tensors)
    problem = _problem(_place(sources[0], options), _arranged(sources, optional), _sizes(sources), options)
    return str(problem.describe())


def _register(name: str, sources: int) -> None:
    """Define the ops of one routing function."""
    tensors = ", ".join(f"Tensor {source}" for source in SOURCES[name])
    optional = ", ".join(f"Tensor? {tensor}" for tensor in OPTIONAL)
    packed = "int[] options, float[] values"
    saved = "Tensor pre_squash, Tensor normaliser"
    differentiable = sources + DIFFERENTIABLE
    gradients = ", ".join(["Tensor"] * differentiable)
    last = sources + len(OPTIONAL)

    _library.define(f"{name}_forward({tensors}, {optional}, {packed}, bool save) -> (Tensor, Tensor, Tensor)")
    _library.define(
        f"{name}_backward(Tensor grad_output, {tensors}, {optional}, {saved}, {packed}, bool[] needed) -> ({gradients})"
    )
    _library.define(f"{name}_agreement({tensors}, Tensor query, {packed}) -> Tensor")

    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        options, values, save = arguments[last:]
        results = _forward(*_split(arguments[:last]), RoutingOptions.unpack(options, values), save)
        return _without_none(results, results[0], (0, results[0].shape[0]))  # the vmap rule divides the second axis

    def forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
        options, values, save = arguments[last:]
        given = arguments[:sources]
        results = _empty_results(given[0], _sizes(given), RoutingOptions.unpack(options, values), save)
        return _without_none(results, results[0], (0, results[0].shape[0]))

    def backward(grad_output: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        saved_tensors = arguments[last : last + 2]
        options, values, needed = arguments[last + 2 :]
        unpacked = RoutingOptions.unpack(options, values)
        gradients = _backward(grad_output, *_split(arguments[:last]), saved_tensors, unpacked, needed)
        return _without_none(gradients, arguments[0], (0,))

    def backward_fake(grad_output: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        return _without_none(_empty_gradients(arguments[:differentiable], arguments[-1]), arguments[0], (0,))

    def agreement(*arguments: Any) -> Tensor:
        *given, query, options, values = arguments
        return _agreement(given, query, RoutingOptions.unpack(options, values))

    def agreement_fake(*arguments: Any) -> Tensor:
        *given, query, _, _ = arguments
        return _empty_agreement(given, query)

    def forward_vmap(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> Any:
        options = RoutingOptions.unpack(*arguments[last : last + 2])
        independent = options.softmax_over == "inputs" or options.coupling_given
        op = getattr(torch.ops.capsroute, f"{name}_forward")
        return vmap.of_forward(op, sources, independent, info, in_dims, arguments)

    for op, run, fake, rule in (
        ("forward", forward, forward_fake, forward_vmap),
        ("backward", backward, backward_fake, vmap.rule_in_turn(f"{name}_backward")),
        ("agreement", agreement, agreement_fake, vmap.rule_in_turn(f"{name}_agreement")),
    ):
        refusing = tangents.Refusal(f"{name}_{op}", name)
        for device in ("CPU", "CUDA"):
            _library.impl(f"{name}_{op}", refusing.by(run), device)
        torch.library.register_fake(f"capsroute::{name}_{op}", fake, lib=_library)
        torch.library.register_vmap(f"capsroute::{name}_{op}", refusing.by_rule(rule), lib=_library)


for _name, _names in SOURCES.items():
    _register(_name, len(_names))

FORWARD_OPS = {name: getattr(torch.ops.capsroute, f"{name}_forward").default for name in SOURCES}
AGREEMENT_OPS = {name: getattr(torch.ops.capsroute, f"{name}_agreement").default for name in SOURCES}
BACKWARD_OPS = {name: getattr(torch.ops.capsroute, f"{name}_backward").default for name in SOURCES}
