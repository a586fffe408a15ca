"""How a batch is divided, among ranks and into the parts that fit into memory."""

from itertools import pairwise

__all__ = ["divided"]


def divided(count: int, parts: int) -> list[slice]:
    """Consecutive slices of ``range(count)`` that differ in length by at most one; the first are the longer ones.

    Args:
        count: Number of elements.
        parts: Number of slices; where there are fewer elements, the last slices are empty.
    """
    length, longer = divmod(count, parts)
    starts = [part * length + min(part, longer) for part in range(parts + 1)]
    return [slice(*ends) for ends in pairwise(starts)]
