"""Transposed convolutional capsules: more output positions than input positions."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from capsroute.nn.conv_base import ConvRouting
from capsroute.nn.conv_votes import joined_votes
from capsroute.nn.conv_windows import Margins, batch, pad, padding_per_axis, plain_sizes, samples, windows
from capsroute.routing import checks
from capsroute.routing.functional import dynamic_routing

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["ConvTransposeCapsules1d", "ConvTransposeCapsules2d", "ConvTransposeCapsules3d"]


class _Phase(NamedTuple):
    """Along one axis, the output positions that are equal modulo the stride, as an ordinary convolution.

    Output position ``stride * n + phase`` receives position x of the input through place q of the kernel where
    ``stride * x + q - padding`` is that position: q runs over every stride-th place, and x backwards beside it.
    """

    first: int  # smallest place of the kernel
    sides: Margins  # for windows of stride 1

    @classmethod
    def of(cls, phase: int, kernel: int, stride: int, padding: int, size: int, positions: int) -> "_Phase":
        first = (phase + padding) % stride
        taps = len(range(first, kernel, stride))
        before = taps - 1 - (phase + padding) // stride
        return cls(first, Margins(before, positions + taps - 1 - size - before))


class _ConvTransposeCapsules(ConvRouting):
    """The layer in any number of dimensions; :class:`ConvTransposeCapsules2d` says what it does."""

    def __init__(
        self,
        in_capsules: int,
        in_size: int,
        out_capsules: int,
        out_size: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        output_padding: int | Sequence[int] = 0,
        bias: bool = False,
        *,
        window: str = "separate",
        share_types: bool = False,
        init_std: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
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
            weights=(),
            init_std=init_std,
            device=device,
            dtype=dtype,
            options=options,
        )
        self.padding = padding_per_axis(padding, self.dimensions)
        self.output_padding = checks.per_axis("output_padding", output_padding, self.dimensions, 0)
        if any(k < s for k, s in zip(self.kernel_size, self.stride, strict=True)):
            raise ValueError(
                f"kernel_size must not be below stride={self.stride}, or output positions have no input; "
                f"got {self.kernel_size}"
            )
        if any(extra >= s for extra, s in zip(self.output_padding, self.stride, strict=True)):
            raise ValueError(f"output_padding must be below stride={self.stride}, got {self.output_padding}")
        if self.padding is None and any(self.output_padding):
            raise ValueError(f"output_padding must be 0 with padding='same', got {self.output_padding}")

    def taps(self) -> float:
        """Positions of the input that take part in an output position, on average over the phases."""
        return math.prod(self.kernel_size) / math.prod(self.stride)

    def forward(self, poses: Tensor) -> Tensor:
        """Routes to each output position the capsules that reach it.

        Args:
            poses: ``[B, C, d, *space]``, dtype of the weight (or any, under autocast), any strides.

        Returns:
            ``[B, J, D, *positions]``, a view with the capsules last in memory.

        Raises:
            ValueError: The shape does not fit, or nothing is left of the output after its padding.
        """
        if not isinstance(poses, Tensor):
            return self._node("poses", poses)
        maps = self.capsules_last(poses)
        n, space = self.dimensions, plain_sizes(maps.shape[1 : 1 + self.dimensions])
        padding = self.padding or [(k - s) // 2 for k, s in zip(self.kernel_size, self.stride, strict=True)]
        sizes = self._output_sizes(space)
        if min(sizes) < 1:
            raise ValueError(f"poses of the space {tuple(space)} leave an output of the size {tuple(sizes)}")
        if self.by_convolution():
            votes = joined_votes(
                *(poses, self.weight, self.kernel_size),
                transposed=True,
                stride=self.stride,
                padding=padding,
                output_padding=self.output_padding,
            )
            for axis, size in enumerate(sizes, 1):
                votes = votes.narrow(axis, 0, size)  # "same" may want one position less at the end
            routed = self.separately(votes.flatten(1, n))
            assert isinstance(routed, Tensor)
            return self.capsules_first(routed.unflatten(1, sizes))
        # The phases lie between each other, so each has as many positions as the longest; what is too much is cut off.
        counts = [-(-size // s) for size, s in zip(sizes, self.stride, strict=True)]
        phases = [
            [_Phase.of(r, k, s, p, size, count) for r in range(s)]
            for k, s, p, size, count in zip(self.kernel_size, self.stride, padding, space, counts, strict=True)
        ]
        first = batch(maps.shape[0])
        each = [self._route(maps, phase) for phase in itertools.product(*phases)]  # [B, L, J, D]
        capsules = torch.stack(each, dim=1).reshape(first, *self.stride, *counts, self.out_capsules, self.out_size)
        # [B, *stride, *counts, J, D]; along an axis the phases lie between the counts.
        order = [0, *itertools.chain(*((1 + n + axis, 1 + axis) for axis in range(n))), 2 * n + 1, 2 * n + 2]
        full = [count * s for count, s in zip(counts, self.stride, strict=True)]
        capsules = capsules.permute(order).reshape(first, *full, self.out_capsules, self.out_size)
        for axis, size in enumerate(sizes, 1):
            capsules = capsules.narrow(axis, 0, size)
        return self.capsules_first(capsules)

    def _output_sizes(self, space: Sequence[int]) -> list[int]:
        if self.padding is None:
            return [size * s for size, s in zip(space, self.stride, strict=True)]
        axes = zip(space, self.kernel_size, self.stride, self.padding, self.output_padding, strict=True)
        return [(size - 1) * s - 2 * p + k + extra for size, k, s, p, extra in axes]

    def _route(self, maps: Tensor, phase: Sequence[_Phase]) -> Tensor:
        """``[B, *space, C, d]`` to ``[B, L, J, D]``, the output positions of one phase."""
        weight, kernel = self._weight(phase)
        one = (1,) * self.dimensions
        x = self.inputs(windows(pad(maps, [axis.sides for axis in phase]), kernel, one, one))
        capsules = dynamic_routing(samples(x), weight, self.bias, **self.options.keywords())
        return capsules.reshape(batch(x.shape[0]), *plain_sizes(x.shape[1:2]), self.out_capsules, self.out_size)

    def _weight(self, phase: Sequence[_Phase]) -> tuple[Tensor, list[int]]:
        """The part of the weight that a phase uses, in the order of its windows, and the size of these."""
        axis = 3 if self.window == "joined" else 0
        weight = self.weight.unflatten(axis, (*self.kernel_size, -1))
        places = tuple(self._places(phase))
        index = (slice(None),) * axis
        weight = weight[(*index, *places)].flip(tuple(range(axis, axis + self.dimensions)))
        kernel = list(weight.shape[axis : axis + self.dimensions])
        return weight.flatten(axis, axis + self.dimensions), kernel

    def _places(self, phase: Sequence[_Phase]) -> Iterator[slice]:
        return (slice(axis.first, None, s) for axis, s in zip(phase, self.stride, strict=True))

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        padding = "same" if self.padding is None else self.padding
        return f"{super().extra_repr()}, padding={padding!r}, output_padding={self.output_padding}"


class ConvTransposeCapsules2d(_ConvTransposeCapsules):
    """Transposed convolutional capsules, for decoders such as that of SegCaps.

    Poses in and out are ``[B, C, d, H, W]`` and ``[B, J, D, H', W']``; H' and W' are those of
    :class:`torch.nn.ConvTranspose2d`. Position ``y`` of the input reaches output position ``stride * y + q - padding``
    through place ``q`` of the kernel. The capsules that reach an output position are routed to it, read as ``window``
    says: ``"separate"``, or joined to one input capsule per type as in LaLonde and Bagci 2018, "Capsules for object
    segmentation".

    Output positions with the same remainder modulo the stride are an ordinary convolution with a part of the kernel:
    the layer is stride² of those, and no position of 0 is put between the poses. Where joined windows have more
    components than votes, on average over these, the votes are stored, as torch's transposed convolution makes them.

    Args:
        in_capsules: Capsule types at each input position, C.
        in_size: Components of an input pose, d.
        out_capsules: Capsule types at each output position, J.
        out_size: Components of an output pose, D.
        kernel_size: Height and width of the kernel, not below the stride; one int for both, here and below.
        stride: Output positions for each input position.
        padding: Output positions cut off on both sides, or ``"same"`` for ``stride * H`` of them, as TensorFlow has it.
        output_padding: Output positions added at the end, below the stride.
        bias: Whether a learnable bias ``[J, D]``, the same at all positions, is added before each squash.
        window: ``"separate"``, weight ``[kh·kw·C, J, D, d]``, or ``"joined"``, weight ``[C, J, D, kh·kw·d]``, both with
            the last named running fastest; see :class:`~capsroute.nn.ConvCapsules2d`.
        share_types: Whether all input types have one weight, C = 1 in these shapes.
        init_std: Standard deviation of the initial weight; None for the one that :meth:`reset_parameters` derives.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: Of the routing, see :func:`capsroute.dynamic_routing`: those that are no tensors.

    Raises:
        TypeError: A size or an option of the wrong kind, or an unknown option.
        ValueError: A size below its least value, or options that do not fit each other.
    """

    dimensions: ClassVar[int] = 2


class ConvTransposeCapsules1d(_ConvTransposeCapsules):
    """:class:`ConvTransposeCapsules2d` over one axis: ``[B, C, d, W]`` to ``[B, J, D, W']``."""

    dimensions: ClassVar[int] = 1


class ConvTransposeCapsules3d(_ConvTransposeCapsules):
    """:class:`ConvTransposeCapsules2d` over three axes: ``[B, C, d, D, H, W]`` to ``[B, J, D, D', H', W']``."""

    dimensions: ClassVar[int] = 3
