"""The one way in which a command fails for the user's reasons."""

__all__ = ["CommandError"]


class CommandError(Exception):
    """Ends the command with exit status 2; the message is one sentence for standard error."""
