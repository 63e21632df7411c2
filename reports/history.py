"""history.md, history.csv and a drawing of each metric: scores over commits, and where they changed their level."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from realbench.errors import UsageError
from realbench.history import History as Measured
from realbench.history import Series
from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic

from ._history import drawing
from ._seeds import code, line
from ._text import BETTER, number, redact, redactions, signed
from .markdown import escape

if TYPE_CHECKING:
    import pandas as pd

FIELDS = (
    "label", "metric", "signature", "commit", "changed", "when", "run", "mean", "low", "high", "change", "step", "scenes", "marks"
)  # fmt: skip
ALT = "The means of each row, point by point. In numbers: the tables below."
TONES = ("light", "dark")


class History:
    """What `realbench history` writes; other commands have no history to show."""

    card: ClassVar[ReportCard] = ReportCard(
        "history", "scores over commits: Markdown, CSV, a drawing a metric", on_request=True,
        needs="commits: `realbench history RUN… -o DIR` writes it",
    )  # fmt: skip

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write history.md, history.csv, and `history-<metric>-light.svg` and `-dark.svg`; Raises UsageError without a history."""
        if results.history is None:
            raise UsageError("the report history shows scores over commits: `realbench history RUN… -o DIR` writes it")
        pages = _Page(results.history, results)
        files = {folder / "history.md": "\n".join(pages.lines()).encode() + b"\n"}
        files[folder / "history.csv"] = frame(results.history).to_csv(index=False, lineterminator="\n").encode()
        for name, group in pages.groups.items():
            for tone, picture in zip(TONES, drawing(results.history.points, group, pages.plain), strict=True):
                files[folder / f"{name}-{tone}.svg"] = picture
        write_atomic(files)
        return [*files]


def frame(history: Measured) -> pd.DataFrame:
    """One line a point of a series, columns as FIELDS; `step` is the size of the step that begins there."""
    import pandas as pd

    lines = [
        [
            series.label, series.metric.metric, series.signature, entry.point.commit, entry.point.changed, entry.point.when.isoformat(),
            entry.point.name, entry.mean, *(entry.interval or (None, None)), entry.change, entry.step.size if entry.step else None,
            len(series.scenes), "; ".join(entry.marks),
        ]
        for series in history.series
        for entry in series.entries
    ]  # fmt: skip
    return pd.DataFrame(lines, columns=list(FIELDS))


class _Page:
    """The page of one history."""

    def __init__(self, history: Measured, results: Results) -> None:
        self.history = history
        self.pairs = redactions(results)
        self.groups: dict[str, list[Series]] = {}
        """The series of one signature, by the name of their drawing."""
        names: dict[str, str] = {}
        for series in history.series:
            name = names.setdefault(series.signature, _free(series.metric.metric, {*names.values()}))
            self.groups.setdefault(name, []).append(series)

    def plain(self, text: str) -> str:
        """A text without folders of this machine; not escaped."""
        return redact(text, self.pairs)

    def text(self, text: str) -> str:
        """A text, escaped."""
        return escape(self.plain(text))

    def lines(self) -> Iterator[str]:
        """The page, line by line."""
        yield from ("# History", "")
        for series in self.history.series:
            yield from (
                f"- **{self.text(series.label)}**, {self.text(f'{series.metric.title}: {series.words(one)}')}" for one in series.steps
            )
        yield from (f"- {self.text(note)}" for note in self.history.notes)
        yield from ([f"- {self.text(self.history.chance)}"] if self.history.chance else [])
        for name, group in self.groups.items():
            yield from ("", *self.metric(name, group))

    def metric(self, name: str, group: list[Series]) -> Iterator[str]:
        """All rows under one metric."""
        metric = group[0].metric
        yield from (f"## {self.text(metric.title)}{self.unit(group[0])}", "")
        yield from (f"{code(group[0].signature)}, {BETTER[metric.direction]}.", "")
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="{name}-dark.svg">'
        yield f'<picture>{dark}<img alt="{ALT}" src="{name}-light.svg"></picture>'
        for series in group:
            yield from ("", f"### {self.text(series.label)}", "")
            yield from self.series(series)

    def unit(self, series: Series) -> str:
        return f" ({self.text(series.metric.unit)})" if series.metric.unit else ""

    def series(self, series: Series) -> Iterator[str]:
        """One row under one metric."""
        yield line(["commit", "date", "run", "mean", "95 %", "change", ""])
        yield line([":--", ":--", ":--", "--:", "--:", "--:", ":--"])
        for entry in series.entries:
            point, digits = entry.point, series.digits
            span = "–" if entry.interval is None else " to ".join(number(end, digits) for end in entry.interval)
            mean = "–" if entry.mean is None else number(entry.mean, digits)
            change = "–" if entry.change is None else signed(entry.change, digits)
            words = self.text(series.words(entry))
            commit = self.text(point.title) if point.commit else "–"
            yield line([commit, point.day, self.text(point.name), mean, span, change, f"**{words}**" if entry.step else words])
        yield ""
        scenes = ", ".join(self.text(scene) for scene in series.scenes) or "none"
        yield f"Means over {len(series.scenes)} scenes that all points share: {scenes}."
        yield from (f"\nLeft out: {self.text(scene)}: {self.text(reason)}." for scene, reason in series.left_out.items())
        yield from ([f"\n{self.text(series.note)}."] if series.note else [])


def _free(metric: str, taken: set[str]) -> str:
    """A file name of the letters that every file system knows, with a number where it is taken."""
    slug = "history-" + (re.sub(r"[^A-Za-z0-9]+", "-", metric).strip("-")[:60].lower() or "metric")
    return next(name for at in range(1, len(taken) + 2) if (name := slug if at == 1 else f"{slug}-{at}") not in taken)
