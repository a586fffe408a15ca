"""The columns: the two functions, layers and networks, each small, as a module of tensors with a batch first."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

import capsroute
from capsroute.models import MIND, CapsNet, DeepCaps, ResNetCapsules, SegCaps
from capsroute.nn import CapsuleLayer, ConvCapsules2d, InterestCapsules

Inputs = tuple[Tensor, ...]

ITEMS = 6  # places in the histories


class Routing(nn.Module):
    """``capsroute.dynamic_routing`` where a user calls it: in a module of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 3, 6, 5) * 0.3)
        self.bias = nn.Parameter(torch.randn(3, 6) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 12, 5]`` to ``[B, 3, 6]``."""
        return capsroute.dynamic_routing(x, self.weight, self.bias)


class VotesRouting(nn.Module):
    """``capsroute.route_votes`` behind the votes of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.votes = nn.Linear(5, 3 * 6)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 12, 5]`` to ``[B, 3, 6]``."""
        return capsroute.route_votes(self.votes(x).unflatten(2, (3, 6)), softmax_over="inputs")


class Column(NamedTuple):
    """One thing that users take through the doors."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]  # of a batch size


def _images(channels: int, side: int) -> Callable[[int], Inputs]:
    return lambda batch: (torch.rand(batch, channels, side, side),)


def _histories(batch: int) -> Inputs:
    lengths = torch.arange(batch)[:, None] % ITEMS + 1
    return (torch.randint(1, 30, (batch, ITEMS)) * (torch.arange(ITEMS) < lengths),)


def _items(batch: int) -> Inputs:
    (history,) = _histories(batch)
    return torch.randn(batch, ITEMS, 8), history != 0


COLUMNS: dict[str, Column] = {
    "dynamic_routing": Column(Routing, lambda batch: (torch.randn(batch, 12, 5),)),
    "route_votes": Column(VotesRouting, lambda batch: (torch.randn(batch, 12, 5),)),
    "CapsuleLayer": Column(
        lambda: CapsuleLayer(12, 5, 3, 6, bias=True, learnable_logits=True), lambda batch: (torch.randn(batch, 12, 5),)
    ),
    "ConvCapsules2d": Column(
        lambda: ConvCapsules2d(2, 4, 3, 5, 3, padding="same"), lambda batch: (torch.randn(batch, 2, 4, 5, 5),)
    ),
    "InterestCapsules, type 0": Column(
        lambda: InterestCapsules(8, 3, bilinear_type=0, max_items=ITEMS, vote_bias=True, initial_logits="fixed"), _items
    ),
    "InterestCapsules, type 2": Column(lambda: InterestCapsules(8, 3, bilinear_type=2, max_items=ITEMS), _items),
    "CapsNet": Column(
        lambda: CapsNet(
            image_size=8, conv_channels=8, conv_kernel=3, primary_types=2, primary_kernel=3, decoder_sizes=(16,)
        ),
        _images(1, 8),
    ),
    "DeepCaps": Column(lambda: DeepCaps(image_size=8, types=2, sizes=(2, 3, 3, 3), class_size=4), _images(1, 8)),
    "SegCaps": Column(lambda: SegCaps(types=1, size=2), _images(1, 8)),
    "ResNetCapsules": Column(
        lambda: ResNetCapsules(image_size=8, blocks=1, planes=4, types=2, size=4, depth=2), _images(3, 8)
    ),
    "MIND": Column(lambda: MIND(30, 8, 3, initial_logits="fixed", max_items=ITEMS), _histories),
}


def tensors(output: object) -> list[Tensor]:
    """All tensors of an output, in their order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, (tuple, list)):
        return [tensor for part in output for tensor in tensors(part)]
    return []


class Answer(nn.Module):
    """A module that returns the tensors of another's output alone, as a user writes it where a door takes no more.

    The networks return named tuples, with None where there is no reconstruction and no target.
    """

    def __init__(self, module: nn.Module, first: bool = False) -> None:
        super().__init__()
        self.module = module
        self.first = first
        self.train(module.training)  # an exporter puts it on everything inside again, when it is done

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """All tensors, or the first one."""
        found = tensors(self.module(*inputs))
        return found[0] if self.first or len(found) == 1 else tuple(found)


class Case(NamedTuple):
    """A column at a door."""

    name: str
    module: nn.Module

    def inputs(self, batch: int) -> Inputs:
        """Inputs of a batch size, the same each time."""
        torch.manual_seed(batch)
        return COLUMNS[self.name].inputs(batch)

    @property
    def reals(self) -> bool:
        """Whether the first input is of a floating type, so that it has a derivative."""
        return self.inputs(1)[0].is_floating_point()


def case(name: str) -> Case:
    """A column with its module, ready to use, the same each time."""
    torch.manual_seed(len(name))
    column = COLUMNS[name]
    module = column.make()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        module(*column.inputs(8))  # the batch norms' statistics: without them nothing is left of the deeper capsules
    return Case(name, module.eval())
