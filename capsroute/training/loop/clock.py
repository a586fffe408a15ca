"""The speed of a training."""

from time import perf_counter

__all__ = ["Clock"]


class Clock:
    """Images per second, in total and since they were last asked for."""

    def __init__(self) -> None:
        self._began = self._asked = self._last = perf_counter()
        self._images = self._recent = 0

    def count(self, images: int) -> None:
        """A step on so many images has ended."""
        self._images += images
        self._recent += images
        self._last = perf_counter()

    def total_rate(self) -> float:
        """Images per second up to the last step; 0 where none was counted."""
        if self._images == 0:  # resumed after the last step of an epoch
            return 0.0
        return self._images / (self._last - self._began)

    def recent_rate(self) -> float:
        """Images per second since this was last asked."""
        now = perf_counter()
        rate = self._recent / (now - self._asked)
        self._asked, self._recent = now, 0
        return rate
