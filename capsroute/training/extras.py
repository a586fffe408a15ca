"""Optional packages, and the sentence that a user reads when one is missing."""

from importlib import import_module
from types import ModuleType

from capsroute.training.errors import TrainingError

__all__ = ["require"]


def require(module: str, purpose: str) -> ModuleType:
    """A module of the ``train`` extra, imported; ``purpose`` is what needs it, the subject of the error message.

    Raises:
        TrainingError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise TrainingError(
            f'{purpose} needs the module {missing}, which is not installed: pip install "capsroute[train]"'
        ) from error
