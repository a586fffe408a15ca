"""What determines a training run."""

from __future__ import annotations

import math
import operator
import sys
from dataclasses import InitVar, asdict, dataclass, fields, replace
from typing import Any

from capsroute.routing import values
from capsroute.training.errors import TrainingError

__all__ = [
    "CLASS_WEIGHTS",
    "DATASETS",
    "MNIST_LIKE",
    "NEEDS",
    "NETWORKS",
    "ROUTINGS",
    "SCHEDULES",
    "TrainConfig",
    "preset",
]

NETWORKS = ("capsnet", "pooling-cnn")
ROUTINGS = ("fused", "reference")
SCHEDULES = ("exponential", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
# What a resumed run may do differently: go on for longer, and compute the same in another way.
_CHANGEABLE = {"epochs", "routing", "accumulate", "compile"}
# What the first checkpoints do not have; their runs were as the defaults say.
_ADDED = {"network", "accumulate", "compile", "ema", "schedule", "warmup"}
_ADDED |= {"image_size", "channels", "test_share", "test_seed", "class_weights"}
# What may be None, and of which type it is otherwise.
_MAY_BE_NONE: dict[str, type] = {
    "dataset": str,
    "image_size": int,
    "channels": int,
    "test_share": float,
    "test_seed": int,
}

# Data sets of 28x28 grey pixels, which the network of the paper and its training suit as they suit MNIST.
MNIST_LIKE = (
    *("mnist", "fashion-mnist", "kmnist", "qmnist"),
    *(f"emnist-{split}" for split in ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")),
)
_LIKE_MNIST = {"epochs": 20, "batch_size": 128, "shift": 2}

_PRESETS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "lr": 3e-3, "reconstruction_weight": 0.005},
    **dict.fromkeys(MNIST_LIKE, _LIKE_MNIST),
    "svhn": _LIKE_MNIST,
    "cifar10": _LIKE_MNIST,
    # The papers cut 32x32 of the 48x48 pixels out at random, which moves toys by up to 8 pixels.
    "smallnorb": {"epochs": 20, "batch_size": 64, "shift": 8},
    "affnist": {"epochs": 5, "batch_size": 128},
    "folder": {
        "epochs": 30,
        "batch_size": 32,
        "lr": 3e-3,
        "reconstruction_weight": 0.0005,
    },
}
DATASETS = tuple(_PRESETS)
NEEDS: dict[str, tuple[str, object]] = {
    "iterations": ("network", "capsnet"),
    "routing": ("network", "capsnet"),
    "reconstruction_weight": ("reconstruction", True),
    "lr_decay": ("schedule", "exponential"),
}
"""What has an effect only where another field has a value."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result of a run, bit for bit, on one machine.

    Args:
        dataset: Name of a data set that ``capsroute train`` reads, which also chooses the preset of the network; any
            other title, or None, for images that a program hands over.
        epochs: Passes over the training set, at least 1.
        batch_size: Images per step, at least 1.
        iterations: Routing iterations, at least 1.
        routing: ``"fused"`` or ``"reference"``.
        lr: Learning rate of Adam at the start.
        lr_decay: Factor on the learning rate per epoch, applied smoothly at each step: the exponential decay of the
            paper. 1 keeps the rate.
        shift: Largest shift of a training image in pixels, along each axis and to both sides; 2 in the paper for MNIST.
        reconstruction: Whether the decoder is built and trained.
        reconstruction_weight: Factor on the squared error of the reconstruction, summed over the pixels. The paper has
            0.0005 for MNIST.
        amp: Whether the network runs under autocast in bfloat16.
        seed: Of the initial parameters, the order of the images and their shifts; at least 0 and below 2**32, since
            torch's generator on the CPU takes no more than the lowest 32 bits of a seed.
        network: ``"capsnet"``, trained by the margin loss, or ``"pooling-cnn"``, a convolutional network with
            pooling and about as many parameters, trained by the cross-entropy.
        accumulate: Parts into which each process divides its images of a step, at least 1. They take their turns, so
            that memory is needed for one of them alone; the step is that of all images.
        compile: Whether ``torch.compile`` runs the network. Results are then the same up to rounding only.
        ema: Decay per step of an exponential moving average of the weights, at least 0 and below 1. The average is
            what is tested and saved for use; 0 for none.
        schedule: ``"exponential"``, the decay by ``lr_decay``, or ``"cosine"``, down to 0 at the end of the run.
        warmup: Steps in which the learning rate rises linearly to what the schedule says, at least 0.
        image_size: Height and width in pixels that images of a folder are brought to, at least 8; None lets their own
            sizes decide.
        channels: 1 for grey, 3 for colours; None lets the images decide.
        test_share: Share of the images of each class that is held out where a folder has no test images, above 0 and
            below 1; None for 0.2, and where there are test images.
        test_seed: Which ones are held out; None for 0, and likewise.
        class_weights: ``"none"``, or ``"balanced"``: every image counts in the loss by the inverse of how many images
            its class has, so that all classes weigh the same.
        allow_unused: Whether a value is let pass that has no effect, as ``NEEDS`` has it. Else it is refused where
            it is neither the default nor that of the data set's preset, which somebody must have meant.

    Raises:
        TrainingError: A value is out of its range, or has no effect.
    """

    dataset: str | None = "digits"
    epochs: int = 30
    batch_size: int = 128
    iterations: int = 3
    routing: str = "fused"
    lr: float = 1e-3
    lr_decay: float = 0.9
    shift: int = 0
    reconstruction: bool = True
    reconstruction_weight: float = 0.0005
    amp: bool = False
    seed: int = 0
    network: str = "capsnet"
    accumulate: int = 1
    compile: bool = False
    ema: float = 0.0
    schedule: str = "exponential"
    warmup: int = 0
    image_size: int | None = None
    channels: int | None = None
    test_share: float | None = None
    test_seed: int | None = None
    class_weights: str = "none"
    allow_unused: InitVar[bool] = False

    def __post_init__(self, allow_unused: bool) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name not in _MAY_BE_NONE:
                plain = _plain(field.name, value, _MAY_BE_NONE.get(field.name, type(field.default)))
                object.__setattr__(self, field.name, plain)  # frozen for others
        _one_of("routing", self.routing, ROUTINGS)
        _one_of("network", self.network, NETWORKS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("class_weights", self.class_weights, CLASS_WEIGHTS)
        for name in ("epochs", "batch_size", "iterations", "accumulate"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _check("lr", self.lr, self.lr > 0 and math.isfinite(self.lr), "a number above 0")
        _check("lr_decay", self.lr_decay, 0 < self.lr_decay <= 1, "above 0 and at most 1")
        for name in ("shift", "warmup"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        _check("ema", self.ema, 0 <= self.ema < 1, "at least 0 and below 1")
        weight = self.reconstruction_weight
        _check("reconstruction_weight", weight, weight >= 0 and math.isfinite(weight), "a number of at least 0")
        for name in ("seed", "test_seed"):
            seed = getattr(self, name)
            _check(name, seed, seed is None or 0 <= seed < 2**32, "at least 0 and below 2**32")
        size, share = self.image_size, self.test_share
        _check("image_size", size, size is None or 8 <= size <= 1024, "at least 8 and at most 1,024 pixels")
        _check("channels", self.channels, self.channels in (None, 1, 3), "1 for grey or 3 for colours")
        _check("test_share", share, share is None or 0 < share < 1, "above 0 and below 1")
        if not allow_unused:
            self._refuse_unused()

    def _refuse_unused(self) -> None:
        unused = self._unused()
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in unused and value not in (field.default, self._preset().get(field.name)):
                name, needed = NEEDS[field.name]
                raise TrainingError(f"{field.name}={value!r} would have no effect: it needs {name}={needed!r}")

    def _preset(self) -> dict[str, Any]:
        return _PRESETS.get(self.dataset or "", {})

    def _unused(self) -> set[str]:
        """Names of what has no effect."""
        return {name for name, (other, value) in NEEDS.items() if getattr(self, other) != value}

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, as checkpoints hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Inverse of :meth:`as_dict`.

        Raises:
            TrainingError: A name is unknown, one that all checkpoints have is missing, or a value is out of its range.
        """
        expected = {field.name for field in fields(cls)}
        differing = (set(values) ^ expected) - (_ADDED - set(values))
        if differing:
            raise TrainingError(f"the configuration has other entries than expected: {sorted(differing)}")
        return cls(**values, allow_unused=True)  # a run from before they were refused goes on

    def options(self, but: TrainConfig | None = None) -> list[str]:
        """What ``capsroute train`` is given to train so: every option that has an effect, as defaults may change.

        Args:
            but: A configuration; the options in which it is the same are left out.

        Returns:
            ``["--dataset", "digits", …]``.
        """
        arguments: list[str] = []
        for name, value in self.as_dict().items():
            option = name.replace("_", "-")
            if value is None or name in self._unused() or (but is not None and value == getattr(but, name)):
                continue
            if isinstance(value, bool):
                arguments.append(f"--{option}" if value else f"--no-{option}")
            else:
                arguments += [f"--{option}", str(value)]
        return arguments

    def changed_since(self, before: TrainConfig) -> frozenset[str]:
        """Names of what a resumed run does in another way than before; more epochs are the same for longer."""
        names = (field.name for field in fields(self) if field.name != "epochs")
        return frozenset(name for name in names if getattr(self, name) != getattr(before, name))

    def resumed_with(self, changes: dict[str, Any]) -> TrainConfig:
        """Configuration of a run that goes on.

        Args:
            changes: What was asked for explicitly; only epochs, routing, accumulate and compile may differ from what
                they were, and not the epochs of a cosine, which ends with them.

        Raises:
            TrainingError: Something else differs, or a value is out of its range.
        """
        for name, value in changes.items():
            before = getattr(self, name)
            fixed = name not in _CHANGEABLE or (name == "epochs" and self.schedule == "cosine")
            if fixed and value != before:
                raise TrainingError(f"the checkpoint is of another configuration: {name} was {before}, not {value}")
        return replace(self, **changes, allow_unused=True)


def preset(dataset: str) -> dict[str, Any]:
    """Values for :class:`TrainConfig` that suit a data set; where it is silent, the defaults do.

    Raises:
        TrainingError: The data set is unknown.
    """
    _one_of("dataset", dataset, DATASETS)
    return {"dataset": dataset, **_PRESETS[dataset]}


_EXPECTED = {str: "text", bool: "True or False", int: "a whole number", float: "a number"}


def _plain(name: str, value: Any, kind: type) -> Any:
    """A value of the kind of its default, as Python's own: it goes into checkpoints, JSON and commands."""
    expected = _EXPECTED[kind]
    if kind is str:
        if not isinstance(value, str):
            raise TrainingError(f"{name} must be {expected}, got {values.kind_of(value)}")
        return str(value)
    try:
        if kind is bool:
            return values.flag(name, value, expected)
        if type(value) is not kind and not (kind is float and type(value) is int):
            value = values.plain(name, value, expected, operator.index if kind is int else float)
    except (TypeError, ValueError) as error:
        raise TrainingError(str(error)) from None
    if kind is float and isinstance(value, int) and abs(value) > sys.float_info.max:
        raise TrainingError(f"{name} must be {expected}, got one that is too large")
    return value


def _check(name: str, value: object, fits: bool, expected: str) -> None:
    if not fits:
        raise TrainingError(f"{name} must be {expected}, got {value}")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise TrainingError(f"{name} must be one of {', '.join(allowed)}; got {value}")
