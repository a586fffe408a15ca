"""What the figures of the experiments share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from capsroute.experiments.context import NETWORKS
from capsroute.experiments.record import Spread

__all__ = ["band", "colour"]


def colour(network: str) -> str:
    """The same one for a network in every figure."""
    return f"C{list(NETWORKS).index(network)}"


def band(axes: Any, places: Sequence[float], values: Sequence[Spread], network: str, scale: float = 1.0) -> None:
    """A line of means with its spread over the seeds as a band, in the colour of a network.

    Args:
        axes: Matplotlib's.
        places: Along the x axis.
        values: One for each place.
        network: Name in :data:`~capsroute.experiments.context.NETWORKS`.
        scale: Factor on the values.
    """
    means = [scale * value.mean for value in values]
    low, high = ([scale * (v.mean + sign * v.deviation) for v in values] for sign in (-1, 1))
    axes.plot(places, means, "o-", color=colour(network), label=NETWORKS[network])
    axes.fill_between(places, low, high, color=colour(network), alpha=0.2, linewidth=0)
