"""The figure of the experiment on routing."""

from __future__ import annotations

import pytest

from capsroute.experiments import routing_figure
from capsroute.experiments.record import Record
from capsroute.training.reporting.figures import new_figure

NAMES = [
    *(f"T = {count}" for count in range(1, 6)),
    "T = 3, gradient of the last iteration",
    "T = 3, softmax over inputs",
]


def record():
    """Of two seeds that differ so much that error bars are all over the panels."""
    seeds = [
        {
            "accuracy": {name: 0.9 + 0.05 * sign * (number + 1) / len(NAMES) for number, name in enumerate(NAMES)},
            "coupling": {f"T = {t}": {"entropy": [0.5 + 0.1 * sign * k for k in range(t)]} for t in range(1, 6)},
        }
        for sign in (-1, 1)
    ]
    return Record("routing", {}, {}, 1.0, seeds)


@pytest.mark.parametrize("draw", [routing_figure._accuracy, routing_figure._entropy])
def test_no_legend_covers_what_it_explains(draw):
    figure = new_figure(3, 3)
    axes = figure.subplots()
    draw(axes, record())
    figure.canvas.draw()
    panel, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
    assert legend.y0 >= panel.y1
    assert figure.bbox.y1 >= legend.y1
    assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
