"""A trained network in both files, and images that it knows."""

from __future__ import annotations

import pytest

from capsroute.training import load_network
from capsroute.training.storage.runfolder import RunFolder
from capsroute.training.storage.saving import Saver
from python_tests.training.doubles import nothing
from python_tests.training.trained import preset_trainer


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """Folder of a run on a few digits."""
    trainer = preset_trainer(epochs=1, lr=3e-3)
    trainer.fit([], nothing)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    Saver(folder, trainer).save()
    return folder


@pytest.fixture(scope="session")
def network(run_folder):
    return load_network(run_folder.weights)
