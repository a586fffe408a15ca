"""Convolutional capsules beside plain PyTorch: windows of poses gathered, then votes stored and routed.

Run it with ``python -m capsroute.bench.convolution --json FILE --table FILE``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from capsroute import testing
from capsroute.nn import ConvCapsules2d
from capsroute.training.paths import AnyPath, as_path

from . import command, contenders, environment, memory, peers
from .contenders import OURS, Work, fastest, ratio, wrong
from .suite import ALLOWED_ERROR
from .texts import Columns, number, table
from .workload import Task

ROUNDS = 7

Layer = Callable[[Tensor, Tensor], Tensor]  # poses [B, C, d, H, W] and weight [kh·kw·C, J, D, d] to [B, J, D, H', W']


@dataclass(frozen=True)
class Shape:
    """Sizes of a layer; the defaults are those of SR-CapsNet's ResNet-20 with a second capsule layer.

    That are 288 inputs of 16 components for 32 outputs of 16, at 16 positions.
    """

    batch: int = 64
    types: int = 32
    size: int = 16
    outputs: int = 32
    output_size: int = 16
    side: int = 8
    kernel: int = 3
    stride: int = 2
    padding: int = 1
    iterations: int = 3

    @property
    def inputs(self) -> int:
        """Input capsules of a window, I."""
        return self.kernel**2 * self.types

    @property
    def positions(self) -> int:
        """Output positions, H'·W'."""
        return ((self.side + 2 * self.padding - self.kernel) // self.stride + 1) ** 2

    @property
    def votes(self) -> int:
        """Vote components."""
        return self.batch * self.positions * self.inputs * self.outputs * self.output_size


@dataclass(frozen=True)
class Row(contenders.Row):
    """One contender, forward and backward.

    Attributes:
        error: Largest difference of output or gradient of the poses to the reference in float64, relative to its
            largest element.
    """

    error: float | None = None


_COLUMNS: Columns[Row] = {
    "contender": lambda row: row.contender,
    **command.TIMES,
    "MiB": lambda row: number(row.extra_bytes, ".0f", 2**-20),
    "error": lambda row: number(row.error, ".0e"),
}


class Workload(Task):
    """A shape with its random arguments in float32."""

    checked_samples = 2  # the reference stores the votes

    def __init__(self, shape: Shape) -> None:
        generator = torch.Generator().manual_seed(0)
        side = round(shape.positions**0.5)
        poses = torch.randn(shape.batch, shape.types, shape.size, shape.side, shape.side, generator=generator)
        # Outputs of unit length before the squash in the first iteration, as in a layer that begins to learn.
        scale = shape.outputs / (shape.inputs * shape.output_size) ** 0.5
        weight = scale * torch.randn(shape.inputs, shape.outputs, shape.output_size, shape.size, generator=generator)
        grad = torch.randn(shape.batch, shape.outputs, shape.output_size, side, side, generator=generator)
        poses = torch.nn.functional.normalize(poses, dim=2)
        super().__init__(poses, weight, grad, "all", shape.votes, shape.iterations)
        self.shape = shape

    def layers(self, families: Sequence[str]) -> dict[str, Layer]:
        """The package's layer and those of the peers by name."""
        routes = peers.contenders(families, self.iterations, "all")
        return {OURS: self.ours, **{name: self._plain(route) for name, route in routes.items()}}

    def ours(self, poses: Tensor, weight: Tensor) -> Tensor:
        """The package's layer, with this weight."""
        s = self.shape
        layer = ConvCapsules2d(
            s.types,
            s.size,
            s.outputs,
            s.output_size,
            s.kernel,
            s.stride,
            s.padding,
            iterations=s.iterations,
            eps=peers.EPS,
            device="meta",
        )
        return torch.func.functional_call(layer, {"weight": weight}, (poses,))

    def _plain(self, route: peers.Route) -> Layer:
        """Unfolding as public code does it, and a peer that routes what comes out."""
        s = self.shape

        def layer(poses: Tensor, weight: Tensor) -> Tensor:
            columns = torch.nn.functional.unfold(poses.flatten(1, 2), s.kernel, stride=s.stride, padding=s.padding)
            x = columns.unflatten(1, (s.types, s.size, s.kernel**2)).permute(0, 4, 3, 1, 2)  # [B, L, k², C, d]
            routed = route(x.reshape(-1, s.inputs, s.size), weight)
            return routed.view(poses.shape[0], *self.grad.shape[3:], s.outputs, s.output_size).permute(0, 3, 4, 1, 2)

        return layer

    def expected(self, x: Tensor, weight: Tensor) -> Tensor:
        """See :class:`.workload.Task`."""
        with testing.backend("reference"):
            return self.ours(x, weight)


def run(
    shape: Shape | None = None,
    compare: Sequence[str] = peers.FAMILIES,
    rounds: int = ROUNDS,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Check and weigh every contender, then time them in turns.

    Args:
        shape: The sizes; the defaults of :class:`Shape` where None.
        compare: Families of peers.
        rounds: Rounds that are timed.
        tell: Called with a few words on what is being done.
    """
    torch._dynamo.reset()
    load = Workload(shape or Shape())
    works = {name: load.work(layer) for name, layer in load.layers(compare).items()}

    def check(row: Row, work: Work) -> Row:
        error = load.error(work())
        return replace(row, error=error, problem=wrong(error, ALLOWED_ERROR[torch.float32], "the reference"))

    free = memory.available_bytes()
    begun = [Row(contender=name, problem=load.lack_of_memory(name, free)) for name in works]
    return contenders.timed(contenders.checked(begun, works, check, tell), works, rounds, tell)


@dataclass(frozen=True)
class Gain:
    """What the package gains over a family: over its fastest, and over the one that takes least memory."""

    time: float | None
    memory: float | None

    @classmethod
    def over(cls, rows: Sequence[Row], family: str) -> Gain:
        """Of the rows of one run; None where one of the two was not measured."""
        ours = fastest(rows, OURS)
        sizes = [row.extra_bytes for row in rows if row.contender.startswith(family) and row.extra_bytes is not None]
        least = min(sizes) / ours.extra_bytes if sizes and ours is not None and ours.extra_bytes else None
        return cls(ratio(fastest(rows, family), ours), least)


def document(machine: dict[str, Any], shape: Shape, rows: Sequence[Row]) -> str:
    """The page of a run, and what is gained."""
    about = (
        f"Forward and backward of a convolutional capsule layer with {shape.inputs} inputs of {shape.size} components "
        f"for {shape.outputs} outputs of {shape.output_size} at {shape.positions} positions, {shape.batch} samples, "
        f"{shape.iterations} iterations, float32; its votes would take {shape.votes * 4 / 2**20:.0f} MiB. *eager* is "
        "`torch.nn.functional.unfold` and plain PyTorch, *compile* the same with its routing under `torch.compile`. "
        "Times are medians of rounds in which all take turns, *MiB* the peak memory beyond arguments, results and "
        "returned gradients."
    )
    origin = "Written by `python -m capsroute.bench.convolution`, with `convolution.json` beside it."
    notes = [f"{row.contender}: {row.problem}" for row in rows if row.problem is not None]
    gains = [(family, Gain.over(rows, family)) for family in peers.FAMILIES]
    said = [
        f"The best *{family}* takes {gain.time:.1f} times as long and {gain.memory:.1f} times the memory."
        for family, gain in gains
        if gain.time is not None
    ]
    where = environment.dated(machine)
    return command.page("Convolutional capsules", origin, where, about, table(_COLUMNS, rows), notes, said)


def read(path: AnyPath) -> tuple[dict[str, Any], Shape, list[Row]]:
    """What :func:`main` wrote as JSON."""
    path = as_path("path", path)
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["environment"], Shape(**content["shape"]), [Row(**row) for row in content["rows"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status is 0, or 1 if a result of capsroute is wrong."""
    parser = command.parser("capsroute.bench.convolution", __doc__, ROUNDS)
    parser.add_argument("--batch", type=command.positive, default=Shape.batch, help="samples")
    parser.add_argument("--compare", default=",".join(peers.FAMILIES), help="families of peers, or none")
    args = parser.parse_args(arguments)
    families = [] if args.compare == "none" else args.compare.split(",")
    try:
        peers.check_families(families)
    except ValueError as error:
        parser.error(str(error))
    machine, shape = environment.describe(), Shape(batch=args.batch)
    rows = run(shape, families, args.rounds, command.tell)
    content = {"environment": machine, "shape": asdict(shape), "rows": [asdict(row) for row in rows]}
    command.finish(args, content, document(machine, shape, rows))
    return 0 if contenders.is_sound(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
