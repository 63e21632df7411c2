"""The drawing of one metric over time: a panel a row, so that a small step of one is not lost beside another's level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from realbench.history import Entry, Series
from realbench.points import Point

from ._plot import INK, PAPER, QUIET, drawn, look, short
from ._text import ARROWS, plain, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL, FRAME = 6.8, 1.5, 0.9
"""Inches: the drawing's width, a panel's height, and that of what is not a panel."""
MOST_TICKS = 16
"""Commits that are named below the panels."""


def drawing(points: Sequence[Point], group: Sequence[Series], text: Callable[[str], str]) -> tuple[bytes, bytes]:
    """All rows under one metric as SVG, light and dark; `text` takes folders of this machine out of a text.

    Points stand at equal distances in the order of time. Intervals are not drawn: they tell how scenes differ, which all points share.
    """
    shown = [point for point in points if any(entry.point is point for series in group for entry in series.entries)]
    places = {id(point): at for at, point in enumerate(shown)}

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(group), 1, sharex=True, squeeze=False)[:, 0]
        for at, (axes, series) in enumerate(zip(panels, group, strict=True)):
            _panel(axes, series, [places[id(entry.point)] for entry in series.entries], at)
            axes.set_title(short(plain(text(series.label))), loc="left")
        every = max(1, math.ceil(len(shown) / MOST_TICKS))
        ticks = range((len(shown) - 1) % every, len(shown), every)
        panels[-1].set_xticks([*ticks], [short(plain(text(shown[at].title))) for at in ticks], rotation=40, ha="right")
        panels[-1].set_xlim(-0.6, len(shown) - 0.4)
        metric = group[0].metric
        figure.supylabel(
            f"{short(plain(metric.title))}{f' ({plain(metric.unit)})' if metric.unit else ''} {ARROWS[metric.direction]}", color=QUIET
        )

    return drawn((WIDTH, FRAME + PANEL * len(group)), draw)


def _panel(axes: Axes, series: Series, places: Sequence[int], number: int) -> None:
    """One row: its means, its levels, where they change, and where the class of device does."""
    colour, marker = look(number)
    known = [
        (at, entry.mean) for at, entry in zip(places, series.entries, strict=True) if entry.mean is not None and math.isfinite(entry.mean)
    ]
    axes.plot([at for at, _ in known], [mean for _, mean in known], marker, color=colour, markeredgecolor=PAPER, markeredgewidth=0.7)
    steps = [(at, entry) for at, entry in zip(places, series.entries, strict=True) if entry.step]
    if known:
        _levels(axes, known, steps, colour)
        low, high = (end(mean for _, mean in known) for end in (min, max))
        # Room about values that hardly differ: a rounding is no drama.
        room = max((high - low) / 4, 5 * 10.0**-series.digits)
        axes.set_ylim(low - room, high + room)
    axes.ticklabel_format(axis="y", useOffset=False)
    for at, entry in steps:
        axes.axvline(at - 0.5, color=INK, linewidth=1)
        _name(axes, at, 1, signed(entry.step.size, series.digits) if entry.step else "", INK)
    for at, entry in zip(places, series.entries, strict=True):
        moved = [mark for mark in entry.marks if mark.startswith("device ")]
        if moved:
            axes.axvline(at - 0.5, color=QUIET, linewidth=1, linestyle=":")
            _name(axes, at, 0, short(plain(moved[0])), QUIET)
    axes.tick_params(length=0)
    if series.metric.direction == "lower":
        axes.invert_yaxis()


def _name(axes: Axes, at: int, high: int, text: str, colour: str) -> None:
    """A word at the upper (1) or lower (0) end of the line before a point."""
    where, place = ("top", (3, -2)) if high else ("bottom", (3, 2))
    axes.annotate(
        text, (at - 0.5, high), place, xycoords=("data", "axes fraction"), textcoords="offset points", va=where, fontsize=8.5, color=colour
    )


def _levels(axes: Axes, known: Sequence[tuple[int, float]], steps: Sequence[tuple[int, Entry]], colour: str) -> None:
    """A line at each level."""
    bounds = [known[0][0] - 0.3, *(at - 0.5 for at, _ in steps), known[-1][0] + 0.3]
    for left, right in pairwise(bounds):
        inside = [mean for at, mean in known if left <= at <= right]
        if inside:
            level = sum(inside) / len(inside)
            axes.plot([left, right], [level, level], color=colour, linewidth=1.4, alpha=0.6)
