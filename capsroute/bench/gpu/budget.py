"""How long a run may take, and whether something can still be begun."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Budget:
    """Time from now on.

    Args:
        seconds: How much there is.
        clock: Seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._start = clock()
        self._longest: dict[str, float] = {}

    def spent(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def allows(self, kind: str, share: float = 1.0) -> bool:
        """Whether work that takes as long as the longest of its kind so far ends within a share of the budget."""
        return self.spent() + self._longest.get(kind, 0.0) < share * self.seconds

    @contextlib.contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """Context of one piece of work, whose duration is kept."""
        start = self.spent()
        try:
            yield
        finally:
            self._longest[kind] = max(self._longest.get(kind, 0.0), self.spent() - start)
