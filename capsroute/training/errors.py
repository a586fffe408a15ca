"""What can go wrong for reasons that are the user's to mend."""

__all__ = ["TrainingError"]


class TrainingError(Exception):
    """A training run that cannot start or go on; the message is one sentence for the user."""
