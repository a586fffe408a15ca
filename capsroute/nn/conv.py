"""Convolutional capsules: routing by agreement from the capsules of a window to those of an output position."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from capsroute.nn.conv_base import ConvRouting, changed
from capsroute.nn.conv_votes import joined_votes
from capsroute.nn.conv_windows import (
    Margins,
    batch,
    margins,
    pad,
    padding_per_axis,
    plain_sizes,
    samples,
    span,
    windows,
)
from capsroute.routing import backends, checks
from capsroute.routing.functional import dynamic_routing, route_votes
from capsroute.routing.reference import prediction_vectors
from capsroute.routing.result import RoutingResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["ConvCapsules1d", "ConvCapsules2d", "ConvCapsules3d"]


class _ConvCapsules(ConvRouting):
    """The layer in any number of dimensions; :class:`ConvCapsules2d` says what it does."""

    def __init__(
        self,
        in_capsules: int,
        in_size: int,
        out_capsules: int,
        out_size: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        bias: bool = False,
        *,
        window: str = "separate",
        share_types: bool = False,
        positions: int | Sequence[int] | None = None,
        jointly: bool = False,
        init_std: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        self.positions = None if positions is None else checks.per_axis("positions", positions, self.dimensions, 1)
        super().__init__(
            in_capsules,
            in_size,
            out_capsules,
            out_size,
            kernel_size,
            stride,
            bias,
            window=window,
            share_types=share_types,
            weights=() if self.positions is None else (math.prod(self.positions),),
            init_std=init_std,
            device=device,
            dtype=dtype,
            options=options,
        )
        self.padding = padding_per_axis(padding, self.dimensions)
        self.dilation = checks.per_axis("dilation", dilation, self.dimensions, 1)
        self.jointly = checks.flag("jointly", jointly)
        if self.jointly and window != "joined":
            raise ValueError(f"jointly needs window='joined', where an input capsule is a type; got window={window!r}")
        if self.jointly and self.options.softmax_over != "outputs":
            raise ValueError("jointly needs a softmax over outputs, got softmax_over='inputs'")

    def forward(self, poses: Tensor, *, details: Sequence[str] | None = None) -> Tensor | RoutingResult:
        """Routes the capsules of each window.

        Args:
            poses: ``[B, C, d, *space]``, dtype of the weight (or any, under autocast), any strides.
            details: None, or some of ``"coupling"``, ``"pre_squash"`` and ``"agreement"``.

        Returns:
            ``[B, J, D, *positions]``, a view with the capsules last in memory, so that a next layer copies whole
            capsules. With ``details`` a :class:`capsroute.RoutingResult` that begins with them: ``pre_squash`` has
            their shape, ``coupling`` and ``agreement`` are ``[B, *positions, I, J]``, the I input capsules of a window
            in the order of the weight.

        Raises:
            ValueError: The shape does not fit, the window is larger than what it moves over, or ``positions`` are not
                those that come out.
        """
        if not isinstance(poses, Tensor):
            return self._node("poses", poses, details=details)
        maps = self.capsules_last(poses)
        space = plain_sizes(maps.shape[1 : 1 + self.dimensions])
        padding = self.padding or (None,) * self.dimensions
        sides = [
            margins(*axis) for axis in zip(space, self.kernel_size, self.stride, self.dilation, padding, strict=True)
        ]
        for size, side, kernel, dilation in zip(space, sides, self.kernel_size, self.dilation, strict=True):
            if size + sum(side) < span(kernel, dilation):
                raise ValueError(
                    f"kernel_size={self.kernel_size} with dilation={self.dilation} does not fit into the space "
                    f"{tuple(space)} of poses with padding {tuple(map(tuple, sides))}"
                )
        n = self.dimensions
        if self.by_convolution():
            votes = self._stored_votes(poses, sides)
            positions, votes = tuple(votes.shape[1 : 1 + n]), votes.flatten(1, n)
            routed = self._jointly(votes, details) if self.jointly else self.separately(votes, details)
        else:
            views = windows(pad(maps, sides), self.kernel_size, self.stride, self.dilation)
            positions = plain_sizes(views.shape[1 : 1 + n])
            if self.positions is not None and positions != self.positions:
                raise ValueError(f"positions={self.positions} of this layer do not fit those of poses, {positions}")
            x = self.inputs(views)
            routed = self._joint(x, details) if self.jointly else self._separate(x, details)
        routed = changed(
            routed, lambda part: part.reshape(batch(poses.shape[0]), *positions, *plain_sizes(part.shape[2:]))
        )
        if isinstance(routed, Tensor):
            return self.capsules_first(routed)
        before = None if routed.pre_squash is None else self.capsules_first(routed.pre_squash)
        return routed._replace(output=self.capsules_first(routed.output), pre_squash=before)

    def by_convolution(self) -> bool:
        """As of the base class; votes for all positions together are stored anyway."""
        if self.positions is not None or backends.in_onnx_export():
            return False
        return self.jointly or super().by_convolution()

    def _stored_votes(self, poses: Tensor, sides: Sequence[Margins]) -> Tensor:
        """``[B, C, d, *space]`` to ``[B, *positions, C, J, D]``."""
        even = all(before == after for before, after in sides)
        if not even:  # no convolution pads so
            poses = F.pad(poses, [*itertools.chain(*reversed(sides))])
        padding = [side.before if even else 0 for side in sides]
        return joined_votes(
            poses, self.weight, self.kernel_size, stride=self.stride, padding=padding, dilation=self.dilation
        )

    def _separate(self, x: Tensor, details: Sequence[str] | None) -> Tensor | RoutingResult:
        """``[B, L, I, d_w]`` to ``[B, L, J, D]``, each position by itself."""
        keywords: dict[str, Any] = {"details": details, **self.options.keywords()}
        if self.positions is None:  # then positions are samples
            routed = dynamic_routing(samples(x), self.weight, self.bias, **keywords)
            length = plain_sizes(x.shape[1:2])
            return changed(routed, lambda part: part.reshape(batch(x.shape[0]), *length, *plain_sizes(part.shape[1:])))
        at_each = [
            dynamic_routing(x_l, weight_l, self.bias, **keywords)
            for x_l, weight_l in zip(x.unbind(1), self.weight.unbind(0), strict=True)
        ]
        if details is None:
            return torch.stack(at_each, dim=1)
        fields = zip(*at_each, strict=True)
        return RoutingResult(*(None if field[0] is None else torch.stack(field, dim=1) for field in fields))  # type: ignore[arg-type]

    def _joint(self, x: Tensor, details: Sequence[str] | None) -> Tensor | RoutingResult:
        """The same with one softmax over the positions and capsules of a sample."""
        if self.positions is None:
            votes = prediction_vectors(samples(x), self.weight)  # [B * L, I, J, D]
            votes = votes.reshape(batch(x.shape[0]), *plain_sizes(x.shape[1:3]), *votes.shape[2:])
        else:
            pairs = zip(x.unbind(1), self.weight.unbind(0), strict=True)
            votes = torch.stack([prediction_vectors(x_l, weight_l) for x_l, weight_l in pairs], dim=1)
        return self._jointly(votes, details)

    def _jointly(self, votes: Tensor, details: Sequence[str] | None) -> Tensor | RoutingResult:
        """``[B, L, C, J, D]`` to ``[B, L, J, D]``."""
        bias = None if self.bias is None else self.bias.expand(votes.shape[1], -1, -1)
        keywords: dict[str, Any] = {"details": details, **self.options.keywords()}
        routed: Tensor | RoutingResult = route_votes(votes.transpose(1, 2), bias, **keywords)
        if isinstance(routed, Tensor):
            return routed
        coupling, agreement = (  # [B, C, L, J] to [B, L, C, J]
            None if part is None else part.transpose(1, 2) for part in (routed.coupling, routed.agreement)
        )
        return routed._replace(coupling=coupling, agreement=agreement)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        padding = "same" if self.padding is None else self.padding
        return (
            f"{super().extra_repr()}, padding={padding!r}, dilation={self.dilation}, positions={self.positions}, "
            f"jointly={self.jointly}"
        )


class ConvCapsules2d(_ConvCapsules):
    """Convolutional capsules: each window of the poses is routed to the capsules of its output position.

    Poses in and out are ``[B, C, d, H, W]`` and ``[B, J, D, H', W']``: at every position C capsules of d components.
    The poses of the windows are gathered and routed by :func:`capsroute.dynamic_routing`, which defines the options;
    the votes are stored where that takes less memory (see ``"joined"``). H' and W' are those of
    :class:`torch.nn.Conv2d`.

    Public code reads a window in two ways, and ``window`` chooses:

    * ``"separate"`` (Hinton et al. 2018, "Matrix capsules with EM routing", and the dynamic routing of Hahn
      et al. 2019, "Self-routing capsule networks"): each capsule at each position of the window is an input capsule,
      I = kh·kw·C of size d. The weight is ``[kh·kw·C, J, D, d]`` with the type running fastest.
    * ``"joined"`` (the slim convolutional capsules of Sabour et al. 2017's code, LaLonde and Bagci 2018, "Capsules for
      object segmentation"): the capsules of one type in the window are one input capsule, I = C of size
      kh·kw·d. Their votes are those of an ordinary convolution; where kh·kw·d > J·D, torch's convolution makes them,
      under its own switches, and they are stored. The weight is ``[C, J, D, kh·kw·d]`` with the component of the pose
      running fastest.

    Positions in the padding are capsules of 0 with a vote of 0.

    Args:
        in_capsules: Capsule types at each input position, C.
        in_size: Components of an input pose, d.
        out_capsules: Capsule types at each output position, J.
        out_size: Components of an output pose, D.
        kernel_size: Height and width of a window; one int for both, here and below.
        stride: Positions from one window to the next.
        padding: Positions of 0 on both sides, or ``"same"`` for ceil(H / stride) output positions with the odd one of
            the padding at the end, as TensorFlow pads.
        dilation: Distance of the positions of a window.
        bias: Whether a learnable bias ``[J, D]``, the same at all positions, is added before each squash.
        window: ``"separate"`` or ``"joined"``.
        share_types: Whether all input types have one weight: ``[kh·kw, J, D, d]`` separate, ``[1, J, D, kh·kw·d]``
            joined, as in the code of Sabour et al. and of LaLonde and Bagci.
        positions: H' and W' for a weight of its own at every output position (``weight`` is then ``[H'·W', ...]``,
            and every position is one call); None for one weight at all positions.
        jointly: Whether an input capsule, a type then, divides itself among all output capsules at all positions
            together, as in Rajasegaran et al. 2019, "DeepCaps: going deeper with capsule networks". It stores the votes
            ``[B, C, H'·W', J, D]``, and needs ``window="joined"``.
        init_std: Standard deviation of the initial weight; None for the one that :meth:`reset_parameters` derives.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: Of the routing, see :func:`capsroute.dynamic_routing`: those that are no tensors.

    Raises:
        TypeError: A size or an option of the wrong kind, or an unknown option.
        ValueError: A size below its least value, or options that do not fit each other.
    """

    dimensions: ClassVar[int] = 2


class ConvCapsules1d(_ConvCapsules):
    """:class:`ConvCapsules2d` over one axis: ``[B, C, d, W]`` to ``[B, J, D, W']``."""

    dimensions: ClassVar[int] = 1


class ConvCapsules3d(_ConvCapsules):
    """:class:`ConvCapsules2d` over three axes: ``[B, C, d, D, H, W]`` to ``[B, J, D, D', H', W']``."""

    dimensions: ClassVar[int] = 3
