"""Where files of data sets lie, in the layouts in which people have them, and what is said where they do not."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from capsroute.training.errors import TrainingError

__all__ = [
    "IDX_ROLES",
    "Fetch",
    "absent",
    "called",
    "fetched_into",
    "file_digest",
    "files_below",
    "idx_files",
    "matching",
]

Fetch = Callable[[Path, str, str, Sequence[str], str], Path]
"""As :func:`~capsroute.training.datasets.fetch.fetch`."""

IDX_ROLES = (("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels"))
"""The four files of a data set in MNIST's form."""

_DEEPEST = 3  # folders in folders: a root of torchvision's has two
_MOST = 10_000  # files that are looked at; a folder of somebody's home is not walked to its end
_LISTED = 8
_UNNAMED = {"raw", "gzip", "matlab", "data", "idx"}  # folders that say nothing of what lies in them
_IDX_NAME = re.compile(
    r"(?:(?P<prefix>.*)[-_. ])?(?P<part>train|t10k|test)[-_. ](?P<kind>images|labels)"
    r"(?:[-_. ]idx\d)?(?:[-_. ]u?(?:byte|int))?(?:\.gz)?",
    re.IGNORECASE,
)


def files_below(folder: Path) -> list[Path]:
    """Files of a folder and of the folders in it, sorted, without hidden ones; none where there is no such folder.

    Raises:
        TrainingError: It cannot be read, or is none.
    """
    found: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise TrainingError(f"{folder} is not a folder: name with --data-dir the one that the files lie in")
        waiting = [(folder, 0)] if folder.exists() else []
        while waiting and len(found) < _MOST:
            place, depth = waiting.pop(0)
            for path in sorted(place.iterdir()):
                if path.name.startswith((".", "__MACOSX")):
                    continue
                if path.is_file():
                    found.append(path)
                elif path.is_dir() and depth < _DEEPEST:
                    waiting.append((path, depth + 1))
    except OSError as error:
        raise TrainingError(f"cannot read {folder}: {error.strerror or error}") from error
    return found


def matching(files: Iterable[Path], pattern: str) -> dict[tuple[str, ...], list[Path]]:
    """Files whose name is of a form, by the groups of the pattern, in small letters."""
    found: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path in files:
        if match := re.fullmatch(pattern, path.name, re.IGNORECASE):
            found[tuple(group.lower() for group in match.groups(""))].append(path)
    return found


def idx_files(folder: Path, names: Collection[str]) -> list[Path] | None:
    """The files of a data set in MNIST's form.

    They lie in the folder, in one of its name or the only one that has all four; their names may have dots, or that of
    the data set before them, and each may lie in a folder of its own. Of a plain file and a gzipped one, the plain one.

    Args:
        folder: Where to look.
        names: Of the data set, in small letters and without signs: ``{"fashionmnist"}``.

    Returns:
        The files of :data:`IDX_ROLES`, or None where there is no place with all of them.

    Raises:
        TrainingError: There are several places, and none is that of the data set.
    """
    places: dict[tuple[Path, str], dict[tuple[str, str], Path]] = defaultdict(dict)
    for path in sorted(files_below(folder), key=lambda path: (path.suffix.lower() == ".gz", path)):
        match = _IDX_NAME.fullmatch(path.name)
        prefix = _plain(match["prefix"] or "") if match else ""
        if match is None or (prefix and prefix not in names):
            continue
        inside = path.parent.parent if _IDX_NAME.fullmatch(path.parent.name) else path.parent
        part = "train" if match["part"].lower() == "train" else "test"
        places[inside, prefix].setdefault((part, match["kind"].lower()), path)
    whole = {place: found for place, found in places.items() if len(found) == len(IDX_ROLES)}
    for is_it in (
        lambda inside, prefix: prefix != "",
        lambda inside, prefix: inside == folder,
        lambda inside, prefix: any(_plain(part) in names for part in inside.relative_to(folder).parts),
        lambda inside, prefix: True,
    ):
        chosen = [found for place, found in whole.items() if is_it(*place)]
        if len(chosen) == 1:
            return [chosen[0][role] for role in IDX_ROLES]
        if chosen:
            listed = ", ".join(str(inside.relative_to(folder)) for inside, _ in whole)
            raise TrainingError(f"{folder} holds several data sets, in {listed}: name one of these with --data-dir")
    return None


def absent(folder: Path, wanted: str) -> TrainingError:
    """The error that says what lies in a folder, and what was wanted there."""
    files = files_below(folder)
    if not files:
        return TrainingError(f"{folder} {'is empty' if folder.exists() else 'does not exist'}: {wanted}")
    names = [str(path.relative_to(folder)) for path in files]
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else "")
    return TrainingError(f"{folder} holds {listed}: {wanted}")


def fetched_into(
    folder: Path, md5s: Mapping[str, str], mirrors: Sequence[str], advice: str, fetch: Fetch, *, own: bool
) -> list[Path] | None:
    """Fetches what is absent of some files into a folder.

    Args:
        folder: Where to put them.
        md5s: MD5 of each file, by name.
        mirrors: As fetch takes them.
        advice: Likewise.
        fetch: What fetches.
        own: Whether the folder is one of capsroute's own, in the user's cache.

    Returns:
        The files, or None where others lie in a folder of somebody: nothing is put beside them.

    Raises:
        TrainingError: A file cannot be fetched.
    """
    there = {path.name: path for path in files_below(folder) if path.parent == folder}
    ours = {name for name, path in there.items() if md5s.get(name) == file_digest(path)}
    if not own and len(ours) < len(files_below(folder)):
        return None
    there = {name: there[name] for name in ours}
    return [there.get(name) or fetch(folder, name, md5, mirrors, advice) for name, md5 in md5s.items()]


def file_digest(path: Path) -> str:
    """MD5 of a file, in hexadecimal digits.

    Raises:
        TrainingError: It cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def called(path: Path) -> str:
    """What files of no known data set are called: the name of their folder, or of the next one above that has one."""
    for folder in path.resolve().parents:
        if folder.name and folder.name.lower() not in _UNNAMED and not _IDX_NAME.fullmatch(folder.name):
            return folder.name
    return str(path.parent)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
