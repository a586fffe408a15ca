"""The fully connected capsule layer with routing by agreement."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from capsroute.nn.leaf import Leaf
from capsroute.routing import checks, functional, reference
from capsroute.routing.options import RoutingOptions
from capsroute.routing.result import RoutingResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["CapsuleLayer", "set_routing"]

_ROUTINGS: dict[str, Callable[..., Any]] = {
    "fused": functional.dynamic_routing,
    "reference": reference.dynamic_routing,
}


def _checked_routing(routing: str) -> str:
    return checks.choice("routing", routing, sorted(_ROUTINGS))


def initial_std(in_capsules: int, out_capsules: int, out_size: int, options: RoutingOptions) -> float:
    """The standard deviation that :meth:`CapsuleLayer.reset_parameters` derives."""
    competitors = in_capsules if options.softmax_over == "inputs" else out_capsules + options.leaky
    return competitors / math.sqrt(in_capsules * out_size)


class CapsuleLayer(Leaf):
    """Every input capsule votes for every output capsule; agreement decides which votes count.

    Dynamic routing of Sabour et al. 2017, procedure 1; the options are those of :func:`capsroute.dynamic_routing`,
    which defines them.

    Args:
        in_capsules: Input capsules, I.
        in_size: Components of an input capsule, d.
        out_capsules: Output capsules, J.
        out_size: Components of an output capsule, D.
        bias: Whether a learnable bias ``[J, D]`` is added before each squash.
        learnable_logits: Whether the initial logits ``[I, J]`` are a parameter; without it they are 0.
        weight_sets: Distinct weight matrices per output capsule, a divisor of I: input ``i`` uses set
            ``i mod weight_sets``. None for one per input capsule, 1 for one shared by all. A layer that is given them
            takes any multiple of them as inputs, unless it learns logits; I then decides the initial weight alone.
        routing: ``"fused"`` for :func:`capsroute.dynamic_routing`, ``"reference"`` for its definition in plain PyTorch.
            May be changed at any time by setting the attribute.
        init_std: Standard deviation of the initial weight; None for the one that :meth:`reset_parameters` derives.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: ``iterations`` and the other options of :func:`capsroute.dynamic_routing` that are no tensors.

    Attributes:
        weight: ``[I, J, D, d]``, or ``[weight_sets, J, D, d]``.
        bias: ``[J, D]`` or None.
        logits: ``[I, J]`` or None.
        options: A :class:`capsroute.routing.options.RoutingOptions`.

    Raises:
        TypeError: An unknown option, or one of the wrong kind.
        ValueError: A size is below 1, ``weight_sets`` does not divide ``in_capsules``, or ``routing`` is unknown.
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
        learnable_logits: bool = False,
        weight_sets: int | None = None,
        routing: str = "fused",
        init_std: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        super().__init__()
        in_capsules, in_size, out_capsules, out_size = checks.at_least_one(
            in_capsules=in_capsules, in_size=in_size, out_capsules=out_capsules, out_size=out_size
        )
        if weight_sets is not None:
            weight_sets = checks.whole("weight_sets", weight_sets)
            if in_capsules % weight_sets != 0:
                raise ValueError(f"weight_sets must be a divisor of in_capsules={in_capsules}, got {weight_sets}")
        self.in_capsules = in_capsules
        self.in_size = in_size
        self.out_capsules = out_capsules
        self.out_size = out_size
        self.weight_sets = weight_sets
        self.options = checks.keyword_options(options)
        self.routing = routing
        self.init_std = checks.spread("init_std", init_std)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.weight = parameter(weight_sets or in_capsules, out_capsules, out_size, in_size)
        self.register_parameter("bias", parameter(out_capsules, out_size) if checks.flag("bias", bias) else None)
        learnable_logits = checks.flag("learnable_logits", learnable_logits)
        self.register_parameter("logits", parameter(in_capsules, out_capsules) if learnable_logits else None)
        self.reset_parameters()

    @property
    def routing(self) -> str:
        """Who routes, ``"fused"`` or ``"reference"``."""
        return self._routing

    @routing.setter
    def routing(self, routing: str) -> None:
        self._routing = _checked_routing(routing)

    def reset_parameters(self) -> None:
        """Draws the weight from N(0, init_std^2); bias and logits start at 0.

        The scale decides how well routing trains. Too small, and the outputs are so short that the squash, quadratic
        near 0, leaves hardly a gradient; too large, and the first agreements saturate the coupling. By default, inputs
        of length 1 and the uniform coupling c give outputs with an expected squared length of 1 before the squash:
        ``init_std = 1 / (c * sqrt(I * D))`` with c = 1/J for a softmax over outputs (1/(J+1) where leaky) and c = 1/I
        for one over inputs. That is 0.07 for the MNIST network of the paper.
        """
        std = self.init_std
        if std is None:
            std = initial_std(self.in_capsules, self.out_capsules, self.out_size, self.options)
        nn.init.normal_(self.weight, std=std)
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
        details: Sequence[str] | None = None,
    ) -> Tensor | RoutingResult:
        """Routes the input capsules to the output capsules.

        Args:
            capsules: ``[B, I, d]``, dtype of the weight (or any, under autocast).
            logits: Initial logits ``[I, J]`` or ``[B, I, J]``; not together with ``learnable_logits``.
            input_mask: bool ``[B, I]``, False where an input capsule is absent.
            output_mask: bool ``[B, J]``, False where an output capsule is absent.
            input_weight: Multiplies the coupling coefficients after the softmax, ``[B, I]``.
            details: None, or some of ``"coupling"``, ``"pre_squash"`` and ``"agreement"``.

        Returns:
            Output capsules ``[B, J, D]``; with the standard squash each has a length below 1. With ``details`` a
            :class:`capsroute.RoutingResult`, whose first field they are.

        Raises:
            TypeError: A tensor of the wrong kind or dtype.
            ValueError: ``logits`` is given although the layer learns its own, or the shape of ``capsules`` is not
                ``[B, I, d]``.
        """
        if not isinstance(capsules, Tensor):
            more = {"output_mask": output_mask, "input_weight": input_weight, "details": details}
            return self._node("capsules", capsules, logits=logits, input_mask=input_mask, **more)
        self._check_shape(checks.floating("capsules", capsules))
        if logits is None:
            logits = self.logits
        elif self.logits is not None:
            raise ValueError("logits were given, but this layer learns its own (learnable_logits=True)")
        routed: Tensor | RoutingResult = _ROUTINGS[self.routing](
            capsules,
            self.weight,
            self.bias,
            logits=logits,
            input_mask=input_mask,
            output_mask=output_mask,
            input_weight=input_weight,
            details=details,
            **self.options.keywords(),
        )
        return routed

    def _check_shape(self, capsules: Tensor) -> None:
        """``[B, I, d]``, with I as many as this layer was made for, or a multiple of the weights that they share."""
        if capsules.dim() == 3 and capsules.shape[2] == self.in_size:
            inputs = capsules.shape[1]
            if inputs == self.in_capsules:
                return
            shared = self.weight_sets is not None and self.logits is None
            if shared and inputs > 0 and inputs % self.weight.shape[0] == 0:
                return
        raise ValueError(
            f"capsules must have the shape [B, {self.in_capsules}, {self.in_size}], got {list(capsules.shape)}"
            f"{self._other_numbers(capsules)}"
        )

    def _other_numbers(self, capsules: Tensor) -> str:
        """The way out where only the number of inputs differs."""
        if capsules.dim() != 3 or capsules.shape[2] != self.in_size:
            return ""
        if self.weight_sets is None:
            return ": pad what has fewer and leave the padding out by input_mask, or share weights by weight_sets"
        if self.logits is not None:
            return ": learnable_logits belong to this number of inputs; input_mask leaves some of them out"
        return f", and any other multiple of weight_sets={self.weight_sets} would do"

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.given().items())
        return (
            f"in_capsules={self.in_capsules}, in_size={self.in_size}, out_capsules={self.out_capsules}, "
            f"out_size={self.out_size}, bias={self.bias is not None}, "
            f"learnable_logits={self.logits is not None}, weight_sets={self.weight.shape[0]}, "
            f"routing={self.routing!r}, {options}"
        )


def set_routing(module: nn.Module, routing: str) -> None:
    """Switches who routes in every :class:`CapsuleLayer` of a model.

    Args:
        module: Any module; layers are found at any depth.
        routing: ``"fused"`` or ``"reference"``.

    Raises:
        ValueError: ``routing`` is unknown.
    """
    _checked_routing(routing)
    for layer in module.modules():
        if isinstance(layer, CapsuleLayer):
            layer.routing = routing
