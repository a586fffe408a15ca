"""What a user reads where ``torch.compile`` fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from capsroute.training.errors import TrainingError

__all__ = ["compiler_errors_named"]


@contextmanager
def compiler_errors_named() -> Iterator[None]:
    """Turns an error of the compiler, which comes with the first step, into one sentence.

    Raises:
        TrainingError: ``torch.compile`` could not compile the network.
    """
    try:
        yield
    except Exception as error:
        dynamo = sys.modules.get("torch._dynamo.exc")  # importing it takes seconds, which only its users shall pay
        if dynamo is None or not isinstance(error, dynamo.TorchDynamoException):
            raise
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise TrainingError(
            f"torch.compile cannot compile the network ({reason}): install what it asks for, or leave --compile out"
        ) from error
