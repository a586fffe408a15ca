"""Where the classes lie in a folder of images: a folder per class, or ``train/`` and ``test/`` of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from capsroute.training.datasets.trees import File, Folder, printable
from capsroute.training.errors import TrainingError

__all__ = ["Classes", "Layout", "find_classes"]

Classes = dict[str, list[File]]
"""Files of each class by its name, both sorted."""

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")  # the first one that is there
_LABELS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".xlsx", ".parquet", ".mat")
_NAMED = 5


@dataclass(frozen=True)
class Layout:
    """The classes of a folder.

    Args:
        train: To train on, or to divide where there is no test set.
        test: To test on, of the same classes.
        beside: What lies beside the folders of the classes and is not read.
    """

    train: Classes
    test: Classes | None
    beside: list[str]


def find_classes(tree: Folder) -> Layout:
    """Finds the classes, also where all lies in one more folder, as archives have it.

    Raises:
        TrainingError: There are no folders of classes, one class only, a class without files, names that nobody can
            tell apart, or a test class that is not trained.
    """
    beside: list[str] = []
    tree = _without_tops(tree, beside)
    train, tests = _part(tree, _TRAIN), [part for word in _TEST if (part := _part(tree, (word,))) is not None]
    if not tests and train is not None and train.folders and PurePath(train.path).name.lower() in _TRAIN:
        raise TrainingError(
            f"{tree.path} holds {PurePath(train.path).name}/ with folders in it, but no test/ beside it, so that "
            f"nobody knows whether it is a class: name {train.path} itself, or call that class otherwise"
        )
    if train is None or not tests or not (train.folders or len(tree.folders) == 1 + len(tests)):
        return Layout(_classes(tree, beside), None, beside)
    test = tests[0]
    beside += [file.path for file in tree.files.values()]
    beside += [f"{folder.path}/" for folder in tree.folders.values() if folder is not train and folder is not test]
    train = _without_tops(train, beside)
    if not test.folders.keys() & train.folders.keys():
        test = _without_tops(test, beside)
    layout = Layout(_classes(train, beside), _classes(test, beside, least=1), beside)
    assert layout.test is not None
    unknown = sorted(layout.test.keys() - layout.train.keys())
    if unknown:
        raise TrainingError(f"{test.path} has the class {unknown[0]}, which {train.path} has not")
    return layout


def _without_tops(folder: Folder, beside: list[str]) -> Folder:
    """What lies in one more folder, or several, as archives have it."""
    while len(folder.folders) == 1 and next(iter(folder.folders.values())).folders:
        beside += [file.path for file in folder.files.values()]
        (folder,) = folder.folders.values()
    return folder


def _part(tree: Folder, words: Iterable[str]) -> Folder | None:
    """The folder that is called so, or the only one of folders that has such a word in its name (``training_set``)."""
    called = {name.lower(): folder for name, folder in tree.folders.items()}
    exact = [called[word] for word in words if word in called]
    loosely = [
        folder for name, folder in called.items() if folder.folders and set(words) & set(re.split(r"[\W\d_]+", name))
    ]
    return exact[0] if exact else loosely[0] if len(loosely) == 1 else None


def _classes(folder: Folder, beside: list[str], least: int = 2) -> Classes:
    if not folder.folders:
        raise TrainingError(f"{folder.path} {_instead(list(folder.all_files()))}; {_expected(folder)}")
    named: dict[str, str] = {}
    for name in map(printable, folder.folders):
        alike = unicodedata.normalize("NFC", name).casefold()
        if alike in named:
            raise TrainingError(
                f"{folder.path} holds the folders {named[alike]} and {name}, which differ in nothing but the case of "
                "their letters or how these are encoded: rename one, or put both into one"
            )
        named[alike] = name
    if len(folder.folders) < least:
        (only,) = folder.folders
        raise TrainingError(
            f"{folder.path} holds one class, {printable(only)}, where two are the least; {_expected(folder)}"
        )
    classes = {printable(name): list(inner.all_files()) for name, inner in folder.folders.items()}
    for name, files in classes.items():
        if not files:
            raise TrainingError(f"{folder.path} has no file in the folder of the class {name}: fill it or remove it")
    beside += [file.path for file in folder.files.values()]
    return classes


def _instead(files: Iterable[File]) -> str:
    """What lies in a folder in the place of classes."""
    names = [PurePath(file.path).name for file in files]
    if not names:
        return "is empty"
    endings = Counter(PurePath(name).suffix.lower() or "no ending" for name in names)
    kinds = ", ".join(f"{count:,} of {ending}" for ending, count in endings.most_common(_NAMED))
    found = f"holds no folders, but {len(names):,} file(s) lying loose ({kinds})"
    packed = next((name for name in names if name.lower().endswith(".zip")), None)
    if packed is not None:
        return f"{found}: name the zip file {packed} itself, unpacked where it lies in another one"
    table = next((name for name in names if name.lower().endswith(_LABELS)), None)
    if table is not None:
        return f"{found}: labels in a file, as {table} may hold them, are not read"
    return found


def _expected(folder: Folder) -> str:
    examples = f"{folder.path}/cat/1.jpg and {folder.path}/dog/1.jpg"
    return f"expected is a folder per class, such as {examples}, or train/ and test/ of them"
