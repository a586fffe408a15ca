"""Folders of pictures, as people have them, made in a moment."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
    """A picture of noise, unlike that of every other seed."""
    width, height = size
    noise = numpy.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    return Image.fromarray(noise).convert(mode)


def write_classes(folder: Path, counts: dict[str, int], seed: int = 0, mode: str = "RGB") -> Path:
    """``CLASS/N.png`` for each class, no two of them alike."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(seed, mode=mode).save(folder / name / f"{number}.png")
            seed += 1
    return folder


def write_halves(folder: Path, count: int) -> Path:
    """Grey noise that is lighter above in one class and below in the other: a few steps tell them apart."""
    noise = numpy.random.default_rng(0)
    for name, half in (("above", slice(0, 8)), ("below", slice(8, 16))):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = noise.integers(0, 60, (16, 16), dtype=numpy.uint8)
            pixels[half] += 180
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def zipped(folder: Path, path: Path, top: str = "") -> Path:
    """A zip file of what lies in a folder, within one more folder if that has a name."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{top}{file.relative_to(folder)}")
    return path
