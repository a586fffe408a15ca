"""What the figures of all benchmarks share: panels side by side, and the bars of who is how much faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from capsroute.training.paths import AnyPath, as_path

from .contenders import OURS, Timed, fastest, ratio

FAMILIES = (OURS, "compile", "eager")  # in the order of their colours
PEERS = ("eager", "compile")
_WIDTH = 5.5  # of a panel, in inches

T = TypeVar("T")
Fill = Callable[[Any, T], bool]  # draws into axes; False if there was nothing to draw


def save(path: AnyPath, panels: Mapping[str, T], fills: Sequence[Fill[T]], height: float, note: str = "") -> None:
    """Write a PNG with a column for each of ``panels`` and a row for each of ``fills``; none if nothing is to be seen.

    Args:
        path: The file.
        panels: What each column shows, by its title.
        fills: What draws it into each row.
        height: Of the figure in inches.
        note: Small print below.
    """
    path = as_path("path", path)
    from matplotlib.figure import Figure  # without pyplot: no window, no state

    figure = Figure(figsize=(_WIDTH * len(panels), height), layout="constrained")
    shown = False
    for fill, row in zip(fills, figure.subplots(len(fills), len(panels), squeeze=False), strict=True):
        for axes, (title, data) in zip(row, panels.items(), strict=True):
            shown |= fill(axes, data)
            axes.set_title(title)
            axes.grid(alpha=0.3)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize="small")
    if note:
        figure.supxlabel(note, fontsize="x-small")
    if shown:
        figure.savefig(path, dpi=120)


def colour(family: str) -> str:
    """The same one in every figure."""
    return f"C{FAMILIES.index(family)}"


def ours(rows: Iterable[Timed]) -> Timed | None:
    """The row of the package itself; None without one."""
    return next((row for row in rows if row.contender == OURS), None)


def draw_speedups(axes: Any, shapes: Mapping[str, Sequence[Timed]]) -> bool:
    """Bars by shape: how many times longer the fastest peers take; to the left where they are faster."""
    found = False
    for k, family in enumerate(PEERS):
        ratios = [ratio(fastest(rows, family), ours(rows)) for rows in shapes.values()]
        bars = [(place + 0.4 * k - 0.2, value - 1) for place, value in enumerate(ratios) if value is not None]
        if bars:
            places, lengths = zip(*bars, strict=True)
            axes.barh(places, lengths, left=1.0, height=0.4, label=f"against {family}", color=colour(family))
            found = True
    name_bars(axes, shapes)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    write_numbers(axes.xaxis)
    axes.set_xlabel("times faster")
    return found


def name_bars(axes: Any, names: Iterable[str]) -> None:
    """Write names beside groups of bars, from the top."""
    names = list(names)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def write_numbers(axis: Any) -> None:
    """Write plain numbers on a logarithmic axis, which would have powers of ten, at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
