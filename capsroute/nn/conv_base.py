"""What all convolutional capsule layers have in common: weight, bias, options, and how a window becomes capsules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from capsroute.nn.conv_votes import votes_are_smaller
from capsroute.nn.conv_windows import batch, plain_sizes
from capsroute.nn.leaf import Leaf
from capsroute.routing import backends, checks, dispatch
from capsroute.routing.functional import route_votes
from capsroute.routing.result import RoutingResult

if TYPE_CHECKING:
    from capsroute.routing.keywords import RoutingKeywords

WINDOWS = ("separate", "joined")


def changed(routed: Tensor | RoutingResult, change: Callable[[Tensor], Tensor]) -> Tensor | RoutingResult:
    """The output, or each field that is there, changed alike."""
    if isinstance(routed, Tensor):
        return change(routed)
    return RoutingResult(*(None if field is None else change(field) for field in routed))  # type: ignore[arg-type]


def _with_plain_gradient(poses: Tensor) -> Tensor:
    """The same numbers, whose gradient is contiguous where the batch is one sample.

    The backward of torch's BatchNorm2d is wrong for other strides of such a gradient (torch 2.13,
    findings/batchnorm-one-image.sh), and networks have one before their capsules.
    """
    return poses.flatten(1).unflatten(1, poses.shape[1:]) if poses.shape[0] == 1 else poses


class ConvRouting(Leaf):
    """Base class of the convolutional capsule layers; it routes nothing by itself.

    See :class:`~capsroute.nn.ConvCapsules2d` for the arguments.

    Attributes:
        weight: ``[I_w, J, D, d_w]``; each layer says more.
        bias: ``[J, D]`` or None.
        options: A :class:`capsroute.routing.options.RoutingOptions`.
    """

    dimensions: ClassVar[int]
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_capsules: int,
        in_size: int,
        out_capsules: int,
        out_size: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        bias: bool,
        *,
        window: str,
        share_types: bool,
        weights: Sequence[int],
        init_std: float | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        options: RoutingKeywords,
    ) -> None:
        super().__init__()
        in_capsules, in_size, out_capsules, out_size = checks.at_least_one(
            in_capsules=in_capsules, in_size=in_size, out_capsules=out_capsules, out_size=out_size
        )
        self.in_capsules = in_capsules
        self.in_size = in_size
        self.out_capsules = out_capsules
        self.out_size = out_size
        self.kernel_size = checks.per_axis("kernel_size", kernel_size, self.dimensions, 1)
        self.stride = checks.per_axis("stride", stride, self.dimensions, 1)
        self.window = checks.choice("window", window, WINDOWS)
        self.share_types = checks.flag("share_types", share_types)
        self.init_std = checks.spread("init_std", init_std)
        self.options = checks.keyword_options(options)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        taps, types = math.prod(self.kernel_size), 1 if self.share_types else in_capsules
        sets, size = (types, taps * in_size) if self.window == "joined" else (taps * types, in_size)
        self.weight = parameter(*weights, sets, out_capsules, out_size, size)
        self.register_parameter("bias", parameter(out_capsules, out_size) if checks.flag("bias", bias) else None)
        self.reset_parameters()

    def taps(self) -> float:
        """Positions of the input that take part in an output position."""
        return float(math.prod(self.kernel_size))

    def by_convolution(self) -> bool:
        """Whether votes are made by a convolution and stored, as less memory than the windows would take.

        Not for ONNX: the older exporter would write down the batch of its example.
        """
        smaller = votes_are_smaller(self.taps(), self.in_size, self.out_capsules * self.out_size)
        return self.window == "joined" and smaller and not backends.in_onnx_export()

    def separately(self, votes: Tensor, details: Sequence[str] | None = None) -> Tensor | RoutingResult:
        """``[B, L, C, J, D]`` to ``[B, L, J, D]``, each position by itself."""
        keywords: dict[str, Any] = {"details": details, **self.options.keywords()}
        routed = route_votes(votes.flatten(0, 1), self.bias, **keywords)
        return changed(routed, lambda part: part.unflatten(0, votes.shape[:2]))

    def reset_parameters(self) -> None:
        """Draws the weight from N(0, init_std^2); the bias starts at 0.

        The default is that of :class:`~capsroute.nn.CapsuleLayer`: poses of length 1 and the uniform coupling give
        outputs with an expected squared length of 1 before the squash. Padding is not taken into account.
        """
        std = self.init_std
        if std is None:
            poses = self.in_capsules * self.taps()  # that reach an output position, each with its part of the weight
            if self.options.softmax_over == "inputs":
                competitors = self.in_capsules if self.window == "joined" else poses
            else:
                competitors = self.out_capsules + self.options.leaky
            std = competitors / math.sqrt(poses * self.out_size)
        nn.init.normal_(self.weight, std=std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def capsules_last(self, poses: Tensor) -> Tensor:
        """``[B, C, d, *space]`` to a view ``[B, *space, C, d]``.

        Raises:
            ValueError: Another shape.
        """
        expected = (self.in_capsules, self.in_size)
        checks.floating("poses", poses)
        if poses.dim() != 3 + self.dimensions or poses.shape[1:3] != expected:
            axes = ", ".join("DHW"[-self.dimensions :])
            raise ValueError(
                f"poses must have the shape [B, {expected[0]}, {expected[1]}, {axes}], got {list(poses.shape)}"
            )
        if poses.requires_grad and not torch.compiler.is_compiling() and not dispatch.is_written_down():
            poses = _with_plain_gradient(poses)
        return poses.movedim((1, 2), (-2, -1))

    def capsules_first(self, capsules: Tensor) -> Tensor:
        """``[B, *positions, J, D]`` to a view ``[B, J, D, *positions]``."""
        n = self.dimensions  # axes count from the front: the older ONNX exporter takes a source of -1 for itself
        return capsules.movedim((n + 1, n + 2), (1, 2))

    def inputs(self, windows: Tensor) -> Tensor:
        """Input capsules of all windows: ``[B, *positions, *kernel, C, d]`` to ``[B, L, I, d_w]``.

        Their order is that of the weight: input i uses weight i mod I_w.
        """
        n = self.dimensions
        shape = plain_sizes(windows.shape[1:])
        positions, components = shape[:n], math.prod(shape[n:])
        capsules = self.in_capsules if self.window == "joined" else components // self.in_size
        # Only where a window has a weight for each position and type may positions come first; that copies longer runs.
        if self.share_types or self.window == "joined":
            windows = windows.movedim(2 * n + 1, n + 1)  # [B, *positions, C, *kernel, d]
        return windows.reshape(batch(windows.shape[0]), math.prod(positions), capsules, components // capsules)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.given().items())
        return (
            f"{self.in_capsules}, {self.in_size}, {self.out_capsules}, {self.out_size}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}, bias={self.bias is not None}, "
            f"window={self.window!r}, share_types={self.share_types}{options}"
        )
