"""Does a network know a face from the same parts in a wrong arrangement?

Two protocols, each with its own training. In the first, a network learns faces against scrambled ones. In the second it
learns faces against scenes without a face, and meets scrambled faces only when it is tested: one that takes parts for a
whole then says "face".

Both networks have the same learning rate, that of all experiments for CapsNet, and the same steps to rise to it. The
network with pooling has as many features as it has for the ten classes of digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsroute.bench.texts import markdown_table
from capsroute.experiments.confusion import confusion, scores
from capsroute.experiments.context import NETWORKS, WARMUP, Context
from capsroute.experiments.data.faces import FACE, OTHER, SIDE, faces_and_others, faces_and_scrambled
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.plotting import show_tiles
from capsroute.experiments.record import Record, spread
from capsroute.experiments.scale import Scale
from capsroute.models import PoolingCNN
from capsroute.training.config import TrainConfig
from capsroute.training.datasets import ImageSet
from capsroute.training.errors import TrainingError
from capsroute.training.loop.trainer import Trainer
from capsroute.training.reporting.figures import new_figure

__all__ = ["EXPERIMENT"]

# Each protocol: what is learned beside faces, by what is tested beside them.
_TRAINED = {"scrambled": faces_and_scrambled, "no face": faces_and_others}
_TESTED = {"scrambled": ("scrambled",), "no face": ("no face", "scrambled")}
_CLASSES = (OTHER, FACE)
# Far from the seeds of the training images, and below 2**32: of a seed, torch's generator takes the low 32 bits.
_TEST_SEED = 2**32 - 1
_SHOWN = 10
# Without a decoder: half of what these images show is clutter, and the claim is about recognition.
_OPTIONS = {"image_size": SIDE, "classes": len(_CLASSES), "decoder_sizes": None}
# Of the network with pooling. The 16 for each class that it has elsewhere would be 32 here, half of them dropped in
# training: too narrow a way to the classes for a comparison.
_FEATURES = 160


def _steps(context: Context) -> int:
    return len(_TRAINED) * len(NETWORKS) * context.steps(_count("images", context.scale.images))


def _count(name: str, images: int | None) -> int:
    """A number of images, half of them faces."""
    if images is None or images % 2:
        raise TrainingError(f"{name} must be even, as half of the images are faces, got {images}")
    return images


def _run(context: Context, seed: int) -> Outcome:
    count = _count("images", context.scale.images)
    test_count = _count("test_images", context.scale.test_images)
    tests = _tests(test_count)
    numbers: dict[str, Any] = {}
    for learned, make in _TRAINED.items():
        train = make(count, seed)
        numbers[learned] = {}
        for network in NETWORKS:
            config = context.config(seed, network, reconstruction=False, warmup=WARMUP)
            model = _pooling_cnn(context, config) if network == "pooling-cnn" else None
            trainer = context.fit(train, tests[learned], config, _OPTIONS, model=model)
            numbers[learned][network] = {name: _judge(trainer, tests[name]) for name in _TESTED[learned]}
    return Outcome(numbers, {"images": _examples(tests)}, count, test_count)


def _pooling_cnn(context: Context, config: TrainConfig) -> nn.Module:
    """The network with pooling, its parameters drawn from the seed, on channels-last memory as the other one."""
    torch.manual_seed(config.seed)
    model = PoolingCNN.matching(context.network_options(**_OPTIONS), features=_FEATURES)
    return model.to(device=context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _judge(trainer: Trainer, images: ImageSet) -> dict[str, Any]:
    matrix = confusion(trainer, images, len(_CLASSES))
    return {"confusion": matrix, "classes": scores(matrix)}


def _tests(count: int) -> dict[str, ImageSet]:
    return {name: make(count, _TEST_SEED) for name, make in _TRAINED.items()}


def _examples(tests: Mapping[str, ImageSet]) -> Tensor:
    """Faces, the same scrambled, and scenes without a face, ``[3, _SHOWN, 1, SIDE, SIDE]``."""
    scrambled, others = (test.batch(slice(0, 2 * _SHOWN))[0] for test in tests.values())
    return torch.stack([scrambled[FACE::2], scrambled[OTHER::2], others[OTHER::2]])


def _rows() -> list[tuple[str, str, str]]:
    """Protocols with what they are tested by, and networks."""
    return [(learned, tested, name) for learned in _TRAINED for tested in _TESTED[learned] for name in NETWORKS]


def _report(record: Record) -> list[str]:
    head = ["faces learned against", "tested against", "network", "accuracy, %"]
    head += [f"{label} {score}" for label in ("face", "other") for score in ("precision", "recall", "F1")]
    rows = []
    for learned, tested, network in _rows():
        cells = [learned, tested, NETWORKS[network], _accuracy(record, learned, network, tested)]
        for label in (FACE, OTHER):
            for score in ("precision", "recall", "f1"):
                cells.append(record.over_seeds(learned, network, tested, "classes", label, score).percent(1))
        rows.append(cells)
    return markdown_table(head, rows)


def _accuracy(record: Record, *path: str) -> str:
    matrices = [_matrix(seed, *path) for seed in record.seeds]
    return spread((matrix.diagonal().sum() / matrix.sum()).item() for matrix in matrices).percent(1)


def _matrix(seed: Mapping[str, Any], learned: str, network: str, tested: str) -> Tensor:
    return torch.tensor(seed[learned][network][tested]["confusion"], dtype=torch.float64)


def _draw(record: Record, pictures: Mapping[str, Tensor]) -> Any:
    figure = new_figure(9.0, 8.0)
    above, below = figure.subfigures(2, 1, height_ratios=(3, 5))
    show_tiles(above.subplots(), pictures["images"], ["face", "scrambled", "no face"], [])
    panels = [(learned, tested) for learned in _TRAINED for tested in _TESTED[learned]]
    axes = below.subplots(len(NETWORKS), len(panels), squeeze=False)
    for row, network in enumerate(NETWORKS):
        for column, (learned, tested) in enumerate(panels):
            _draw_matrix(axes[row, column], record, learned, network, tested)
            if row == 0:
                axes[row, column].set_title(f"learned: face or {learned}\ntested: face or {tested}", fontsize=9)
        axes[row, 0].set_ylabel(f"{NETWORKS[network]}\n\ntrue", fontsize=9)
    return figure


def _draw_matrix(axes: Any, record: Record, learned: str, network: str, tested: str) -> None:
    """The share of each true class that was given each name, mean and deviation over the seeds."""
    matrices = torch.stack([_matrix(seed, learned, network, tested) for seed in record.seeds])
    shares = matrices / matrices.sum(dim=2, keepdim=True)  # [seeds, 2, 2]
    order = [FACE, OTHER]
    axes.imshow(shares.mean(dim=0)[order][:, order].numpy(), cmap="Blues", vmin=0, vmax=1)
    for row, true in enumerate(order):
        for column, said in enumerate(order):
            share = spread(shares[:, true, said].tolist())
            shade = "white" if share.mean > 0.6 else "black"
            axes.text(column, row, f"{share.percent(1)} %", ha="center", va="center", color=shade, fontsize=9)
    axes.set_xticks([0, 1], ["“face”", "“other”"], fontsize=8)
    axes.set_yticks([0, 1], ["face", tested], fontsize=8, rotation=90, va="center")
    axes.tick_params(length=0)


EXPERIMENT = Experiment(
    "scramble",
    quick=Scale(preset="translated", images=16_000, test_images=2_000, epochs=4, batch_size=32, lr_decay=0.9),
    full=Scale(preset="mnist", images=60_000, test_images=10_000, epochs=10, batch_size=128, lr_decay=0.8),
    steps=_steps,
    run=_run,
    report=_report,
    draw=_draw,
    reads_files=False,
)
