"""A training run from its configuration to its pictures."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from capsroute._version import __version__
from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset, ReadOptions, load_dataset
from capsroute.training.errors import TrainingError
from capsroute.training.extras import require
from capsroute.training.loop.interrupt import interrupts_call
from capsroute.training.loop.records import Observer
from capsroute.training.loop.trainer import Trainer
from capsroute.training.networks import build_network, network_options
from capsroute.training.parallel.launch import lost_ranks_named, resume_command
from capsroute.training.parallel.ranks import ALONE, Ranks
from capsroute.training.reporting.board import BOARD_PACKAGE, BOARD_PURPOSE
from capsroute.training.reporting.confusion import confusion, scores, scores_table
from capsroute.training.reporting.display import Display, make_display
from capsroute.training.reporting.figures import draw_confusion, draw_learning_curve, draw_reconstructions
from capsroute.training.reporting.metrics import MetricsWriter, read_metrics
from capsroute.training.storage.checkpoint import Checkpoint
from capsroute.training.storage.files import failures_named, replace_files
from capsroute.training.storage.runfolder import RunFolder
from capsroute.training.storage.saving import Saver
from capsroute.training.storage.stored import stored_data

__all__ = ["TrainResult", "choose_device", "train"]

_PICTURES = 12


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        test_accuracy: Share of test images classified correctly; NaN where no epoch was finished.
        interrupted_by: Number of the signal that ended the run early, or None.
    """

    test_accuracy: float
    interrupted_by: int | None


def choose_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """Device by name.

    Args:
        name: ``"auto"`` (CUDA where there is a GPU), ``"cpu"`` or ``"cuda"``.
        ranks: This process among those that train together; on CUDA each takes a GPU of its own, which becomes torch's
            current one.

    Raises:
        TrainingError: The name is unknown, or there are fewer GPUs than are needed.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"device must be auto, cpu or cuda; got {name}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise TrainingError("device cuda was asked for, but torch finds no CUDA device")
    if not available or name == "cpu":
        return torch.device("cpu")
    if ranks.size == 1:
        return torch.device("cuda")
    if ranks.local_size > torch.cuda.device_count():
        raise TrainingError(
            f"{ranks.local_size} ranks need a CUDA device each, but torch finds {torch.cuda.device_count()}"
        )
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def train(
    config: TrainConfig,
    out: Path,
    *,
    device: torch.device,
    data_dir: Path | None = None,
    resume: Checkpoint | None = None,
    overwrite: bool = False,
    ranks: Ranks = ALONE,
    resume_options: Mapping[str, object] | None = None,
) -> TrainResult:
    """Trains a network, with progress on standard output and everything else in a folder.

    Args:
        config: What to train.
        out: Folder for checkpoint, metrics and pictures.
        device: Where to train.
        data_dir: Folder with the files of the data set, where it has any.
        resume: Checkpoint to go on from.
        overwrite: Whether an older run in ``out`` is removed.
        ranks: The processes that train together, in :func:`~capsroute.training.parallel.launch.joined`; they all call
            this. Rank 0 decides on the folder, writes it and prints.
        resume_options: As :func:`~capsroute.training.parallel.launch.resume_command` takes them, for the message where
            a rank is lost.

    Raises:
        TrainingError: Something that the user can mend; nothing was overwritten.
    """
    folder = RunFolder(ranks.from_main(out))
    with lost_ranks_named(ranks, lambda: _after_a_loss(folder, ranks, resume_options)):
        return _train(config, folder, device, data_dir, resume, overwrite, ranks)


def _after_a_loss(folder: RunFolder, ranks: Ranks, resume_options: Mapping[str, object] | None) -> str:
    if not folder.checkpoint.exists():
        return "the run ended before its first checkpoint, start it again"
    command = resume_command(ranks, folder.checkpoint, resume_options)
    return f"the run ended; go on from its last checkpoint with: {command}"


def _train(
    config: TrainConfig,
    folder: RunFolder,
    device: torch.device,
    data_dir: Path | None,
    resume: Checkpoint | None,
    overwrite: bool,
    ranks: Ranks,
) -> TrainResult:
    require("matplotlib", "drawing figures")  # before the training rather than after it
    require(BOARD_PACKAGE, BOARD_PURPOSE)
    require("safetensors.torch", "writing model.safetensors")
    # One rank fetches what is absent, and the others find it.
    data = ranks.on_main(lambda: _read(config, data_dir)) or _read(config, data_dir)
    side = data.train.image_shape[-1]
    if config.shift >= side:
        raise TrainingError(f"shift must be less than the {side} pixels of the images, got {config.shift}")
    if device.type == "cuda":  # what makes a resumed run the same bit for bit there
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    trainer = Trainer(build_network(config, device, **network_options(config, data)), config, data, device, ranks=ranks)
    if resume is not None:
        resume.restore(trainer)
        if trainer.epoch > config.epochs:
            raise TrainingError(f"epochs must be at least the {trainer.epoch} of the checkpoint, got {config.epochs}")

    def prepare() -> Display:
        made = make_display(config.epochs, len(trainer.batches), trainer.step)
        folder.prepare(resume.path if resume else None, overwrite)
        if data.record:
            _write_json(folder.images, data.record)
        return made

    display = ranks.on_main(prepare)
    saver = Saver(folder, trainer, data_dir=data_dir)
    if resume is not None:
        changed = resume.changed | config.changed_since(resume.config)
        saver = Saver(folder, trainer, resume.last_epoch, changed, data_dir)

    def request_stop() -> None:
        trainer.stop_requested = True

    observers: list[Observer] = []
    with ExitStack() as stack:
        if display is not None:  # on rank 0
            metrics = stack.enter_context(
                MetricsWriter(folder.metrics, folder.tensorboard, trainer.step, trainer.epoch)
            )
            metrics.describe_run(_facts(trainer))
            print("\n".join((_headline(trainer, folder), *data.notes)), flush=True)
            observers = [metrics, stack.enter_context(display), saver]
        received = stack.enter_context(interrupts_call(request_stop))
        finished = trainer.fit(observers, saver.save)
    if not finished:
        return TrainResult(trainer.test_accuracy, ranks.largest(received[0] if received else 0) or None)
    if ranks.main:
        with failures_named(folder.learning_curve):
            draw_learning_curve(folder.learning_curve, read_metrics(folder.metrics))
        _report_classes(trainer, folder)
        if config.reconstruction:
            with trainer.averaged(), failures_named(folder.reconstructions):
                _draw_reconstructions(folder.reconstructions, trainer.model, data, device)
    return TrainResult(trainer.test_accuracy, None)


def _read(config: TrainConfig, data_dir: Path | None) -> Dataset:
    if config.dataset is None:
        raise TrainingError("dataset must name a data set; to images of a program's own, Trainer is given")
    options = ReadOptions(**{field.name: getattr(config, field.name) for field in fields(ReadOptions)})
    return load_dataset(config.dataset, data_dir, options)


def _headline(trainer: Trainer, folder: RunFolder) -> str:
    config, ranks = trainer.config, trainer.ranks
    device = trainer.device.type if ranks.size == 1 else f"{ranks.size} ranks of {trainer.device.type}"
    return f"training on {trainer.data.facts.heading} with {config.routing} routing on {device}, into {folder.path}"


def _facts(trainer: Trainer) -> dict[str, object]:
    return {
        "step": trainer.step,
        "config": trainer.config.as_dict(),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "data": stored_data(trainer.data),
        "training_images": len(trainer.data.train),
        "test_images": len(trainer.data.test),
        "device": torch.cuda.get_device_name() if trainer.device.type == "cuda" else platform.machine(),
        "ranks": trainer.ranks.size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capsroute": __version__,
    }


def _draw_reconstructions(path: Path, model: nn.Module, data: Dataset, device: torch.device) -> None:
    model.eval()
    images, labels = data.test.batch(slice(0, _PICTURES))
    with torch.no_grad():
        output = model(images.to(device))
    predicted = output.scores.argmax(dim=1).cpu()
    draw_reconstructions(path, images, output.reconstruction, labels, predicted, data.classes)


def _report_classes(trainer: Trainer, folder: RunFolder) -> None:
    """Prints, writes and draws what the network makes of each class."""
    names = trainer.data.classes
    trainer.model.eval()
    amp = torch.autocast(trainer.device.type, dtype=torch.bfloat16, enabled=trainer.config.amp)
    with trainer.averaged(), amp:
        matrix = confusion(trainer.model, trainer.data.test, len(names), trainer.device)
    classes = [{"class": name, **score} for name, score in zip(names, scores(matrix), strict=True)]
    _write_json(folder.confusion, {"step": trainer.step, "classes": classes, "confusion": matrix})
    with failures_named(folder.confusion_picture):
        draw_confusion(folder.confusion_picture, matrix, names)
    print(scores_table(matrix, names), flush=True)


def _write_json(path: Path, values: Mapping[str, object]) -> None:
    text = json.dumps(values, indent=1) + "\n"
    with failures_named(path):
        replace_files({path: lambda file: file.write(text.encode())})
