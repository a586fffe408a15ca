"""Convolutional capsules beside plain PyTorch: windows of poses gathered, then votes stored and routed.

Run it with ``python -m capsroute.bench.convolution --json FILE --table FILE``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from capsroute import testing
from capsroute.nn import ConvCapsules2d

from . import command, environment, memory, peers, timing
from .compare import fastest, ratio
from .suite import ALLOWED_ERROR
from .texts import markdown_table, number, paragraph, significant
from .workload import OURS, first_line

ROUNDS = 7
_CHECKED_SAMPLES = 2

Layer = Callable[[Tensor, Tensor], Tensor]  # poses [B, C, d, H, W] and weight [kh·kw·C, J, D, d] to [B, J, D, H', W']
Work = Callable[[], list[Tensor]]


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
class Row:
    """One contender.

    Attributes:
        contender: ``"capsroute"`` or a peer, whose name begins with its family.
        seconds: Median of forward and backward; None if it was not timed, for which ``problem`` has the reason.
        lower_seconds: Lower quartile.
        upper_seconds: Upper quartile.
        rounds: Rounds that were timed.
        extra_bytes: Peak memory beyond arguments, output and returned gradients.
        error: Largest difference of output or gradient of the poses to the reference in float64, relative to its
            largest element.
        problem: Why there are no figures, or None.
    """

    contender: str
    seconds: float | None = None
    lower_seconds: float | None = None
    upper_seconds: float | None = None
    rounds: int = 0
    extra_bytes: int | None = None
    error: float | None = None
    problem: str | None = None


class Workload:
    """A shape with its random arguments in float32."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        generator = torch.Generator().manual_seed(0)
        side = round(shape.positions**0.5)
        self.poses = torch.randn(shape.batch, shape.types, shape.size, shape.side, shape.side, generator=generator)
        self.poses = torch.nn.functional.normalize(self.poses, dim=2).requires_grad_()
        # Outputs of unit length before the squash in the first iteration, as in a layer that begins to learn.
        scale = shape.outputs / (shape.inputs * shape.output_size) ** 0.5
        weight = scale * torch.randn(shape.inputs, shape.outputs, shape.output_size, shape.size, generator=generator)
        self.weight = weight.requires_grad_()
        self.grad = torch.randn(shape.batch, shape.outputs, shape.output_size, side, side, generator=generator)

    def layers(self, families: Sequence[str]) -> dict[str, Layer]:
        """The package's layer and those of the peers by name."""
        routes = peers.contenders(families, self.shape.iterations, "all")
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

    def work(self, layer: Layer) -> Work:
        """Forward and backward: the output, and the gradients of poses and weight."""

        def forward_and_backward() -> list[Tensor]:
            output = layer(self.poses, self.weight)
            return [output.detach(), *torch.autograd.grad(output, (self.poses, self.weight), self.grad)]

        return forward_and_backward

    def error(self, results: Sequence[Tensor]) -> float:
        """See :class:`Row`; of the first samples, because the reference stores the votes. NaN where there is one."""
        few = slice(0, _CHECKED_SAMPLES)
        poses = self.poses.detach()[few].double().requires_grad_()
        with testing.backend("reference"):
            expected = self.ours(poses, self.weight.detach().double())
        gradient = torch.autograd.grad(expected, poses, self.grad[few].double())[0]
        pairs = ((results[0], expected.detach()), (results[1], gradient))
        return float(torch.stack([(a[few].double() - e).abs().max() / e.abs().max() for a, e in pairs]).max())

    def lack_of_memory(self, contender: str, free: int) -> str | None:
        """Why a contender would exhaust ``free`` bytes, or None."""
        needed = peers.eager_bytes(self.shape.votes, self.poses.element_size(), self.shape.iterations)
        if contender == OURS or needed <= free:
            return None
        return f"needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"


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
    rows = {name: _prepared(load, name, work, tell) for name, work in works.items()}
    sound = {name: work for name, work in works.items() if rows[name].problem is None}
    tell(f"timing {len(sound)} contenders, {rounds} rounds")
    for name, times in timing.interleaved(sound, rounds=rounds, warmup=1).items():
        rows[name] = replace(
            rows[name],
            seconds=times.median,
            lower_seconds=times.lower,
            upper_seconds=times.upper,
            rounds=times.rounds,
        )
    return list(rows.values())


def _prepared(load: Workload, name: str, work: Work, tell: Callable[[str], None]) -> Row:
    """The row of a contender without its times."""
    row = Row(name, problem=load.lack_of_memory(name, memory.available_bytes()))
    if row.problem is not None:
        return row
    tell(f"compiling {name}" if name.startswith("compile") else f"checking {name}")
    try:
        row = replace(row, error=load.error(work()))
        row = replace(row, extra_bytes=memory.extra_bytes(work))
    except Exception as error:  # a peer that fails, most of all in its compiler, must not end the run
        if name == OURS:
            raise
        return replace(row, problem=f"failed: {type(error).__name__}: {first_line(error)}")
    if row.error is None or not row.error <= ALLOWED_ERROR[torch.float32]:  # NaN is wrong too
        return replace(row, problem=f"wrong result: differs from the reference by {row.error:.1e}")
    return row


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
    """The page of a run: what was measured, where, the table, and what is gained."""
    about = (
        f"Forward and backward of a convolutional capsule layer with {shape.inputs} inputs of {shape.size} components "
        f"for {shape.outputs} outputs of {shape.output_size} at {shape.positions} positions, {shape.batch} samples, "
        f"{shape.iterations} iterations, float32; its votes would take {shape.votes * 4 / 2**20:.0f} MiB. *eager* is "
        "`torch.nn.functional.unfold` and plain PyTorch, *compile* the same with its routing under `torch.compile`. "
        "Times are medians of rounds in which all take turns, *MiB* the peak memory beyond arguments, results and "
        "returned gradients."
    )
    origin = "Written by `python -m capsroute.bench.convolution`, with `convolution.json` beside it."
    lines = ["# Convolutional capsules", "", origin, ""]
    lines += [*paragraph(f"{machine['date'][:10]}, {environment.headline(machine)}."), "", *paragraph(about), ""]
    lines += markdown_table(("contender", "ms", "quartiles", "MiB", "error"), map(_cells, rows))
    notes = [f"- {row.contender}: {row.problem}" for row in rows if row.problem is not None]
    lines += ["", *notes] if notes else []
    for family in peers.FAMILIES:
        gain = Gain.over(rows, family)
        if gain.time is not None:
            lines += [
                "",
                f"The best *{family}* takes {gain.time:.1f} times as long and {gain.memory:.1f} times the memory.",
            ]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    quartiles = f"{significant(row.lower_seconds, 1e3)} to {significant(row.upper_seconds, 1e3)}"
    return [
        row.contender,
        significant(row.seconds, 1e3),
        quartiles if row.seconds is not None else "-",
        number(row.extra_bytes, ".0f", 2**-20),
        number(row.error, ".0e"),
    ]


def read(path: Path) -> tuple[dict[str, Any], Shape, list[Row]]:
    """What :func:`main` wrote as JSON."""
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
    rows = run(shape, families, args.rounds, lambda text: print(f"{text} …", flush=True))
    content = {"environment": machine, "shape": asdict(shape), "rows": [asdict(row) for row in rows]}
    command.finish(args, content, document(machine, shape, rows))
    return 1 if any(row.contender == OURS and row.problem for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
