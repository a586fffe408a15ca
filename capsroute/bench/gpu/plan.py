"""What a run on a GPU looks at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from capsroute.bench import peers, shapes
from capsroute.bench.names import check
from capsroute.bench.shapes import Shape

FIRST = "mnist"  # the shape that the others are compared with; a run that is cut short has it
_SWEPT = f"{FIRST}, batch "
SWEEP = (1, 4, 16, 64, 256, 512, 1024)  # batches of the first shape, beside its own
PASSES: tuple[str | None, ...] = (None, "all", "last")  # gradient of the backward; None is the forward alone


@dataclass(frozen=True)
class Precision:
    """A dtype of the arguments, and whether float32 products may be made in TF32, by torch's own switch."""

    name: str
    dtype: torch.dtype
    tf32: bool = False

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Context with torch's switch set for everybody alike."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("float32", torch.float32),
        Precision("tf32", torch.float32, tf32=True),
        Precision("bfloat16", torch.bfloat16),
        Precision("float16", torch.float16),
    )
}
TIMED = ("float32", "tf32", "bfloat16")  # float16 takes the kernels of bfloat16


@dataclass(frozen=True)
class Cell:
    """What contenders are compared in.

    Attributes:
        shape: The sizes.
        precision: Of the arguments.
        gradient: ``"all"`` or ``"last"`` for forward and backward, None for the forward alone.
    """

    shape: Shape
    precision: Precision
    gradient: str | None

    def __str__(self) -> str:
        return f"{self.shape.name}, {self.precision.name}, {passes_of(self.gradient)}"


def passes_of(gradient: str | None) -> str:
    """The pass in words."""
    return "forward" if gradient is None else f"forward + backward ({gradient})"


@dataclass(frozen=True)
class Plan:
    """The run as asked for on the command line.

    Attributes:
        shapes: In the order of the command line.
        precisions: Those that are timed; the check of correctness takes all.
        compare: Families of :mod:`capsroute.bench.peers`.
        seconds: Time after which nothing new is begun.
        compile_mode: Of ``torch.compile``, None for its default.
    """

    shapes: Sequence[Shape] = shapes.SHAPES
    precisions: Sequence[Precision] = tuple(PRECISIONS[name] for name in TIMED)
    compare: Sequence[str] = peers.FAMILIES
    seconds: float = 480.0
    compile_mode: str | None = None

    def ordered(self) -> list[Shape]:
        """The shapes, :data:`FIRST` before the others."""
        return sorted(self.shapes, key=lambda shape: shape.name != FIRST)

    def sweep(self) -> list[Cell]:
        """The first shape in further batches, forward and with its backward, in the first precision."""
        first = self.ordered()[0]
        if first.name != FIRST:
            return []
        batches = [replace(first, name=f"{_SWEPT}{batch}", batch=batch) for batch in SWEEP]
        known = [shape.sizes() for shape in self.shapes]
        new = [shape for shape in batches if shape.sizes() not in known]
        return [Cell(shape, self.precisions[0], gradient) for shape in new for gradient in PASSES[:2]]


def is_swept(shape: str) -> bool:
    """Whether a name is that of one of :meth:`Plan.sweep`."""
    return shape.startswith(_SWEPT)


def cells(shape: Shape, precisions: Sequence[Precision]) -> list[Cell]:
    """All cells of a shape, the most important first."""
    return [Cell(shape, precision, gradient) for gradient in PASSES for precision in precisions]


def by_names(names: Sequence[str]) -> list[Precision]:
    """The precisions of these names.

    Raises:
        ValueError: No name, or an unknown one; the message lists the known.
    """
    check("precisions", names, PRECISIONS)
    return [PRECISIONS[name] for name in names]
