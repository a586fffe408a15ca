"""A capsule layer whose inputs and weight are divided among ranks."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from typing_extensions import Unpack

from capsroute.nn.routing import initial_std
from capsroute.routing import checks
from capsroute.routing.keywords import RoutingKeywords

from .consensus import refusals_shared
from .functional import dynamic_routing
from .groups import members
from .slices import held_inputs

_AT_ONCE = 1 << 20  # numbers of the weight that are drawn together


class ShardedCapsuleLayer(nn.Module):
    """:class:`capsroute.nn.CapsuleLayer` of which every rank of a process group holds a slice of the inputs.

    Each rank routes its inputs, and all get the same output capsules, by :func:`capsroute.distributed.dynamic_routing`,
    which says what is sent and what the gradients are. ``weight`` and ``logits`` are this rank's rows; ``bias`` is the
    same on every rank and gets the same gradient there, so an optimizer on each rank keeps it so. Not to be wrapped in
    DistributedDataParallel over the same ranks, whose averages have no place here.

    Args:
        in_capsules: Input capsules of all ranks, I.
        in_size: Components of an input capsule, d.
        out_capsules: Output capsules, J.
        out_size: Components of an output capsule, D.
        bias: Whether a learnable bias ``[J, D]`` is added before each squash.
        group: The ranks; None for the default group.
        learnable_logits: Whether the initial logits ``[I_local, J]`` are a parameter; without it they are 0.
        init_std: Standard deviation of the initial weight; None for that of :class:`capsroute.nn.CapsuleLayer`.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: ``iterations`` and the other options of :func:`capsroute.dynamic_routing` that are no tensors.

    Attributes:
        held: The inputs of this rank, a ``range``.
        weight: ``[I_local, J, D, d]``.
        bias: ``[J, D]`` or None.
        logits: ``[I_local, J]`` or None.
        options: A :class:`capsroute.routing.options.RoutingOptions`.

    Raises:
        RuntimeError: ``torch.distributed`` is not initialised.
        TypeError: An unknown option, or one of the wrong kind.
        ValueError: A size is below 1, there are more ranks than inputs, or this process is not in the group.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    logits: nn.Parameter | None

    def __init__(
        self,
        in_capsules: int,
        in_size: int,
        out_capsules: int,
        out_size: int,
        bias: bool = False,
        *,
        group: dist.ProcessGroup | None = None,
        learnable_logits: bool = False,
        init_std: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[RoutingKeywords],
    ) -> None:
        super().__init__()
        in_capsules, in_size, out_capsules, out_size = checks.at_least_one(
            in_capsules=in_capsules, in_size=in_size, out_capsules=out_capsules, out_size=out_size
        )
        self.in_capsules = in_capsules
        self.in_size = in_size
        self.out_capsules = out_capsules
        self.out_size = out_size
        self.options = checks.keyword_options(options)
        self.init_std = checks.spread("init_std", init_std)
        self.group = group
        self.held = held_inputs(in_capsules, group)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.weight = parameter(len(self.held), out_capsules, out_size, in_size)
        self.register_parameter("bias", parameter(out_capsules, out_size) if checks.flag("bias", bias) else None)
        learnable_logits = checks.flag("learnable_logits", learnable_logits)
        self.register_parameter("logits", parameter(len(self.held), out_capsules) if learnable_logits else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weight from N(0, init_std^2); bias and logits start at 0.

        On the CPU, from torch's default generator, and for all inputs, of which this rank keeps its own: with the same
        seed on every rank the slices are those of a :class:`capsroute.nn.CapsuleLayer` on the CPU with that seed.
        """
        std = self.init_std
        if std is None:
            std = initial_std(self.in_capsules, self.out_capsules, self.out_size, self.options)
        row = self.weight.shape[1:]
        # torch draws 16 numbers at a time, so whole sixteens of rows come out as in one piece.
        rows = max(_AT_ONCE // (16 * row.numel()), 1) * 16
        first = 0
        while first < self.in_capsules:
            end = first + rows if self.in_capsules - first >= 2 * rows else self.in_capsules
            drawn = torch.empty(end - first, *row, dtype=self.weight.dtype, device="cpu").normal_(std=std)
            begin, stop = max(first, self.held.start), min(end, self.held.stop)
            if begin < stop:
                self.weight[begin - self.held.start : stop - self.held.start] = drawn[begin - first : stop - first]
            first = end
        for zeroed in (self.bias, self.logits):
            if zeroed is not None:
                nn.init.zeros_(zeroed)

    def forward(
        self,
        capsules: Tensor,
        *,
        logits: Tensor | None = None,
        input_mask: Tensor | None = None,
        output_mask: Tensor | None = None,
        input_weight: Tensor | None = None,
    ) -> Tensor:
        """Routes the input capsules of all ranks to the output capsules.

        Args:
            capsules: Those of this rank, ``[B, I_local, d]``; :func:`capsroute.distributed.split_inputs` takes them
                from capsules that every rank has.
            logits: Initial logits ``[I_local, J]`` or ``[B, I_local, J]``; not together with ``learnable_logits``.
            input_mask: bool ``[B, I_local]``, False where an input capsule is absent.
            output_mask: bool ``[B, J]``, False where an output capsule is absent; the same on every rank.
            input_weight: Multiplies the coupling coefficients after the softmax, ``[B, I_local]``.

        Returns:
            Output capsules ``[B, J, D]``, the same on every rank.

        Raises:
            ValueError: ``logits`` is given although the layer learns its own; sizes that do not fit; ranks that make
                different calls.
        """
        if logits is None:
            logits = self.logits
        elif self.logits is not None:
            with refusals_shared(members(self.group), self.weight.device):
                raise ValueError("logits were given, but this layer learns its own (learnable_logits=True)")
        return dynamic_routing(
            capsules,
            self.weight,
            self.bias,
            group=self.group,
            logits=logits,
            input_mask=input_mask,
            output_mask=output_mask,
            input_weight=input_weight,
            **self.options.keywords(),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> ShardedCapsuleLayer:
        """A copy of the parameters, for the same ranks: a process group cannot be copied."""
        memo[id(self.group)] = self.group
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.given().items())
        return (
            f"in_capsules={self.in_capsules} of which {self.held.start} to {self.held.stop - 1} are here, "
            f"in_size={self.in_size}, out_capsules={self.out_capsules}, out_size={self.out_size}, "
            f"bias={self.bias is not None}, learnable_logits={self.logits is not None}, {options}"
        )
