"""Files that are replaced whole or not at all, several of them together."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from capsroute.training.errors import TrainingError
from capsroute.training.paths import AnyPath, as_path

__all__ = ["FileNotWritten", "failures_named", "remove_leftovers", "replace_files"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileNotWritten(Exception):
    """One of several files could not be written, and so none of them was replaced.

    Args:
        path: The file.
        reason: What the system said.
        full: Whether there was no room for it: disk, quota or the limit on the size of a file.
    """

    def __init__(self, path: Path, reason: str, full: bool) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.full = full


def replace_files(files: Mapping[AnyPath, Callable[[BinaryIO], object]]) -> None:
    """Writes files in place of what their paths hold, or leaves all of that as it is.

    Every file is on the disk under another name before the first is renamed, since a rename needs no room: a full disk
    leaves the former files whole and of the same moment. Only a crash between two renames, which follow each other in
    the order given, leaves some of either. The new names are on the disk too when this returns, where the system allows
    to ask for that.

    Args:
        files: What writes each file, by its path, whose folder is there.

    Raises:
        FileNotWritten: The disk is full, the path is a folder's, or anything else that the system refuses.
    """
    writers = {as_path("files", path): write for path, write in files.items()}
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in writers}
    current = next(iter(writers), Path())
    try:
        for current, write in writers.items():
            with open(temporaries[current], "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if current.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(current))
        for current, temporary in temporaries.items():
            os.replace(temporary, current)
        for folder in {path.parent for path in writers}:
            _sync_folder(folder)
    except (OSError, RuntimeError) as error:
        cause = _system_error(error)
        if cause is None:
            raise FileNotWritten(current, str(error), full=False) from error
        raise FileNotWritten(current, cause.strerror or str(cause), cause.errno in _FULL) from error
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):  # absent by now, or what could not be written for the same reason as is told above
                temporary.unlink()


def _sync_folder(path: Path) -> None:
    """Brings the names in a folder onto the disk; not all systems and file systems can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Removes what processes that were killed while they wrote such files have left beside them.

    No other process may be writing into their folders.
    """
    for path in paths:
        pattern = re.compile(rf"\.{re.escape(path.name)}\.\d+\.tmp")
        for file in path.parent.iterdir():
            if pattern.fullmatch(file.name):
                with suppress(OSError):  # it does no harm where it cannot be removed
                    file.unlink()


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Within it, a file of a run that cannot be written ends the run with a sentence.

    Raises:
        TrainingError: It cannot be.
    """
    try:
        yield
    except (OSError, FileNotWritten) as error:
        reason = error.reason if isinstance(error, FileNotWritten) else error.strerror or str(error)
        raise TrainingError(
            f"cannot write {path}: {reason}; what was saved before is whole: mend that, then go on with --resume"
        ) from error


def _system_error(error: BaseException | None) -> OSError | None:
    """What the system refused; ``torch.save`` hides it behind a RuntimeError of its own."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error
