"""A training run from its configuration to its pictures."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from capsroute._version import __version__
from capsroute.training.checkpoint import Checkpoint, save_checkpoint
from capsroute.training.config import TrainConfig
from capsroute.training.datasets import Dataset, load_dataset
from capsroute.training.display import make_display
from capsroute.training.errors import TrainingError
from capsroute.training.extras import require
from capsroute.training.figures import draw_learning_curve, draw_reconstructions
from capsroute.training.interrupt import interrupts_call
from capsroute.training.metrics import MetricsWriter, read_metrics
from capsroute.training.networks import build_network
from capsroute.training.runfolder import RunFolder
from capsroute.training.trainer import Trainer

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


def choose_device(name: str) -> torch.device:
    """Device by name.

    Args:
        name: ``"auto"`` (CUDA where there is a GPU), ``"cpu"`` or ``"cuda"``.

    Raises:
        TrainingError: The name is unknown, or ``"cuda"`` is asked for without a GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"device must be auto, cpu or cuda; got {name}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise TrainingError("device cuda was asked for, but torch finds no CUDA device")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def train(
    config: TrainConfig,
    out: Path,
    *,
    device: torch.device,
    data_dir: Path | None = None,
    resume: Checkpoint | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Trains a network, with progress on standard output and everything else in a folder.

    Args:
        config: What to train.
        out: Folder for checkpoint, metrics and pictures.
        device: Where to train.
        data_dir: Folder with the files of the data set, where it has any.
        resume: Checkpoint to go on from.
        overwrite: Whether an older run in ``out`` is removed.

    Raises:
        TrainingError: Something that the user can mend; nothing was overwritten.
    """
    require("matplotlib", "drawing figures")  # before the training rather than after it
    require("torch.utils.tensorboard", "writing TensorBoard events")
    data = load_dataset(config.dataset, data_dir)
    side = data.train.image_shape[-1]
    if config.shift >= side:
        raise TrainingError(f"shift must be less than the {side} pixels of the images, got {config.shift}")
    if device.type == "cuda":  # what makes a resumed run the same bit for bit there
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    trainer = Trainer(build_network(config, device), config, data, device)
    if resume is not None:
        resume.restore(trainer)
        if trainer.epoch > config.epochs:
            raise TrainingError(f"epochs must be at least the {trainer.epoch} of the checkpoint, got {config.epochs}")
    folder = RunFolder(out)
    display = make_display(config.epochs, len(trainer.batches), trainer.step)
    folder.prepare(resume.path if resume else None, overwrite)

    def save() -> None:
        save_checkpoint(folder.checkpoint, trainer)

    def request_stop() -> None:
        trainer.stop_requested = True

    with MetricsWriter(folder.metrics, folder.tensorboard, trainer.step, trainer.epoch) as metrics:
        metrics.describe_run(_facts(trainer))
        print(f"training on {config.dataset} with {config.routing} routing on {device.type}, into {out}", flush=True)
        with interrupts_call(request_stop) as received, display:
            finished = trainer.fit([metrics, display], save)
    if not finished:
        return TrainResult(trainer.test_accuracy, received[0] if received else None)
    draw_learning_curve(folder.learning_curve, read_metrics(folder.metrics))
    if config.reconstruction:
        _draw_reconstructions(folder.reconstructions, trainer.model, data, device)
    return TrainResult(trainer.test_accuracy, None)


def _facts(trainer: Trainer) -> dict[str, object]:
    return {
        "step": trainer.step,
        "config": trainer.config.as_dict(),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "training_images": len(trainer.data.train),
        "test_images": len(trainer.data.test),
        "device": torch.cuda.get_device_name() if trainer.device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capsroute": __version__,
    }


def _draw_reconstructions(path: Path, model: nn.Module, data: Dataset, device: torch.device) -> None:
    model.eval()
    images, labels = data.test.batch(slice(0, _PICTURES))
    with torch.no_grad():
        output = model(images.to(device))
    draw_reconstructions(path, images, output.reconstruction, labels, output.scores.argmax(dim=1).cpu())
