"""How figures look: one drawing in the page's light colours, and the same drawing in its dark ones. Imports matplotlib inside functions."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, LINE, PAPER = "#1c2024", "#5a636d", "#d9dde0", "#ffffff"
SERIES = ("#0072b2", "#b85000", "#007a5a", "#a84d87", "#806400", "#35749e", "#4a4f55", "#7a3e00")
"""Okabe and Ito's palette, darkened where it is too pale for a thin line; a row's marker tells it apart as well."""
DARK = {
    INK: "#e6e9ec", QUIET: "#9ca6b0", LINE: "#333a41", PAPER: "#1a1e22",
    "#0072b2": "#56b4e9", "#b85000": "#ff9a4d", "#007a5a": "#3fcf9f", "#a84d87": "#e79cc6",
    "#806400": "#e6c229", "#35749e": "#a7d8f5", "#4a4f55": "#c3c9cf", "#7a3e00": "#d9a06b",
}  # fmt: skip
MARKERS = "osD^vPX*"
ROOM = 8.0
"""The right end of a logarithmic axis is at least so many times its left end."""
LONGEST = 28
"""Characters of a label that are drawn."""
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"
_STYLE: Any = {
    "svg.hashsalt": "realbench", "svg.fonttype": "none", "text.parse_math": False, "font.size": 10, "axes.titlesize": 10.5,
    "axes.edgecolor": LINE, "axes.labelcolor": QUIET, "axes.titlecolor": INK, "text.color": INK, "xtick.color": LINE, "ytick.color": LINE,
    "xtick.labelcolor": QUIET, "ytick.labelcolor": QUIET, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.7,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "lines.markersize": 6.5, "figure.facecolor": "none",
    "axes.facecolor": "none", "legend.frameon": False, "legend.fontsize": 9.5,
}  # fmt: skip
Draw = Callable[["Figure"], None]


def drawn(size: tuple[float, float], draw: Draw) -> tuple[bytes, bytes]:
    """A figure of this size in inches as SVG, light and dark; the same drawing always gives the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's own font draws the texts; matplotlib's, which only measures them, lacks some of the world's letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    light = re.sub(r"'DejaVu Sans', [^;\"]+", _FONTS, buffer.getvalue().decode())
    dark = re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), light)
    return light.encode(), dark.encode()


def look(number: int) -> tuple[str, str]:
    """Colour and marker of the row with this number in the leaderboard, from 0."""
    return SERIES[number % len(SERIES)], MARKERS[(number + number // len(SERIES)) % len(MARKERS)]


def short(label: str) -> str:
    """A label that fits into a figure."""
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def spread(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis across for values above 0, with plain numbers, and room about values that hardly differ."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = min(values), max(values)
    room = max((high / low) ** 0.16, (ROOM / (high / low)) ** 0.5)
    axes.set_xlim(low / room, high * room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def name_points(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each point's name beside it in its colour, where it covers neither a point nor another name."""
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    at = [tuple(axes.transData.transform((x, y))) for x, y, *_ in points]
    taken = [(x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale) for x, y in at]
    inside = axes.get_window_extent()
    for (x, y), (left, up, text, colour) in zip(at, points, strict=True):
        width, height = 5.4 * len(text) * scale, 11 * scale
        boxes = [_beside(x, y, width, height, scale, right, rise) for rise in (0, 1, -1, 2, -2) for right in (True, False)]
        fits = (box for box in boxes if box[0] >= inside.x0 and box[2] <= inside.x1 + 30 * scale and not _covers(box, taken))
        box = next(fits, boxes[0])
        taken.append(box)
        place = ((box[0] - x) / scale, (box[1] - y) / scale)
        axes.annotate(text, (left, up), place, textcoords="offset points", fontsize=9, color=colour, annotation_clip=False)


def _beside(x: float, y: float, width: float, height: float, scale: float, right: bool, rise: int) -> tuple[float, float, float, float]:
    left = x + 8 * scale if right else x - 8 * scale - width
    low = y - height / 3 + rise * height
    return left, low, left + width, low + height


def _covers(box: tuple[float, float, float, float], taken: Iterable[tuple[float, float, float, float]]) -> bool:
    return any(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken)
