"""What the ranks of a test do: trainings by all of them, in one process group. Run by ``torchrun``, not by pytest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from capsroute.models import PoolingCNN
from capsroute.training import TrainConfig, Trainer, TrainingError
from capsroute.training.parallel.launch import joined, ranks_of_environment
from capsroute.training.parallel.ranks import ALONE
from python_tests.training.doubles import Recorder, StopAt, few_digits, make_trainer, nothing, told

# Each is compared with one process; the batches of 70 images do not divide evenly, and the last of 23 has one image.
CASES = {
    "uneven": {},
    "fewer images than ranks": {"batch_size": 23},
    "accumulated": {"batch_size": 23, "accumulate": 2},
    "averaged": {"ema": 0.9, "schedule": "cosine", "warmup": 2},
    "without decoder": {"reconstruction": False, "shift": 0},
}


def losses(case, ranks=ALONE):
    """All that observers are told of a run in float64, and the norm of each parameter at its end."""
    trainer, recorder = make_trainer(log_every=1, ranks=ranks, dtype=torch.float64, **CASES[case]), Recorder()
    assert trainer.fit([recorder], nothing)
    return {
        "steps": told(recorder.steps),
        "epochs": [(e.loss, e.accuracy, e.test_loss, e.test_accuracy) for e in recorder.epochs],
        "norms": [value.norm().item() for value in trainer.model.parameters()],
        "evaluated": trainer.evaluate(trainer.data.train),
    }


def dropout_trainer(ranks):
    torch.manual_seed(1)
    model = PoolingCNN(image_size=8, channels=(4, 8), kernel=3, hidden=(32, 16), decoder_sizes=None)
    config = TrainConfig(network="pooling-cnn", reconstruction=False, epochs=2, batch_size=16, shift=1)
    return Trainer(model, config, few_digits(), torch.device("cpu"), log_every=1, ranks=ranks)


def resumed_with_dropout(ranks):
    """Steps of a run, and of one that stops in the middle of an epoch by the wish of the last rank, and goes on."""
    straight, expected = dropout_trainer(ranks), Recorder()
    assert straight.fit([expected], nothing)
    stopped, saved = dropout_trainer(ranks), []
    wish = StopAt(stopped, 3 if ranks.rank == ranks.size - 1 else -1)
    assert not stopped.fit([wish], lambda: saved.append(stopped.state_dict()))
    assert len(saved) == (1 if ranks.main else 0)
    shared = [saved[0]] if ranks.main else [None]
    torch.distributed.broadcast_object_list(shared)
    torch.manual_seed(99)
    resumed, after = dropout_trainer(ranks), Recorder()
    resumed.load_state_dict(shared[0])
    assert resumed.fit([after], nothing)
    return {
        "straight": told(expected.steps),
        "resumed": told(wish.steps) + told(after.steps),
        "epochs": [(e.loss, e.accuracy, e.test_loss) for e in expected.epochs],
        "resumed epochs": [(e.loss, e.accuracy, e.test_loss) for e in after.epochs],
    }


def stopped_state(ranks):
    """State of rank 0 in the middle of the first epoch of the case "uneven"."""
    trainer, saved = make_trainer(log_every=1, ranks=ranks, dtype=torch.float64), []
    assert not trainer.fit([StopAt(trainer, 3)], lambda: saved.append(trainer.state_dict()))
    return saved[0] if saved else None


def refusals(ranks):
    """What each rank says where they differ, or where rank 0 cannot go on."""

    def full_disk():
        raise TrainingError("the disk is full")

    def steps_apart():
        trainer = make_trainer(ranks=ranks)
        trainer.batches.position = ranks.rank
        trainer.fit([], nothing)

    def weights_apart():
        trainer = make_trainer(ranks=ranks)
        with torch.no_grad():
            trainer.model.classes.weight[-1, -1, -1, -1] += ranks.rank
        trainer.fit([], nothing)

    def other_images():
        data = few_digits()
        data.test.images[0] += ranks.rank
        make_trainer(ranks=ranks, data=data)

    attempts = {
        "seed": lambda: make_trainer(ranks=ranks, seed=ranks.rank),
        "data": lambda: make_trainer(ranks=ranks, data=few_digits(train=70 - ranks.rank)),
        "images": other_images,
        "step": steps_apart,
        "weights": weights_apart,
        "save": lambda: make_trainer(ranks=ranks, epochs=1).fit([], full_disk),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except TrainingError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def main(folder: Path) -> None:
    """Writes what each rank found into a file of its own."""
    ranks = ranks_of_environment()
    with joined(ranks, torch.device("cpu"), timeout=60):
        state = stopped_state(ranks)
        if ranks.main:
            torch.save(state, folder / "stopped.pt")
        results = {
            "losses": {case: losses(case, ranks) for case in CASES},
            "dropout": resumed_with_dropout(ranks),
            "refusals": refusals(ranks),
        }
    (folder / f"{ranks.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
