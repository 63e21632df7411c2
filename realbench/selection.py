"""Which seeds count: all of them (the paper's mean), those with most matches, or, as an oracle, those that score best.

Seeds are ranked by a score that needs no truth, and apart for each row, scene and fit. Never imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, get_args

from realbench.errors import UsageError
from realbench.metric import Direction
from realbench.records import ColumnInfo

if TYPE_CHECKING:
    import pandas as pd

Reducer = Literal["mean", "selected", "oracle"]
MATCHES = "matches"
"""The metric that selects where none is named."""
KEEP = Fraction(1, 4)
"""The share that `selected` keeps where none is given: the paper's strongest filter."""
BEST_ONE = Fraction(0)
"""A share so small that one seed is left; `oracle` keeps it where none is given."""
GROUP = ["label", "scene", "fit"]
"""Seeds compete with those of the same row, scene and fit alone."""
CELL = [*GROUP, "seed"]


@dataclass(frozen=True)
class Policy:
    """How the seeds of one row, scene and fit become one value."""

    reducer: Reducer = "mean"
    keep: Fraction = Fraction(1)
    """Share of the seeds asked for that counts, 0–1; rounded up to whole seeds, and at least one."""
    by: str = ""
    """Signature of the metric that selects; empty: the run's only `matches`."""

    @property
    def percent(self) -> str:
        """The share kept, as a text."""
        return "the best seed" if self.keep == BEST_ONE else f"{float(100 * self.keep):g} % of the seeds"

    def describe(self, by: ColumnInfo | None = None, columns: Iterable[ColumnInfo] = ()) -> str:
        """One phrase for a reader; `by` is the metric that selects, one of the columns. Its title names it, since its signature is long and
        listed once; where another column has that title, what they differ in stands behind it.
        """
        if self.reducer == "mean":
            return "all seeds"
        if self.reducer == "oracle":
            return f"oracle: {self.percent} by each metric itself, which no user can choose without the truth"
        words = {"higher": "most", "lower": "least"}
        what = f"{words[by.direction]} {_named(by, columns)}" if by else "most matches"
        return f"selected: {self.percent} with {what}"


def policy(reducer: str | None, keep: str | None, by: str | None, columns: Mapping[str, ColumnInfo]) -> Policy:
    """What `--reduce`, `--keep` and `--by` ask for. Raises UsageError for what contradicts itself or does not exist."""
    named = reducer or ("selected" if keep else "mean")
    if named not in get_args(Reducer):
        raise UsageError(f"--reduce {named!r}: expected one of {', '.join(get_args(Reducer))}")
    if named == "mean":
        if keep:
            raise UsageError("--keep drops seeds and --reduce mean takes all; give one of them")
        return Policy(by=choose(columns, by).signature if by else "")
    share = parse_keep(keep) if keep else KEEP if named == "selected" else BEST_ONE
    if named == "oracle":
        return Policy("oracle", share, choose(columns, by).signature if by else "")
    return Policy("selected", share, choose(columns, by).signature)


def parse_keep(text: str) -> Fraction:
    """`25%` or `25` means a quarter, `12.5%` an eighth. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?(%?)", text.strip())
    share = Fraction(match[1]) / 100 if match else Fraction(0)
    if match is None or not 0 < share <= 1:
        raise UsageError(f"--keep {text!r}: expected the share of seeds to keep, above 0 % and up to 100 %, for example 25%")
    if share < Fraction(1, 100) and not match[2]:
        raise UsageError(f"--keep {text!r}: expected a percentage; for a share of {text} write {float(Fraction(match[1]) * 100):g}%")
    return share


def choose(columns: Mapping[str, ColumnInfo], wanted: str | None = None) -> ColumnInfo:
    """The metric that selects: `NAME`, `NAME:key=value,…` or a signature; by default the only `matches`.

    Raises UsageError, which lists the candidates, where there is none or more than one, and for a metric that reads the truth.
    """
    if wanted is not None and wanted in columns:
        found = [columns[wanted]]
    else:
        name, _, options = (wanted or MATCHES).partition(":")
        settings = [option.partition("=")[::2] for option in options.split(",") if option]
        found = [info for info in columns.values() if info.metric == name and all(_has(info, *setting) for setting in settings)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} metrics of this run could select seeds; choose one with --by SIGNATURE:{_listed(found)}")
    if not found:
        others = [info for info in columns.values() if "truth" not in info.reads]
        known = f"; metrics of this run that read no truth:{_listed(others)}" if others else ""
        what = f"no metric {wanted!r} in this run" if wanted else "this run has no matches to select seeds by"
        raise UsageError(f"{what}; add it with `realbench score RUN --metric {wanted or MATCHES}`{known}")
    if "truth" in found[0].reads:
        raise UsageError(f"--by {wanted}: {found[0].metric} reads the ground truth, so it must not select seeds; choose one that does not")
    return found[0]


def places(scores: pd.DataFrame, by: ColumnInfo) -> pd.DataFrame:
    """One line a cell asked for: its match score, its place among the seeds of its row, scene and fit, and their number.

    The best score is first; equal ones go by seed, the lower first. A seed without a score stands behind all that have one, again by
    seed, and keeps its state and reason. `scored` counts the seeds of the group that have a score. Lines stay in the order of
    `scores`, of which nothing else is read.
    """
    import pandas as pd

    cells = scores[CELL].drop_duplicates()
    own = scores.loc[scores["signature"] == by.signature, [*CELL, "value", "state", "reason"]]
    lines = pd.merge(cells, own, on=CELL, how="left")
    lines["state"] = lines["state"].fillna("missing")
    lines["reason"] = lines["reason"].fillna("not asked for")
    return _placed(lines, GROUP, by.direction)


def mark(placed: pd.DataFrame, keep: Fraction) -> pd.DataFrame:
    """`places` with `quota` (seeds to keep), `kept`, and `blind`: seeds must be dropped and none of the group has a match score."""
    quota = _quota(placed["asked"], keep)
    blind = (placed["scored"] == 0) & (quota < placed["asked"])
    return placed.assign(quota=quota, kept=(placed["place"] <= quota) & ~blind, blind=blind)


def select(scores: pd.DataFrame, by: ColumnInfo, keep: Fraction) -> pd.DataFrame:
    """The lines of the seeds that are kept.

    Where none of a group's seeds has a match score, nothing can be selected: as many lines as would be kept stay, without a
    value, and say why.
    """
    import pandas as pd

    marked = mark(places(scores, by), keep)
    marked = marked.rename(columns={"state": "match_state", "reason": "match_reason"})
    lines = pd.merge(scores, marked[[*CELL, "place", "quota", "blind", "match_state", "match_reason"]], on=CELL, how="left")
    lines = lines[lines["place"] <= lines["quota"]].copy()
    blind = lines["blind"] & lines["value"].notna()
    lines.loc[blind, "state"] = lines.loc[blind, "match_state"]
    lines.loc[blind, "reason"] = "no seed can be selected: " + lines.loc[blind, "match_reason"]
    lines.loc[blind, "value"] = float("nan")
    return lines[list(scores.columns)].reset_index(drop=True)


def best_by_itself(scores: pd.DataFrame, columns: Mapping[str, ColumnInfo], keep: Fraction) -> pd.DataFrame:
    """The oracle: under each metric the lines that score best by that very metric."""
    import pandas as pd

    parts = [_placed(lines, GROUP, columns[signature].direction) for signature, lines in scores.groupby("signature", sort=False)]
    placed = pd.concat(parts)
    return placed.loc[placed["place"] <= _quota(placed["asked"], keep), list(scores.columns)].reset_index(drop=True)


@dataclass(frozen=True)
class Reduced:
    """Scores after a policy."""

    scores: pd.DataFrame
    pools: Mapping[str, tuple[int, int]]
    """By row, where seeds were dropped: seeds with a match score, of those asked for (scenes where matches do not apply left out)."""
    notes: tuple[str, ...] = ()
    """What a reader must know: seeds that could not be ranked, a policy that changed nothing."""
    oracle: bool = False
    _marked: tuple[pd.DataFrame, ColumnInfo] | None = None
    """What `mark` gave, and the metric that selected."""

    def within(self, scenes: Iterable[str]) -> Reduced:
        """What is left of it on these scenes: seeds compete on their own scene alone."""
        kept = set(scenes)
        scores = self.scores[self.scores["scene"].isin(kept)]
        if self._marked is None:
            return replace(self, scores=scores)
        marked, by = self._marked
        marked = marked[marked["scene"].isin(kept)]
        return Reduced(scores, pools(marked), tuple(notes(marked, by)), _marked=(marked, by))


def reduce(scores: pd.DataFrame, how: Policy, columns: Mapping[str, ColumnInfo]) -> Reduced:
    """Score lines as the policy leaves them. Raises UsageError where the metric that selects is not clear."""
    if how.reducer == "mean":
        return Reduced(scores, {})
    if how.reducer == "oracle":
        return Reduced(best_by_itself(scores, columns, how.keep), {}, oracle=True)
    by = choose(columns, how.by or None)
    marked = mark(places(scores, by), how.keep)
    return Reduced(select(scores, by, how.keep), pools(marked), tuple(notes(marked, by)), _marked=(marked, by))


def pools(marked: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """See Reduced.pools."""
    chosen = marked[(marked["quota"] < marked["asked"]) & (marked["state"] != "unsupported")]
    groups = chosen.groupby("label", sort=False)["value"]
    return {str(label): (int(values.notna().sum()), len(values)) for label, values in groups}


def notes(marked: pd.DataFrame, by: ColumnInfo) -> Iterable[str]:
    """Which seeds could not be ranked, and what became of them."""
    competing = marked[marked["quota"] < marked["asked"]]
    if competing.empty:
        yield "nothing was dropped: no row has more seeds on a scene than are kept"
    for label, lines in competing.groupby("label", sort=False):
        absent = lines[lines["value"].isna()]
        if not absent.empty:
            firsts = absent.groupby("state", sort=True)["reason"].agg(["size", "first"]).itertuples(name=None)
            causes = "; ".join(f"{count} × {state}: {reason}" for state, count, reason in firsts)
            used = int(absent["kept"].sum())
            fate = f"{used} of them count all the same, for want of others" if used else "none of them counts"
            yield f"{label}: {len(absent)} of {len(lines)} seeds have no {by.metric} score and rank last ({causes}); {fate}"


def _placed(lines: pd.DataFrame, group: list[str], direction: Direction) -> pd.DataFrame:
    """Lines with `place` (1 is best), `asked` and `scored`, in their group."""
    key = -lines["value"] if direction == "higher" else lines["value"]
    ordered = lines.assign(_key=key).sort_values([*group, "_key", "seed"], na_position="last", kind="stable").drop(columns="_key")
    groups = ordered.groupby(group, sort=False)
    counts = groups["value"].transform("count").astype(int)
    return ordered.assign(place=groups.cumcount() + 1, asked=groups["seed"].transform("size"), scored=counts).sort_index()


def _quota(asked: pd.Series, keep: Fraction) -> pd.Series:
    """How many seeds stay: the share of those asked for, rounded up (a share is never rounded to nothing)."""
    quota: pd.Series = (-(-asked * keep.numerator // keep.denominator)).clip(lower=1)
    return quota


def _named(info: ColumnInfo, columns: Iterable[ColumnInfo]) -> str:
    """A metric's title, and the settings that tell it from others of that title."""
    others = [other for other in columns if other.title == info.title and other.signature != info.signature]
    keys = [key for key, value in info.config.items() if any(other.config.get(key) != value for other in others)]
    marks = ", ".join(f"{key}={info.config[key]}" for key in keys) or info.signature
    return f"{info.title} ({marks})" if others else info.title


def _has(info: ColumnInfo, key: str, value: str) -> bool:
    return key in info.config and str(info.config[key]) == value


def _listed(infos: Iterable[ColumnInfo]) -> str:
    return "".join(f"\n  {info.signature}" for info in infos)
