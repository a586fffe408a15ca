"""Runs an experiment from its first seed to its figure."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter

import torch

from capsroute.bench import environment
from capsroute.bench.files import check_writable
from capsroute.experiments.context import Context
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.progress import Progress
from capsroute.experiments.record import Record
from capsroute.experiments.scale import Scale
from capsroute.training.errors import TrainingError
from capsroute.training.extras import require

__all__ = ["run_experiment"]


def run_experiment(
    experiment: Experiment, scale: Scale, full: bool, *, device: torch.device, data_dir: Path | None, out: Path
) -> Record:
    """Runs an experiment with seeds 0, 1, … and writes ``NAME.json`` and ``NAME.png``.

    Until both are there, what each seed gave is in ``NAME.unfinished.json`` as soon as it has run. It stays there where
    the run does not come to its end.

    Args:
        experiment: What to run.
        scale: Its sizes.
        full: Whether these are those of its full form, for the record.
        device: Where networks run.
        data_dir: Folder of the data set; None for the user's cache.
        out: Folder for the two files, made where it is absent. Older ones of the same names are replaced at the end.

    Raises:
        TrainingError: Something that the user can mend; the two files are as they were.
    """
    if data_dir is not None and not experiment.reads_files:
        raise TrainingError(f"data_dir must be None for {experiment.name}, which makes its images; got {data_dir}")
    require("matplotlib", "drawing figures")  # before the training rather than after it
    json_file, figure = out / f"{experiment.name}.json", out / f"{experiment.name}.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file in (json_file, figure):
            check_writable(file)
    except OSError as error:
        raise TrainingError(f"cannot write into the folder {out}: {error.strerror or error}") from error
    if device.type == "cuda":  # the same result in every run
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    progress = Progress(0)
    context = Context(scale, device, data_dir, progress)
    progress.total = experiment.steps(context) * scale.seeds
    began = perf_counter()
    outcomes: list[Outcome] = []

    def record(outcomes: list[Outcome]) -> Record:
        seconds = perf_counter() - began
        numbers = [outcome.numbers for outcome in outcomes]
        there = {"images": outcomes[0].images, "test_images": outcomes[0].test_images}
        sizes = {**scale.as_dict(), **there, "full": full}
        return Record(experiment.name, sizes, environment.describe(), seconds, numbers)

    unfinished, drawn = (out / f"{experiment.name}.unfinished.{kind}" for kind in ("json", "png"))
    try:
        with progress:
            for seed in range(scale.seeds):
                progress.begin(f"seed {seed + 1} of {scale.seeds}")
                found = [*outcomes, experiment.run(context, seed)]
                record(found).write(unfinished)
                outcomes = found  # what is in the file, also where the next seed fails
        whole = record(outcomes)
        experiment.draw(whole, outcomes[0].pictures).savefig(drawn, dpi=120)
    except (KeyboardInterrupt, TrainingError):
        if outcomes:
            print(f"what {len(outcomes)} of {scale.seeds} seeds gave is in {unfinished}")
        raise
    whole.write(json_file)
    os.replace(drawn, figure)
    unfinished.unlink()
    return whole
