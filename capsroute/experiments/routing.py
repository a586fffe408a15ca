"""Does routing send parts to the whole that they belong to, and what do its iterations cost and bring?

Networks that differ only in their routing: one to five iterations, gradients through the last iteration alone, a
softmax over the input capsules. Of those with a softmax over the output capsules the entropy of the coupling
coefficients is followed over the iterations: 1 where a part sends to all wholes alike, 0 where it sends to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute.bench.texts import markdown_table, paragraph
from capsroute.bench.timing import interleaved
from capsroute.experiments.context import Context
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.record import Record
from capsroute.experiments.routing_figure import draw
from capsroute.experiments.scale import Scale
from capsroute.models import CapsNet
from capsroute.training.datasets import Images
from capsroute.training.loop.objective import objective_for
from capsroute.training.loop.trainer import Trainer

__all__ = ["EXPERIMENT"]

_ITERATIONS = range(1, 6)
_PICTURED = "T = 3"
_VARIANTS: dict[str, dict[str, Any]] = {
    **{f"T = {iterations}": {"iterations": iterations} for iterations in _ITERATIONS},
    "T = 3, gradient of the last iteration": {"iterations": 3, "gradient": "last"},
    "T = 3, softmax over inputs": {"iterations": 3, "softmax_over": "inputs"},
}
_LOOKED_AT = 500  # test images whose coupling coefficients are averaged
_SHOWN = 3
_ROUNDS = 5


def _steps(context: Context) -> int:
    train, _ = context.mnist()
    return len(_VARIANTS) * context.steps(len(train))


def _run(context: Context, seed: int) -> Outcome:
    train, test = context.mnist()
    trainers: dict[str, Trainer] = {}
    for name, options in _VARIANTS.items():
        changes = {key: value for key, value in options.items() if key != "iterations"}
        config = context.config(seed, iterations=options["iterations"])
        trainers[name] = context.fit(train, test, config, changes)
    batch = train.batch(slice(context.scale.batch_size))
    numbers = {
        "accuracy": {name: trainer.test_accuracy for name, trainer in trainers.items()},
        "routing_seconds": _routing_seconds(trainers, batch[0]),
        "step_seconds": _step_seconds(trainers, batch),
        "coupling": {f"T = {t}": _couplings(_network(trainers[f"T = {t}"]), test) for t in _ITERATIONS},
    }
    return Outcome(numbers, _parts_and_wholes(_network(trainers[_PICTURED]), test), len(train), len(test))


def _network(trainer: Trainer) -> CapsNet:
    assert isinstance(trainer.model, CapsNet)
    return trainer.model


@torch.no_grad()
def _primary(model: CapsNet, images: Tensor) -> Tensor:
    """Input capsules, ``[B, I, d]``."""
    return model.primary(torch.relu(model.conv(images.to(model.conv.weight.device))))


def _routing_seconds(trainers: Mapping[str, Trainer], images: Tensor) -> dict[str, float]:
    """Forward and backward of the routing alone, for one batch; medians of rounds in which all take turns."""

    def work(model: CapsNet) -> Any:
        capsules = _primary(model, images).requires_grad_()

        def call() -> None:
            output = model.classes(capsules)
            torch.autograd.grad(output, (capsules, model.classes.weight), torch.ones_like(output))
            _finish(output.device)

        return call

    contenders = {name: work(_network(trainer)) for name, trainer in trainers.items()}
    return {name: timing.median for name, timing in interleaved(contenders, rounds=_ROUNDS).items()}


def _step_seconds(trainers: Mapping[str, Trainer], batch: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Forward, loss and backward of the whole network, likewise."""

    def work(trainer: Trainer) -> Any:
        images, labels = (part.to(trainer.device) for part in batch)
        objective = objective_for(trainer.config, trainer.data)

        def call() -> None:
            loss, _ = objective(trainer.model, images, labels)
            torch.autograd.grad(loss, list(trainer.model.parameters()))
            _finish(trainer.device)

        return call

    contenders = {name: work(trainer) for name, trainer in trainers.items()}
    return {name: timing.median for name, timing in interleaved(contenders, rounds=_ROUNDS, warmup=1).items()}


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _after(model: CapsNet, capsules: Tensor, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coupling coefficients and agreement ``[B, I, J]``, and lengths ``[B, J]``, after so many iterations."""
    result = capsroute.dynamic_routing(
        capsules, model.classes.weight.detach(), iterations=iterations, details=["coupling", "agreement"]
    )
    assert result.coupling is not None
    assert result.agreement is not None
    return result.coupling, result.agreement, result.output.norm(dim=-1)


def _couplings(model: CapsNet, images: Images) -> dict[str, list[float]]:
    """What the coupling coefficients are in each iteration, on average over test images.

    Every mean is over the input capsules, each weighted by its length: what is absent has little to send.

    Returns:
        ``entropy``, relative to that of the uniform coefficients; ``to_winner``, the coefficient of the class that is
        predicted after the last iteration.
    """
    capsules = _primary(model, images.batch(slice(_LOOKED_AT))[0])
    iterations = model.classes.options.iterations
    winner = _after(model, capsules, iterations)[2].argmax(1)
    weight = capsules.norm(dim=-1) / capsules.norm(dim=-1).sum()
    found: dict[str, list[float]] = {"entropy": [], "to_winner": []}
    for count in range(1, iterations + 1):
        coupling, _, _ = _after(model, capsules, count)
        entropy = torch.special.entr(coupling).sum(2) / math.log(coupling.shape[2])
        sent = coupling.take_along_dim(winner[:, None, None], 2)[..., 0]
        found["entropy"].append(float((weight * entropy).sum()))
        found["to_winner"].append(float((weight * sent).sum()))
    return found


def _parts_and_wholes(model: CapsNet, images: Images) -> dict[str, Tensor]:
    """What the figure shows of the first test images.

    Returns:
        ``images`` ``[N, channels, H, W]``; ``activity`` ``[N, P]``, summed lengths of the input capsules at each of P
        positions; for each iteration ``coupling`` ``[N, T, P, J]``, the mean coupling coefficients there, weighted by
        these lengths, and ``lengths`` ``[N, T, J]`` of the class capsules; ``given`` ``[N, P]``, what each position
        adds to the length of the sum that is squashed into the winning capsule, in the last iteration; ``centres``
        ``[P, 2]``, row and column in pixels of the middle of what each position sees.
    """
    pixels, _ = images.batch(slice(_SHOWN))
    capsules = _primary(model, pixels)

    def by_position(values: Tensor) -> Tensor:  # [N, I, ...] to [N, P, types, ...]
        return values.unflatten(1, (-1, model.primary.types))

    present = by_position(capsules.norm(dim=-1))
    couplings, lengths = [], []
    for iterations in range(1, model.classes.options.iterations + 1):
        coupling, agreement, outputs = _after(model, capsules, iterations)
        weighted = present[..., None] * by_position(coupling)
        couplings.append(weighted.sum(2) / present.sum(2)[..., None].clamp_min(1e-6))
        lengths.append(outputs)
    longest, winner = outputs.max(1)
    given = (coupling * agreement).take_along_dim(winner[:, None, None], 2)[..., 0] / longest[:, None]
    found = {
        "activity": present.sum(2),
        "coupling": torch.stack(couplings, 1),
        "lengths": torch.stack(lengths, 1),
        "given": by_position(given).sum(2),
        "centres": _centres(model, *pixels.shape[-2:]),
    }
    return {"images": pixels, **{name: value.cpu() for name, value in found.items()}}


def _centres(model: CapsNet, height: int, width: int) -> Tensor:
    """Middle of what each primary capsule sees, ``[P, 2]``, in pixels."""
    axes = []
    for side, axis in ((height, 0), (width, 1)):
        size, middle, step = side, 0.0, 1
        for conv in (model.conv, model.primary.conv):
            kernel, stride, padding = conv.kernel_size[axis], conv.stride[axis], int(conv.padding[axis])
            middle += step * ((kernel - 1) / 2 - padding)
            step *= stride
            size = (size + 2 * padding - kernel) // stride + 1
        axes.append(middle + step * torch.arange(size))
    return torch.cartesian_prod(*axes)


def _report(record: Record) -> list[str]:
    rows = []
    for name in _VARIANTS:
        routing, step = (record.over_seeds(key, name).text(1, 1e3) for key in ("routing_seconds", "step_seconds"))
        rows.append([name, record.over_seeds("accuracy", name).percent(2), routing, step])
    table = markdown_table(["routing", "test accuracy / %", "routing / ms", "step / ms"], rows)
    last = _VARIANTS[_PICTURED]["iterations"] - 1
    entropy, sent = (record.over_seeds("coupling", _PICTURED, key, last).text(4) for key in ("entropy", "to_winner"))
    return [
        *table,
        "",
        *paragraph(
            f"Times are forward and backward of {record.scale['batch_size']} images, in the routing alone and in the "
            f"whole network. After the last iteration of {_PICTURED}, the relative entropy of the coupling "
            f"coefficients is {entropy}, and the coefficient of the predicted class {sent} on average."
        ),
    ]


EXPERIMENT = Experiment(
    "routing",
    quick=Scale(preset="quick", images=10_000, test_images=2_000, epochs=1, batch_size=32, lr_decay=0.3),
    full=Scale(preset="mnist", epochs=10, batch_size=128, lr_decay=0.75),
    steps=_steps,
    run=_run,
    report=_report,
    draw=draw,
)
