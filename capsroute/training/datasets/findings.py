"""What was met while a folder of images was read, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from capsroute.training.datasets.facts import DatasetFacts
from capsroute.training.datasets.imageset import Dataset, ImageSet
from capsroute.training.datasets.layout import Layout
from capsroute.training.datasets.pictures import Header

__all__ = ["Findings", "described", "some"]

_NAMED = 3  # of many, in a sentence
_COUNTED = 12  # classes that are counted one by one in a sentence


@dataclass
class Findings:
    """What was met while a folder was read; every file by its path.

    Args:
        left_out: Files that are not read, and why: a clause.
        repeated: Pictures that come again in the same class and part, and of which file.
        shared: Pictures that stand in two classes, or both to train and to test on, likewise.
        seen: Part, class and path of each picture, by a digest of its pixels.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    seen: dict[bytes, tuple[str, str, str]] = field(default_factory=dict)


def some(found: Iterable[str], most: int = _NAMED) -> str:
    """The first ones of many, for a sentence."""
    named = list(found)
    return ", ".join(named[:most]) + (f" and {len(named) - most:,} more" if len(named) > most else "")


def described(
    train: ImageSet,
    test: ImageSet,
    names: tuple[str, ...],
    title: str,
    layout: Layout,
    headers: Sequence[Header],
    findings: Findings,
) -> Dataset:
    """A data set of images from a folder, with facts, notes and a record.

    Args:
        train: Images to train on.
        test: Images to test on.
        names: Of the classes.
        title: Of the folder.
        layout: What lay in it.
        headers: Of all pictures.
        findings: What was met.
    """
    counts = {
        name: {"train": int((train.labels == label).sum()), "test": int((test.labels == label).sum())}
        for label, name in enumerate(names)
    }
    channels, side, _ = train.image_shape
    colours = "in grey" if channels == 1 else "in colours"
    division = "which the folder has for that" if layout.test is not None else "held out from each class"
    counted = some((f"{name} ({both['train']:,} + {both['test']:,})" for name, both in counts.items()), _COUNTED)
    facts = DatasetFacts(
        title=title,
        description=(
            f"Pictures from a folder per class, so many to train and to test on: {counted}. The latter are those "
            f"{division}. The middle square of each picture was brought to {side}x{side} pixels {colours}; what was "
            "transparent lies on white"
        ),
        origin="whoever trained on them; nothing else is known",
        licence="not known",
        classes=names,
    )
    notes = (
        f"{len(names)} classes, {some(names, _COUNTED)}: {len(train):,} pictures to train on and {len(test):,} to test "
        f"on, {division}",
        f"pictures of {_sizes(headers)} pixels, brought to {side}x{side} {colours}",
        *_surprises(layout, findings),
    )
    data = Dataset(train, test, facts, notes)
    return replace(
        data,
        record={
            "title": title,
            "checksum": data.checksum,
            "image_shape": list(data.image_shape),
            "classes": counts,
            "left_out": findings.left_out,
            "repeated": findings.repeated,
            "in_several_places": findings.shared,
            "beside_the_classes": layout.beside,
        },
    )


def _sizes(headers: Sequence[Header]) -> str:
    smallest, largest = (find(headers, key=lambda h: (h.width * h.height, h.width)) for find in (min, max))
    names = [f"{header.width}x{header.height}" for header in (smallest, largest)]
    return " to ".join(dict.fromkeys(names))


def _surprises(layout: Layout, findings: Findings) -> list[str]:
    """A sentence for each kind of thing that a user may not expect."""
    kinds: tuple[tuple[str, Mapping[str, str], str], ...] = (
        ("file(s) are no pictures that can be read, and were left out", findings.left_out, "{} ({})"),
        ("picture(s) come again in their class, and were read once", findings.repeated, "{} (as {})"),
        ("picture(s) stand in two classes, or both to train and to test on", findings.shared, "{} (as {})"),
        ("file(s) or folder(s) lie beside the classes, and were not read", dict.fromkeys(layout.beside, ""), "{}"),
    )
    return [
        f"{len(found):,} {what}: {some(form.format(*item) for item in found.items())}"
        for what, found, form in kinds
        if found
    ]
