"""What the options of ``capsroute bench`` and of the benchmarks below it have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from capsroute.cli.errors import CommandError

_SHARED: dict[str, dict[str, Any]] = {
    "--compare": {"metavar": "A,B", "default": "eager,compile", "help": "eager, compile, both (default) or none"},
    "--rounds": {"metavar": "N", "type": int, "help": "timed rounds in which the contenders take turns"},
    "--threads": {"metavar": "N", "type": int, "help": "CPU threads; torch's own choice by default"},
    "--json": {"metavar": "FILE", "type": Path, "help": "write everything measured to this file"},
}


class Below:
    """Adds the options of a benchmark below ``bench``, and reads them.

    Options of ``bench`` have the same names. What is given before the benchmark's own name must not be lost unnoticed,
    so argparse knows the others by a prefix.
    """

    def __init__(self, name: str) -> None:
        self._prefix = f"{name}:"

    def add(self, parser: argparse.ArgumentParser, flag: str, **words: Any) -> None:
        """As ``parser.add_argument``."""
        parser.add_argument(flag, dest=self._prefix + flag.removeprefix("--").replace("-", "_"), **words)

    def add_shared(self, parser: argparse.ArgumentParser, *flags: str) -> None:
        """Add options that other benchmarks have too."""
        for flag in flags:
            self.add(parser, flag, **_SHARED[flag])

    def read(self, args: argparse.Namespace) -> argparse.Namespace:
        """These options alone, by their own names, with those that stand on the command line in ``given``."""
        given = {name: value for name, value in vars(args).items() if name.startswith(self._prefix)}
        own = argparse.Namespace(**{name.removeprefix(self._prefix): value for name, value in given.items()})
        own.given = frozenset(name.removeprefix(self._prefix) for name in args.given & given.keys())
        return own


def add_shared(parser: argparse.ArgumentParser, *flags: str) -> None:
    """As :meth:`Below.add_shared`, for ``bench`` itself."""
    for flag in flags:
        parser.add_argument(flag, **_SHARED[flag])


def split(text: str) -> list[str]:
    """The parts of a list on the command line."""
    return [part.strip() for part in text.split(",") if part.strip()]


def families(args: argparse.Namespace) -> list[str]:
    """The peers to compare with. Raises a ValueError with one sentence, as all that check options here do."""
    from capsroute.bench import peers

    chosen = [] if args.compare == "none" else split(args.compare)
    peers.check_families(chosen)
    return chosen


def check_counts(args: argparse.Namespace, *names: str) -> None:
    """Refuse numbers below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1; got {value}")


def check_files(files: Sequence[tuple[str, Path | None]]) -> None:
    """Refuse files, by the options that name them, that could not be written, before hours of work."""
    from capsroute.bench.files import check_writable

    for name, path in files:
        try:
            if path is not None:
                check_writable(path)
        except OSError as error:
            raise not_writable(name, "file", path, error) from None


def not_writable(option: str, kind: str, path: object, error: OSError) -> CommandError:
    """The answer to a file or folder that cannot be written."""
    return CommandError(f"{option} must be a {kind} that can be written, got {str(path)!r}: {error.strerror}")


def require(package: str, user: str) -> None:
    """Raise a CommandError if a package of the extra ``bench`` is missing."""
    try:
        import_module(package)
    except ImportError:
        raise CommandError(
            f"{user} needs the package {package}; install it with: pip install 'capsroute[bench]'"
        ) from None
