"""Files of data sets from the network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from capsroute.training.errors import TrainingError
from capsroute.training.extras import require
from capsroute.training.paths import AnyPath, as_path

__all__ = ["fetch", "user_cache"]


def user_cache(dataset: str) -> Path:
    """The user's folder for the files of a data set; it may not exist.

    Raises:
        TrainingError: Pooch is not installed.
    """
    return Path(require("pooch", f"dataset {dataset} without --data-dir").os_cache("capsroute")) / dataset


def fetch(folder: AnyPath, name: str, md5: str, mirrors: Sequence[str], advice: str) -> Path:
    """Fetches a file into a folder, from the first mirror that has it.

    Args:
        folder: Where to put it; made where it is absent, and gone again where nothing came to lie in it.
        name: Of the file, in the folder and on the mirrors.
        md5: Hash that it must have.
        mirrors: What stands before the name in its addresses.
        advice: What else the user can do; the end of the error message.

    Returns:
        Path of the file.

    Raises:
        TrainingError: No mirror answers with the right file, or pooch is not installed.
    """
    folder = as_path("folder", folder)
    pooch = require("pooch", f"fetching {name}")
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    problems = []
    for mirror in mirrors:
        try:
            # Pooch writes to a temporary file, checks its hash and renames it: a half file never gets the name.
            return Path(pooch.retrieve(f"{mirror}{name}", f"md5:{md5}", fname=name, path=folder, progressbar=False))
        except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong hash is a ValueError
            problems.append(f"{mirror} ({type(error).__name__})")
        finally:
            _remove_empty(absent)
    raise TrainingError(f"{name} is not in {folder} and cannot be fetched from {' or '.join(problems)}: {advice}")


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes those of these folders, from the innermost on, that hold nothing."""
    for folder in folders:
        with suppress(OSError):  # it holds something, or was never made
            folder.rmdir()
