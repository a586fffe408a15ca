"""What can be wrong with an image that someone wants classified."""

__all__ = ["ImageError"]


class ImageError(ValueError):
    """An image that cannot be read or does not fit the network; the message is one sentence that names the file."""
