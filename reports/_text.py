"""Words and numbers as the reports print them: one line, nothing invisible, no path into somebody's home."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from realbench.filtering import Step
from realbench.groups import TITLES, group
from realbench.records import ColumnInfo
from realbench.redaction import redact as redact
from realbench.redaction import redactions as redactions
from realbench.tables import Entry, Missing, TableColumn, TableRow
from realbench.text import RANK_DIGITS as RANK_DIGITS
from realbench.text import number as number
from realbench.text import p_value as p_value
from realbench.text import signed as signed

ARROWS = {"higher": "↑", "lower": "↓"}
BETTER = {"higher": "higher is better", "lower": "lower is better"}


def plain(text: str) -> str:
    """Text on one line, with control and other invisible characters spelt out."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def heading(info: ColumnInfo) -> str:
    """A metric's title, unit and direction."""
    unit = f" ({info.unit})" if info.unit and info.unit.casefold() != info.title.casefold() else ""
    return f"{info.title}{unit} {ARROWS[info.direction]}"


def heading_below(info: ColumnInfo) -> tuple[str, str, str]:
    """The heading in a table whose columns stand below the titles of their groups: the metric, what the group says already (empty where it
    says nothing of it), then unit and direction.
    """
    said = f", {TITLES[group(info)]}".casefold()
    at = len(info.title) - len(said) if info.title.casefold().endswith(said) else len(info.title)
    return info.title[:at], info.title[at:], heading(info)[len(info.title) :]


def numbered(column: TableColumn, number: int, text: Callable[[str], str] = str) -> str:
    """A Markdown heading with the number that leads to the signature, and a mark where scores were made on different devices."""
    mark = " *(mixed devices)*" if len(column.devices) > 1 else ""
    return f"{text(heading(column.info))} <sup>{number}</sup>{mark}"


def span(entry: Entry, digits: int) -> str:
    """A row's interval; empty where there is none."""
    return _span(entry.interval, digits)


def mean_rank(row: TableRow) -> str:
    """A row's mean rank; a dash where it has none."""
    return "–" if row.mean_rank is None else number(row.mean_rank, RANK_DIGITS)


def mean_rank_span(row: TableRow) -> str:
    """Its interval; empty where there is none."""
    return _span(row.mean_rank_interval, RANK_DIGITS)


def _span(ends: tuple[float, float] | None, digits: int) -> str:
    return "" if ends is None else f"[{number(ends[0], digits)}, {number(ends[1], digits)}]"


def change(step: Step, digits: int) -> list[str]:
    """How a filtered mean differs from that of all seeds, then its interval; empty where there is no difference to tell."""
    if step.change is None:
        return []
    ends = [] if step.interval is None else [f"[{signed(step.interval[0], digits)}, {signed(step.interval[1], digits)}]"]
    return [f"Δ {signed(step.change, digits)}", *ends]


def coverage(entry: Entry, of: int) -> str:
    """Scenes with a score, and fills where these are not in the same proportion."""
    same = entry.fills == entry.asked or entry.fills * of == entry.scenes * entry.asked
    return f"{entry.scenes} of {of} scenes" + ("" if same else f", {entry.fills} of {entry.asked} fills")


def place(entry: Entry, column: TableColumn) -> str:
    """A rank, and the mean it rests on where that is over fewer scenes than the one shown; empty without a rank."""
    if entry.rank is None or entry.common is None:
        return ""
    fewer = entry.scenes != len(column.common)
    return f"rank {entry.rank}" + (f" by {number(entry.common, column.info.mean_digits)} on {len(column.common)} scenes" if fewer else "")


def missing_text(missing: Iterable[Missing]) -> str:
    """What is missing, by state, each with its first reason."""
    return "; ".join(f"{item.count} × {item.state}" + (f": {item.reason}" if item.reason else "") for item in missing)


def repeats(row: TableRow) -> str:
    """How often a row was asked to fit and fill each scene."""
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((row.fits, "fit"), (row.seeds, "seed")))


def byname(row: TableRow) -> str:
    """The method's title, where the row's label does not begin with it anyway (`mean-color`: Mean color)."""
    label, title = ("".join(filter(str.isalnum, text)).casefold() for text in (row.label, row.info.title))
    return "" if label.startswith(title) else row.info.title


def own_settings(row: TableRow) -> str:
    """The settings that were given for a row, beside its preset's."""
    return ", ".join(str(item) for item in row.settings if not item.preset)


def settings(row: TableRow) -> str:
    """All settings that differ from the method's defaults, in one phrase; empty where none does."""
    own, preset = own_settings(row), ", ".join(str(item) for item in row.settings if item.preset)
    parts = [f"settings {own}" if own else "", f"by its preset {preset}" if preset else ""]
    return "; ".join(filter(None, parts))


@dataclass
class Notes:
    """Numbered footnotes; the same text gets the same number."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        """The number of a note, from 1."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1
