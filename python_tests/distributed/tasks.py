"""A call divided among ranks by its inputs, what the tests let each rank do with its own, and the parts together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from capsroute import distributed, testing

from ..routing.cases import Case, Tensors, evaluate, votes_of

Group = dist.ProcessGroup | None
_AXIS_OF_INPUTS = {"x": 1, "votes": 1, "input_weight": 1, "input_mask": 1}  # weight, logits and coupling: see below


def bounds(inputs: int, ranks: int, uneven: bool) -> list[int]:
    """Where each rank's inputs begin, and the end: even slices, or one input for every rank but the last."""
    return [*range(ranks), inputs] if uneven else [rank * inputs // ranks for rank in range(ranks + 1)]


def tensors_of(case: Case, entry: str, dtype: torch.dtype) -> Tensors:
    """The whole arguments; of weights that some inputs share, which a slice shares otherwise, each has a copy."""
    tensors = case.tensors(dtype)
    if case.weights == "half":
        inputs = case.sizes[1]
        tensors["weight"] = tensors["weight"][torch.arange(inputs) % tensors["weight"].shape[0]]
    return votes_of(tensors) if entry == "route_votes" else tensors


def _axis(name: str, tensor: Tensor) -> int | None:
    """The axis of the inputs, None for what all ranks have."""
    if name in ("logits", "coupling"):
        return tensor.dim() - 2
    if name == "weight":
        return 0 if tensor.shape[0] > 1 else None
    return _AXIS_OF_INPUTS.get(name)


def slice_of(tensors: Tensors, begin: int, end: int) -> Tensors:
    """What a rank with these inputs holds."""
    axes = {name: _axis(name, tensor) for name, tensor in tensors.items()}
    return {
        name: tensor if axis is None else tensor.narrow(axis, begin, end - begin)
        for (name, tensor), axis in zip(tensors.items(), axes.values(), strict=True)
    }


def together(parts: list[Tensors], whole: Tensors) -> Tensors:
    """Outputs and gradients of all ranks as those of one call; what must be the same on all ranks is held to it."""
    joined: dict[str, Any] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        axis = None if name == "output" else _axis(name, whole[name])
        if axis is not None:
            joined[name] = torch.cat(values, axis)
        elif name == "weight":  # one matrix that all ranks use, each for its own inputs
            joined[name] = torch.stack(values).to(torch.float64).sum(0).to(values[0].dtype)
        else:
            assert all(torch.equal(value, values[0]) for value in values), f"{name} differs between the ranks"
            joined[name] = values[0]
    return joined


def own_slice(rank: int, group: Group, case: Case, entry: str, dtype: torch.dtype, uneven: bool) -> Tensors:
    """The arguments of this rank."""
    ends = bounds(case.sizes[1], dist.get_world_size(group), uneven)
    return slice_of(tensors_of(case, entry, dtype), ends[rank], ends[rank + 1])


def routed(
    rank: int,
    group: Group,
    case: Case,
    entry: str = "dynamic_routing",
    dtype: torch.dtype = torch.float64,
    uneven: bool = False,
    backend: str | None = None,
    kernel: str = "automatic",
    poison: float | None = None,
    without: int | None = None,
) -> Tensors:
    """Output and gradients of the sharded call, whose arguments are made on the rank, from the case.

    With ``poison`` in the absent inputs; all those of the rank ``without`` are absent.
    """
    tensors = own_slice(rank, group, case, entry, dtype, uneven)
    if rank == without:
        tensors["input_mask"] = torch.zeros_like(tensors["input_mask"])
    if poison is not None:
        first = "votes" if entry == "route_votes" else "x"
        tensors[first] = tensors[first].clone()
        tensors[first][~tensors["input_mask"]] = poison
    with ExitStack() as stack:
        if backend is not None:
            stack.enter_context(testing.backend(backend))
            stack.enter_context(testing.cuda_kernel(kernel))
        options = {**case.options(), "group": group}
        return evaluate(getattr(distributed, entry), tensors, options, case.output_gradient(dtype))


def learning(rank: int, group: Group, case: Case, learns: list[str]) -> torch.Tensor:
    """The gradient of the one argument ``learns[rank]`` of this rank, where nothing else needs a gradient."""
    tensors = own_slice(rank, group, case, "dynamic_routing", torch.float64, False)
    leaf = tensors[learns[rank]].requires_grad_()
    output = distributed.dynamic_routing(**tensors, **case.options(), group=group)
    (gradient,) = torch.autograd.grad(output, leaf, case.output_gradient())
    return gradient


def sent(rank: int, group: Group, case: Case) -> dict[str, list[Any]]:
    """The operation and shape of each sum over the ranks, of forward and backward, and all else that is exchanged."""
    tensors = own_slice(rank, group, case, "dynamic_routing", torch.float32, False)
    log: list[Any] = []
    plain = {name: getattr(dist, name) for name in ("all_reduce", "all_gather", "all_gather_object")}

    def all_reduce(values: torch.Tensor, by: Any, **keywords: Any) -> Any:
        log.append((str(by).rpartition(".")[2], tuple(values.shape), values.dtype))
        return plain["all_reduce"](values, by, **keywords)

    def all_gather(everyone: Any, own: torch.Tensor, **keywords: Any) -> Any:
        log.append(("gather", own.numel() * own.element_size(), own.dtype))
        return plain["all_gather"](everyone, own, **keywords)

    def all_gather_object(*arguments: Any, **keywords: Any) -> Any:
        log.append(("objects", (), None))
        return plain["all_gather_object"](*arguments, **keywords)

    dist.all_reduce, dist.all_gather, dist.all_gather_object = all_reduce, all_gather, all_gather_object
    try:
        x = tensors.pop("x").requires_grad_()
        output = distributed.dynamic_routing(x, **tensors, **case.options(), group=group)
        forward = list(log)
        log.clear()
        output.backward(case.output_gradient(torch.float32))
        return {"forward": forward, "backward": list(log)}
    finally:
        for name, function in plain.items():
            setattr(dist, name, function)


def refused(rank: int, group: Group, each: list[dict[str, Any]]) -> tuple[str, str]:
    """The kind and the text of the error of a call in which rank r has the arguments ``each[r]``; then a good one.

    Tensors are given by their shapes, dtypes by name.
    """
    asked = dict(each[rank])
    dtype = getattr(torch, asked.pop("dtype", "float32"))
    learns = asked.pop("learns", False)
    entry = getattr(distributed, asked.pop("entry", "dynamic_routing"))
    arguments = {
        name: torch.ones(value, dtype=torch.bool if name.endswith("mask") else dtype) if _is_shape(value) else value
        for name, value in asked.items()
    }
    for tensor in arguments.values():
        if learns and isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            tensor.requires_grad_()
    try:
        entry(**arguments, group=group)
        answer = "", ""
    except Exception as error:
        answer = type(error).__name__, str(error)
    ones = torch.ones(2, 3, 4)
    after = distributed.dynamic_routing(ones, torch.ones(3, 5, 6, 4), group=group)
    assert after.shape == (2, 5, 6)  # nobody is left waiting for anybody
    return answer


def _is_shape(value: Any) -> bool:
    return isinstance(value, list)


def in_turn(rank: int, group: Group, calls: list[list[dict[str, Any]]]) -> list[str]:
    """The errors of calls one after the other; call n has on rank r the options ``calls[n][r]``, among them "batch"."""
    errors = []
    for each in calls:
        options = {"batch": 2, **each[rank]}
        try:
            x = torch.ones(options.pop("batch"), 3, 4)
            distributed.dynamic_routing(x, torch.ones(3, 5, 6, 4), group=group, **options)
            errors.append("")
        except ValueError as error:
            errors.append(str(error))
    return errors
