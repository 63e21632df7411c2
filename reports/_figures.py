"""The figures of a report: quality against cost, seeds filtered, scenes one by one, and how far metrics agree."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from realbench.agreement import Agreement, Matrix, agreement
from realbench.costs import Cost, costs
from realbench.filtering import Filtering, filtering
from realbench.records import ColumnInfo
from realbench.tables import Entry, SceneTable, Tables

from ._plot import INK, LINE, PAPER, QUIET, SERIES, Draw, drawn, look, name_points, short, spread
from ._site import Site
from ._text import heading, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "figures"
METRICS = 2
"""So many metrics, the leaderboard's first, have figures of their own."""
SIDE = 6.2
"""Width in inches."""
_INCH = 96
"""CSS pixels."""
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Drawing:
    """A figure on the page."""

    title: str
    caption: str
    alt: str
    light: str
    """Path below the page's folder, or the picture itself as a data: address."""
    dark: str
    width: int
    height: int
    header: tuple[str, ...] = ()
    """Of the table that says the same in numbers; empty where another table of the page does."""
    lines: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class _Plan:
    """What is to be drawn."""

    name: str
    title: str
    caption: str
    alt: str
    size: tuple[float, float]
    draw: Draw
    header: tuple[str, ...] = ()
    lines: tuple[tuple[str, ...], ...] = ()


def figures(site: Site, tables: Tables) -> list[Drawing]:
    """Draw what the results give reason to draw, and write it, light and dark, below the page's folder."""
    return [_drawing(site, plan) for plan in _Figures(site, tables).plans()]


def _drawing(site: Site, plan: _Plan) -> Drawing:
    pictures = drawn(plan.size, plan.draw)
    names = [f"{FOLDER}/{plan.name}-{tone}.svg" for tone in ("light", "dark")]
    if site.embed:
        names = [f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
    else:
        site.write(dict(zip(names, pictures, strict=True)))
    width, height = (round(side * _INCH) for side in plan.size)
    light, dark = names
    return Drawing(plan.title, plan.caption, plan.alt, light, dark, width, height, plan.header, plan.lines)


@dataclass
class _Figures:
    """Plans of all figures of one set of tables."""

    site: Site
    tables: Tables
    labels: list[str] = field(init=False)
    """Rows that are no oracles, in the leaderboard's order."""
    names: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        rows = self.tables.leaderboard.rows
        self.labels = [row.label for row in rows if not row.info.oracle]
        self.names = {row.label: short(self.site.text(row.label)) for row in rows}

    def plans(self) -> Iterator[_Plan]:
        """Those that have something to show."""
        yield from self.costs()
        for at, table in enumerate(self.tables.per_scene[:METRICS]):
            yield from self.scenes(at, table)
        found = filtering(self.site.results)
        if found is not None and found.by is not None:
            yield self.filtered(found)
        agreed = agreement(self.site.results)
        if len(agreed.columns) > 1 and any(value is not None for line in _apart(agreed.by_fills) for value in line):
            yield self.agreed(agreed)

    def look(self, label: str) -> tuple[str, str]:
        return look(self.labels.index(label))

    def entries(self, at: int) -> dict[str, Entry]:
        """Rows with a finite mean under a metric."""
        rows = {row.label: row.entries[at] for row in self.tables.leaderboard.rows if row.label in self.labels}
        return {label: entry for label, entry in rows.items() if entry.mean is not None and math.isfinite(entry.mean)}

    def costs(self) -> Iterator[_Plan]:
        """The first metric against seconds, and against memory."""
        info, found = self.tables.leaderboard.columns[0].info, costs(self.site.results)
        entries = {label: entry for label, entry in self.entries(0).items() if found[label].fill_seconds}
        if not entries:
            return
        header = ("Row", f"{info.title}", "Fit, s a scene", "Fill, s each", "Peak memory", "on the device")
        lines = tuple(self.cost_line(label, entry, found[label], info) for label, entry in entries.items())
        seconds = {label: (found[label].fit_seconds or 0) + (found[label].fill_seconds or 0) for label in entries}
        memory = {label: bytes_ / _MEBIBYTE for label in entries if (bytes_ := found[label].device_bytes or found[label].host_bytes)}
        shared = f"{heading(info)}, mean and 95 % interval over scenes; up is better. Times and memory are of the machine that ran it."
        title = f"{info.title} against time"
        axis = "seconds for one fit and one fill (log scale)"
        alt = f"Scatter plot of {len(entries)} rows: {info.title} against the seconds of one fit and one fill. In numbers: the table below."
        yield _Plan("cost-time", title, shared, alt, (SIDE, 3.8), self.scatter(entries, seconds, info, axis), header=header, lines=lines)
        if memory:
            title, axis = f"{info.title} against memory", "peak memory in MiB: the device's where it has one (log scale)"
            alt = f"Scatter plot of {len(memory)} rows: {info.title} against peak memory. In numbers: the table before."
            yield _Plan("cost-memory", title, shared, alt, (SIDE, 3.8), self.scatter(entries, memory, info, axis))

    def cost_line(self, label: str, entry: Entry, cost: Cost, info: ColumnInfo) -> tuple[str, ...]:
        times = (cost.fit_seconds, cost.fill_seconds)
        peaks = (cost.host_bytes, cost.device_bytes)
        value = "–" if entry.mean is None else number(entry.mean, info.mean_digits)
        return (self.names[label], value, *map(_seconds, times), *map(_mebibytes, peaks))

    def scatter(self, entries: Mapping[str, Entry], across: Mapping[str, float], info: ColumnInfo, axis: str) -> Draw:
        def draw(figure: Figure) -> None:
            axes = figure.subplots()
            spread(axes, list(across.values()))
            points = []
            for label in across:
                colour, marker = self.look(label)
                mean, ends = entries[label].mean or 0.0, entries[label].interval
                if ends is not None and all(map(math.isfinite, ends)):
                    axes.plot([across[label]] * 2, ends, color=colour, linewidth=1.4, alpha=0.55)
                axes.plot(across[label], mean, marker, color=colour, markeredgecolor=PAPER, markeredgewidth=0.8)
                points.append((across[label], mean, self.names[label], colour))
            axes.margins(y=0.1)
            _finish(axes, axis, heading(info), info.direction == "lower")
            name_points(figure, axes, points)

        return draw

    def scenes(self, at: int, table: SceneTable) -> Iterator[_Plan]:
        """Every row on every scene under one metric."""
        kept = [number for number in range(len(table.scenes)) if any(_finite(table, label, number) for label in self.labels)]
        if not kept:
            return
        caption = (
            f"{heading(table.info)}; a bar is the 95 % interval over a row's fills of the scene, where it has several. "
            "The numbers are in Scene by scene."
        )
        alt = f"Dot plot of {len(self.labels)} rows on {len(kept)} scenes under {table.info.title}. In numbers: Scene by scene."
        size = (SIDE, 1.1 + max(0.3, 0.09 * len(self.labels)) * len(kept))
        yield _Plan(f"scenes-{at + 1}", f"{table.info.title} scene by scene", caption, alt, size, self.dots(table, kept))

    def dots(self, table: SceneTable, kept: Sequence[int]) -> Draw:
        def draw(figure: Figure) -> None:
            axes = figure.subplots()
            step = 0.7 / max(len(self.labels), 2)
            style: Any = {"markeredgecolor": PAPER, "markeredgewidth": 0.7, "linestyle": "none"}
            for index, label in enumerate(self.labels):
                colour, marker = self.look(label)
                rises = [row + (index - (len(self.labels) - 1) / 2) * step for row in range(len(kept))]
                shown = [(_finite(table, label, at), rise, table.rows[label][at].interval) for at, rise in zip(kept, rises, strict=True)]
                for value, rise, ends in shown:
                    if value is not None and ends is not None and all(map(math.isfinite, ends)):
                        axes.plot(ends, [rise, rise], color=colour, linewidth=1.4, alpha=0.55)
                dots = [(value, rise) for value, rise, _ in shown if value is not None]
                axes.plot([x for x, _ in dots], [y for _, y in dots], marker, color=colour, label=self.names[label], **style)
            axes.set_yticks(range(len(kept)), [short(self.site.text(table.scenes[at])) for at in kept])
            axes.set_ylim(len(kept) - 0.5, -0.5)
            _finish(axes, heading(table.info), "", False)
            axes.tick_params(axis="y", labelcolor=INK)
            figure.legend(loc="outside upper center", ncols=min(4, len(self.labels)), handletextpad=0.1, columnspacing=1.4)

        return draw

    def filtered(self, found: Filtering) -> _Plan:
        """Each row's mean with ever more seeds dropped, under the first metrics."""
        infos = [column.info for column in found.columns[:METRICS]]
        caption = (
            "Mean over the seeds that are kept, with its 95 % interval over scenes; seeds are ranked by correspondences, never by "
            "the ground truth. The numbers are in Seeds filtered by correspondences."
        )
        titles = " and ".join(info.title for info in infos)
        alt = f"Line plot of {titles} with 0, 25, 50 and 75 % of the seeds dropped, for {len(found.rows)} rows. In numbers: see the table."

        def draw(figure: Figure) -> None:
            for at, axes in enumerate(figure.subplots(1, len(infos), squeeze=False)[0]):
                self.curve(axes, found, at)
            handles, names = axes.get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(names)), handletextpad=0.4, columnspacing=1.4)

        return _Plan("filtering", "Seeds filtered by correspondences", caption, alt, (SIDE, 3.6), draw)

    def curve(self, axes: Axes, found: Filtering, at: int) -> None:
        info = found.columns[at].info
        for label, lines in found.rows.items():
            colour, marker = self.look(label)
            steps = [(line.dropped, line.steps[at].entry) for line in lines]
            known = [(x, entry.mean, entry.interval) for x, entry in steps if entry.mean is not None and math.isfinite(entry.mean)]
            axes.plot([x for x, _, _ in known], [y for _, y, _ in known], marker=marker, color=colour, label=self.names[label])
            banded = [(x, *ends) for x, _, ends in known if ends is not None and all(map(math.isfinite, ends))]
            if banded:
                across, low, high = zip(*banded, strict=True)
                axes.fill_between(across, low, high, color=colour, alpha=0.1, linewidth=0)
        axes.set_xticks([0, 25, 50, 75])
        _finish(axes, "% of the seeds dropped", heading(info), info.direction == "lower")

    def agreed(self, found: Agreement) -> _Plan:
        """Kendall's tau between metrics, over rows and over fills."""
        names = [self.metric_name(found.columns, at) for at in range(len(found.columns))]
        caption = (
            "Kendall's τ between metrics, each taken in its own direction: 1 is the same order, −1 the reverse. "
            f"Below the diagonal: of the means of up to {found.rows} rows. Above it: of all fills of a scene, averaged over scenes."
        )
        alt = f"Two heat maps of the rank correlation of {len(names)} metrics. In numbers: the table below."
        header = ("Metrics", "by rows", "by fills")
        pairs = [(one, other) for one in range(len(names)) for other in range(one + 1, len(names))]
        lines = tuple((f"{names[a]}, {names[b]}", _tau(found.by_rows[a][b]), _tau(found.by_fills[a][b])) for a, b in pairs)

        def draw(figure: Figure) -> None:
            _heat(figure.subplots(), found, names)

        side = min(SIDE, 1.2 + 0.5 * len(names))
        return _Plan("agreement", "Do the metrics agree?", caption, alt, (SIDE, side), draw, header=header, lines=lines)

    def metric_name(self, columns: Sequence[ColumnInfo], at: int) -> str:
        """A metric's title, with its number where another has the same."""
        same = [info.title for info in columns].count(columns[at].title) > 1
        return short(self.site.text(columns[at].title)) + (f" [{at + 1}]" if same else "")


def _finish(axes: Axes, across: str, up: str, invert: bool) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.tick_params(length=0)
    if invert:
        axes.invert_yaxis()


def _heat(axes: Axes, found: Agreement, names: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    size = len(names)
    for row, column in ((row, column) for row in range(size) for column in range(size) if row != column):
        value = (found.by_rows if row > column else found.by_fills)[row][column]
        colour, share = (LINE, 0.25) if value is None else (SERIES[0 if value >= 0 else 1], abs(value) * 0.75)
        axes.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=colour, alpha=share, linewidth=0))
        axes.text(column + 0.47, row + 0.5, _tau(value), ha="center", va="center", fontsize=9, color=INK)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal")
    axes.set_xticks([at + 0.47 for at in range(size)], names, rotation=40, ha="right")
    axes.set_yticks([at + 0.47 for at in range(size)], names)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=QUIET)


def _finite(table: SceneTable, label: str, at: int) -> float | None:
    value = table.rows[label][at].value
    return value if value is not None and math.isfinite(value) else None


def _apart(matrix: Matrix) -> list[list[float | None]]:
    """Without the diagonal."""
    return [[value for column, value in enumerate(line) if column != row] for row, line in enumerate(matrix)]


def _tau(value: float | None) -> str:
    return "–" if value is None else number(value, 2).replace("-", "−")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _mebibytes(value: Any) -> str:
    return "–" if value is None else f"{value / _MEBIBYTE:,.0f} MiB"
