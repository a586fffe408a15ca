"""The model card: what a person must know who meets the files of a run."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from capsroute.training.config import TrainConfig
from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.loop.records import EpochRecord

__all__ = ["CardFacts", "model_card"]

_WIDTH = 120
_NETWORKS = {
    "capsnet": "CapsNet (Sabour, Frosst and Hinton, Dynamic Routing Between Capsules, 2017)",
    "pooling-cnn": "PoolingCNN, a convolutional network with max pooling",
}
_SCORES = {"capsnet": "the length of each class capsule", "pooling-cnn": "a score for each class, before a softmax"}


@dataclass(frozen=True)
class CardFacts:
    """All that a model card is made from.

    Args:
        config: Configuration of the run.
        data: What is known of the images.
        classes: Name of each class, in the order of the scores.
        image_shape: Channels, height and width of the images in pixels.
        checksum: Of the images and labels that were read.
        parameters: Numbers that the network learned.
        step: Steps done.
        epoch: Epochs done.
        last_epoch: What was measured in the last epoch that ended, if one did.
        training_images: Images in the training set.
        test_images: Images in the test set.
        versions: Version of each program, by its name.
        written: When the files were saved, in UTC.
        device: Type of the device, ``"cpu"`` or ``"cuda"``.
        threads: CPU threads of each process.
        processes: That trained together.
        changed: Names of what the configuration had otherwise before the run was resumed.
        data_dir: Folder that was named for the images, if one was.
    """

    config: TrainConfig
    data: DatasetFacts
    classes: Sequence[str]
    image_shape: tuple[int, int, int]
    checksum: str
    parameters: int
    step: int
    epoch: int
    last_epoch: EpochRecord | None
    training_images: int
    test_images: int
    versions: Mapping[str, str]
    written: datetime
    device: str
    threads: int
    processes: int = 1
    changed: Collection[str] = ()
    data_dir: Path | None = None


def model_card(facts: CardFacts) -> str:
    """A model card in Markdown, a function of the facts alone."""
    config, data = facts.config, facts.data
    channels, height, width = facts.image_shape
    colours = {1: "grey", 3: "RGB"}.get(channels, f"{channels}-channel")
    decoder = ", and a decoder that reconstructs the image" if config.reconstruction else ""
    name = "CapsNet" if config.network == "capsnet" else "PoolingCNN"
    averaged = ", averaged over the steps," if config.ema else ""
    sections = [
        f"# {name} for {data.heading}",
        _filled(
            f"`model.safetensors` holds the weights{averaged} after step {facts.step:,} (epoch {facts.epoch} of "
            f"{config.epochs}), saved {facts.written:%Y-%m-%d %H:%M} UTC. `checkpoint.pt` holds the same step and what "
            "it takes to go on training. If a file beside this card is of another step, a crash came between them."
        ),
        "## The network",
        _filled(
            f"{_NETWORKS[config.network]}{decoder}: {facts.parameters:,} parameters. It takes {colours} images of "
            f"{width}x{height} pixels in [0, 1], and gives {_SCORES[config.network]}: {', '.join(facts.classes)}."
        ),
        "## What it reaches",
        _filled(_results(facts)),
        "## How to use it",
        _usage(config, (channels, height, width)),
        "## How it was trained",
        _training(facts),
        "## The data",
        _filled(
            f"{data.title}. {data.description}. Origin: {data.origin}. Licence: {data.licence}. What was read: "
            f"{facts.training_images:,} images to train on and {facts.test_images:,} to test on, of {width}x{height} "
            f"pixels in {colours.replace('-channel', ' channels')}, with the checksum {facts.checksum}."
        ),
        "## Limits",
        _limits(config, len(facts.classes)),
    ]
    return "\n\n".join(sections) + "\n"


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _results(facts: CardFacts) -> str:
    record = facts.last_epoch
    if record is None:
        return "Not known: no epoch has ended yet, and so nothing was tested."
    sentences = [
        f"Test accuracy {100 * record.test_accuracy:.2f} % on {facts.test_images:,} images that it was not trained on; "
        f"test loss {record.test_loss:.4f}. Training loss {record.loss:.4f}, training accuracy "
        f"{100 * record.accuracy:.2f} %, means over the last epoch."
    ]
    if record.step != facts.step:
        sentences.append(
            f"These are of the end of epoch {record.epoch}, step {record.step:,}: the weights here have learned for "
            "some steps more."
        )
    sentences.append(
        "The test set was looked at after each epoch and chose nothing in this run: neither the step, which is the "
        "last one, nor a setting. It is one run with one seed; another seed gives a somewhat other figure."
    )
    return " ".join(sentences)


def _usage(config: TrainConfig, shape: tuple[int, int, int]) -> str:
    picture = " --reconstruction reconstruction.png" if config.reconstruction else ""
    sizes = ", ".join(map(str, shape))
    return f"""With capsroute and its extra `train` installed, in this folder:

```
capsroute predict IMAGE.png --checkpoint model.safetensors{picture}
```

or in Python:

```python
import torch
from capsroute.training import load_network

network = load_network("model.safetensors")
images = torch.zeros(1, {sizes})  # yours: [B, channels, H, W], float32 in [0, 1]
with torch.no_grad():
    scores = network(images).scores  # [B, classes]
print(scores.argmax(dim=1))
```"""


def _training(facts: CardFacts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    program = f"torchrun --nproc-per-node {facts.processes} -m capsroute" if facts.processes > 1 else "capsroute"
    place = [] if facts.data_dir is None else ["--data-dir", str(facts.data_dir)]
    command = _command([*program.split(), "train", *place, *facts.config.options()])
    losses = "the margin loss" if facts.config.network == "capsnet" else "the cross-entropy"
    if facts.config.reconstruction:
        losses += f" and {facts.config.reconstruction_weight} times the squared error of the reconstruction"
    device = {"cpu": "the CPU", "cuda": "a GPU"}.get(facts.device, facts.device)
    same = "alike up to rounding" if facts.config.compile or facts.changed else "the same bit for bit"
    options = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(facts.changed))
    changed = f" The run was resumed with another {options}; the command has what it was last." if options else ""
    prose = (
        f"{facts.training_images:,} images, {losses}, Adam; {versions}. Saved on {device}, by {facts.processes} "
        f"process(es) of {facts.threads} thread(s) each. Where all of a run is done like that on one machine, the "
        f"command gives weights that are {same}, whether it was interrupted and resumed or not."
        f"{changed}"
    )
    return f"```\n{command}\n```\n\n{_filled(prose)}"


def _command(words: Sequence[str]) -> str:
    """For a shell, on lines of their own where it is long; a word with spaces in it stays in one piece."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) + 1 > _WIDTH - 2:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def _limits(config: TrainConfig, classes: int) -> str:
    points = [
        f"It always names one of its {classes} classes, also for an image that shows none of them.",
        "Lengths and scores say which class is likelier; they are no calibrated probabilities.",
        "It knows images like those it was trained on. Those of other writers, cameras and sizes were not tested, nor "
        "was dark on light where it learned from light on dark, unless the image is inverted.",
        "It was made for research and demonstration; nothing of consequence should hang on it.",
    ]
    if config.shift:
        points[2] += f" Training images were shifted by up to {config.shift} pixel(s)."
    return "\n".join(textwrap.fill(f"* {point}", _WIDTH, subsequent_indent="  ") for point in points)
