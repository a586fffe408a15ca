"""The one table of benchmark shapes."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from capsroute.routing import checks

from .names import check


@dataclass(frozen=True)
class Shape:
    """Sizes of one routing problem.

    Attributes:
        name: What ``capsroute bench --shapes`` calls it.
        batch: B, samples.
        inputs: I, input capsules.
        input_size: d, components of an input capsule.
        outputs: J, output capsules.
        output_size: D, components of an output capsule.
        iterations: T, routing iterations.
        source: Where the sizes come from.
    """

    name: str
    batch: int
    inputs: int
    input_size: int
    outputs: int
    output_size: int
    iterations: int
    source: str

    def __post_init__(self) -> None:
        for name in ("batch", "inputs", "input_size", "outputs", "output_size", "iterations"):
            least = 0 if name == "input_size" else 1  # 0 where votes are given
            object.__setattr__(self, name, checks.whole(name, getattr(self, name), least=least))  # frozen for others

    @property
    def votes(self) -> int:
        """Number of vote components, B·I·J·D."""
        return self.batch * self.inputs * self.outputs * self.output_size

    def sizes(self) -> str:
        """``B, I, d, J, D, T`` for a table."""
        numbers = (self.batch, self.inputs, self.input_size, self.outputs, self.output_size, self.iterations)
        return ", ".join(map(str, numbers))

    def arguments(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Random arguments, the same in every run.

        Returns:
            x ``[B, I, d]``, weight ``[I, J, D, d]`` and a gradient of the output, ``[B, J, D]``.
        """
        x, weight, grad = (tensor.to(device=device, dtype=dtype, copy=True) for tensor in _random(self))
        return x, weight, grad


@functools.lru_cache(maxsize=2)  # a run asks for each shape many times in a row, and drawing takes longer than routing
def _random(shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*sizes, generator=generator) * scale

    x = normal(shape.batch, shape.inputs, shape.input_size)
    weight = normal(shape.inputs, shape.outputs, shape.output_size, shape.input_size, scale=shape.input_size**-0.5)
    return x, weight, normal(shape.batch, shape.outputs, shape.output_size)


SHAPES = (
    Shape("single-image", 1, 1152, 8, 10, 16, 3, "CapsNet on MNIST, one image"),
    Shape("mnist-16", 16, 1152, 8, 10, 16, 3, "CapsNet on MNIST (Sabour et al. 2017)"),
    Shape("mnist", 128, 1152, 8, 10, 16, 3, "CapsNet on MNIST (Sabour et al. 2017)"),
    Shape("cifar10", 100, 2304, 8, 11, 16, 3, "CapsNet on CIFAR-10"),
    Shape("emnist-letters", 100, 1152, 8, 26, 16, 3, "CapsNet on EMNIST letters"),
    Shape("emnist-byclass", 100, 1152, 8, 62, 16, 3, "CapsNet on EMNIST byclass"),
    Shape("svhn", 100, 576, 8, 10, 16, 9, "CapsNet on SVHN, many iterations"),
    Shape("cifar100", 128, 2048, 8, 100, 16, 3, "like CIFAR-100"),
    Shape("deepcaps", 32, 2560, 8, 10, 32, 3, "DeepCaps, images of 64 x 64"),
    Shape("point-clouds", 8, 1024, 16, 64, 64, 3, "3D point capsule networks, autoencoder"),
    Shape("resnet-capsules", 64, 2048, 16, 10, 16, 3, "ResNet with capsules on top"),
    Shape("recommender-20", 128, 20, 64, 4, 64, 3, "recommenders of the MIND and ComiRec kind, 20 items"),
    Shape("recommender-50", 256, 50, 64, 4, 64, 3, "recommenders of the MIND and ComiRec kind, 50 items"),
    Shape("odd", 37, 333, 5, 7, 12, 4, "sizes that fit no tile"),
)


def by_names(names: Iterable[str]) -> list[Shape]:
    """The shapes of these names, in the order given.

    Raises:
        ValueError: No name, or one that the table does not have; the message lists those it has.
    """
    table = {shape.name: shape for shape in SHAPES}
    names = list(names)
    check("shapes", names, table)
    return [table[name] for name in names]
