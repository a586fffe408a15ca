"""Standard output that fails by one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TextIO, cast

from capsroute.cli.errors import CommandError

__all__ = ["checked_output"]


class _Output:
    """A stream whose errors are told from those of all other files, by what is raised.

    Args:
        stream: What it writes to, and what it is in all else.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._failures_named():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._failures_named():
            self._stream.flush()

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._silence()
            if isinstance(error, BrokenPipeError):
                raise
            raise CommandError(f"cannot write to standard output: {error.strerror or error}") from error

    def _silence(self) -> None:
        """Lets the rest go nowhere, or the flush at the end of the process fails as well."""
        with suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def checked_output() -> Iterator[None]:
    """Within it, standard output says why it cannot be written; at its end all is written.

    A process may also be started without one, as by ``>&-`` in a shell. Then nothing is written.

    Raises:
        CommandError: It cannot be written: the disk behind it is full.
        BrokenPipeError: Whoever read it went away.
    """
    before = sys.stdout
    with open(os.devnull, "w") if before is None else nullcontext(before) as stream:
        sys.stdout = cast(TextIO, _Output(stream))
        try:
            yield
        finally:
            try:
                sys.stdout.flush()
            finally:
                sys.stdout = before
