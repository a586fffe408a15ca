"""The option ``--threads``."""

from __future__ import annotations

from capsroute.cli.errors import CommandError

__all__ = ["set_threads"]


def set_threads(threads: int | None) -> None:
    """Sets the CPU threads of torch; None leaves them.

    Raises:
        CommandError: Less than 1.
    """
    import torch

    if threads is None:
        return
    if threads < 1:
        raise CommandError(f"threads must be at least 1, got {threads}")
    torch.set_num_threads(threads)
