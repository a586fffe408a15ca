"""Folders of files, on the disk or in a zip file, in one form."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from capsroute.training.errors import TrainingError

__all__ = ["File", "Folder", "opened_tree", "printable"]

# Of a file in a zip file: bytes, and by how much those of a large one may grow; what claims to be more is not unpacked.
_LARGEST = 2**28
_LARGE = 2**24
_GROWTH = 100
# What operating systems put beside people's files, besides names that begin with a dot.
_OF_SYSTEMS = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir")


@dataclass(frozen=True)
class File:
    """A file that is not read yet.

    Args:
        path: For people.
        open: Its contents; raises OSError where they cannot be had.
    """

    path: str
    open: Callable[[], IO[bytes]]


@dataclass
class Folder:
    """A folder, without what operating systems put there.

    Args:
        path: For people.
        folders: By name, sorted.
        files: By name, sorted.
    """

    path: str
    folders: dict[str, Folder] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)

    def all_files(self) -> Iterator[File]:
        """Of the folder and of those in it, in the order of their names."""
        yield from self.files.values()
        for folder in self.folders.values():
            yield from folder.all_files()


def printable(name: str) -> str:
    """Names of files are bytes, and not all of them text; nor is all text one line."""
    text = name.encode(errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@contextmanager
def opened_tree(path: Path) -> Iterator[Folder]:
    """What lies in a folder or in a zip file, whose files can be opened within it. Nothing is unpacked to the disk.

    Raises:
        TrainingError: The path is neither, cannot be read or is damaged, or the archive holds an unsafe path.
    """
    name = printable(str(path))
    with ExitStack() as stack:
        try:
            if not os.path.exists(path):
                raise TrainingError(f"data_dir names {name}, which is not there")
            if os.path.isdir(path):  # which answers, where Path.is_dir raises: a name may be too long
                tree = _from_disk(path, ())
            else:
                tree = _from_zip(stack.enter_context(zipfile.ZipFile(path)), name)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
            raise TrainingError(
                f"data_dir must name a folder or a zip file, and {name} is neither whole: {error}"
            ) from error
        except OSError as error:
            place = printable(str(error.filename or path))
            raise TrainingError(f"data_dir cannot be read: {place}: {error.strerror or error}") from error
        yield tree


def _shown(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _OF_SYSTEMS


def _from_disk(path: Path, above: tuple[str, ...]) -> Folder:
    """With what links lead to, but for a folder that holds the link itself."""
    folder, real = Folder(printable(str(path))), os.path.realpath(path)
    if real in above:
        return folder
    with os.scandir(path) as entries:
        found = sorted((entry for entry in entries if _shown(entry.name)), key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir():
            folder.folders[entry.name] = _from_disk(Path(entry.path), (*above, real))
        else:
            opens = _opener(entry.path) if entry.is_file() else _absent
            folder.files[entry.name] = File(printable(entry.path), opens)
    return folder


def _opener(path: str) -> Callable[[], IO[bytes]]:
    return lambda: open(path, "rb")


def _absent() -> IO[bytes]:
    raise OSError(0, "it is no file, or a link that leads nowhere")


def _from_zip(archive: zipfile.ZipFile, name: str) -> Folder:
    root = Folder(name)
    for member in sorted(archive.infolist(), key=lambda member: member.filename):
        place = member.filename.replace("\\", "/")  # as some programs for Windows write it
        parts = [part for part in place.split("/") if part not in ("", ".")]
        if place.startswith("/") or ".." in parts or ":" in place.split("/")[0]:
            raise TrainingError(f"{name} holds the unsafe path {member.filename!r}")
        if not all(map(_shown, parts)):
            continue
        folder, is_folder = root, place.endswith("/")
        for part in parts if is_folder else parts[:-1]:
            folder = folder.folders.setdefault(part, Folder(f"{folder.path}/{printable(part)}"))
        if parts and not is_folder:
            folder.files[parts[-1]] = File(f"{folder.path}/{printable(parts[-1])}", _unpacker(archive, member))
    return root


def _unpacker(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    def unpacked() -> IO[bytes]:
        if member.file_size > _LARGEST:
            raise OSError(0, f"it is larger than {_LARGEST:,} bytes")
        if member.file_size > max(_LARGE, _GROWTH * member.compress_size):
            raise OSError(0, f"it would grow from {member.compress_size:,} to {member.file_size:,} bytes")
        try:
            return io.BytesIO(archive.read(member))
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise OSError(0, f"it cannot be unpacked: {error}") from error

    return unpacked
