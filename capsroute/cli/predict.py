"""``capsroute predict``: what a trained network says of image files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsroute.cli.errors import CommandError
from capsroute.cli.option_table import refuse_unused
from capsroute.cli.threads import set_threads

if TYPE_CHECKING:
    from capsroute.inference import Prediction
    from capsroute.training.storage.stored import StoredNetwork

__all__ = ["add_parser", "run"]

_SHOWN = 3
_SCORE_NAMES = {"capsnet": "length", "pooling-cnn": "score"}


def add_parser(subparsers: Any) -> None:
    """Adds the command to the parser of ``capsroute``."""
    parser = subparsers.add_parser(
        "predict",
        help="classify images by a trained network",
        description="Prints the class of each image and the largest lengths of its class capsules, or the largest "
        "scores of a network without capsules.",
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="PNG or JPEG")
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        type=Path,
        required=True,
        help="checkpoint.pt or model.safetensors of a run of capsroute train, or its folder, which means the latter",
    )
    parser.add_argument(
        "--reconstruction", metavar="PNG", type=Path, help="draw each image above its reconstruction into this file"
    )
    parser.add_argument("--overwrite", action="store_true", help="let --reconstruction replace a file")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with the scores of all classes")
    shape = parser.add_argument_group("images of another kind")
    shape.add_argument(
        "--resize", action="store_true", help="crop the middle part of the right proportions and resize it"
    )
    shape.add_argument("--invert", action="store_true", help="exchange black and white, for dark ink on white paper")
    place = parser.add_argument_group("where")
    place.add_argument("--batch-size", type=int, metavar="N", default=64, help="images at a time (default: 64)")
    place.add_argument("--device", metavar="NAME", default="auto", help="auto (default), cpu or cuda")
    place.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")


def run(args: argparse.Namespace) -> int:
    """Classifies images.

    Raises:
        CommandError: Something that the user can mend; nothing was printed or written.
    """
    from capsroute.inference import ImageError
    from capsroute.training import TrainingError

    try:
        return _run(args)
    except (ImageError, TrainingError) as error:
        raise CommandError(str(error)) from error


def _run(args: argparse.Namespace) -> int:
    from capsroute.inference import predict, read_image, read_network
    from capsroute.training.run import choose_device

    if args.batch_size < 1:
        raise CommandError(f"batch-size must be at least 1, got {args.batch_size}")
    refuse_unused("predict", args)
    set_threads(args.threads)
    device = choose_device(args.device)
    stored = read_network(args.checkpoint)
    picture: Path | None = args.reconstruction
    if picture is not None:
        _check_picture(picture, stored, args.images, args.overwrite)
    network = stored.build().to(device)
    images = [read_image(path, stored.image_shape, resize=args.resize, invert=args.invert) for path in args.images]
    predictions = list(predict(network, images, batch_size=args.batch_size, reconstruct=picture is not None))
    if picture is not None:
        _draw(picture, predictions, stored)
    if args.json:
        print(json.dumps(_facts(stored, predictions)))
    else:
        _print(stored, predictions)
    return 0


def _check_picture(path: Path, stored: StoredNetwork, images: list[Path], overwrite: bool) -> None:
    """Before anything is computed: a picture can be drawn, and nobody's file is lost by it."""
    if not any(name.startswith("decoder.") for name in stored.state):
        raise CommandError(f"--reconstruction needs a network with a decoder, and that of {stored.path} has none")
    if path.suffix.lower() != ".png":
        raise CommandError(f"--reconstruction must name a .png file, got {path}")
    if os.path.isdir(path):  # which answers, where Path.is_dir raises: a name may be too long
        raise CommandError(f"--reconstruction must name a .png file, and {path} is a folder")
    if not os.path.isdir(path.parent):
        raise CommandError(f"--reconstruction cannot be written: there is no folder {path.parent}")
    if os.path.exists(path) and not overwrite:
        raise CommandError(f"--reconstruction names {path}, which is there already: choose another or add --overwrite")
    if any(path.resolve() == image.resolve() for image in images):
        raise CommandError(f"--reconstruction names {path}, which is one of the images: choose another")


def _draw(path: Path, predictions: list[Prediction], stored: StoredNetwork) -> None:
    from capsroute.inference import draw_reconstructions
    from capsroute.training.storage.files import FileNotWritten, replace_files

    try:
        replace_files({path: lambda file: draw_reconstructions(file, predictions, stored.classes)})
    except FileNotWritten as error:
        raise CommandError(f"--reconstruction cannot be written: {error}") from error


def _facts(stored: StoredNetwork, predictions: list[Prediction]) -> dict[str, Any]:
    return {
        "checkpoint": str(stored.path),
        "network": stored.config.network,
        "dataset": stored.config.dataset,
        "epoch": stored.epoch,
        "step": stored.step,
        "scores": _SCORE_NAMES[stored.config.network],
        "images": [
            {
                "file": str(prediction.image.path),
                "class": stored.classes[prediction.label],
                "label": prediction.label,
                "scores": dict(zip(stored.classes, prediction.scores.tolist(), strict=True)),
                "notes": list(prediction.image.notes),
            }
            for prediction in predictions
        ],
    }


def _print(stored: StoredNetwork, predictions: list[Prediction]) -> None:
    for prediction in predictions:
        name = _printable(prediction.image.path)
        for note in prediction.image.notes:
            print(f"capsroute: note: {name}: {note}", file=sys.stderr)
        largest = prediction.scores.topk(min(_SHOWN, len(stored.classes)))
        scores = zip(largest.indices.tolist(), largest.values.tolist(), strict=True)
        shown = ", ".join(f"{stored.classes[label]} {score:.3f}" for label, score in scores)
        print(f"{name}: {stored.classes[prediction.label]}  ({_SCORE_NAMES[stored.config.network]}s: {shown})")


def _printable(path: Path) -> str:
    """Names of files are bytes, and not all of them text."""
    return str(path).encode(errors="backslashreplace").decode()
