"""check.html: what a check found, and the fills that changed beside those of the baseline's run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from realbench.baseline import cells_of
from realbench.errors import Exit, SceneError
from realbench.gate import MEANING, Change
from realbench.noise import Sample
from realbench.results import Results

from ._check_words import ORDER, Check, Line, Place, standing
from ._gallery import TARGET, TRUTH, Gallery, Shown
from ._images import Images
from ._provenance import provenance
from ._site import Site
from ._strip import Fill
from ._text import ARROWS, number

TEMPLATE = "check.html.j2"
STYLES = ("scene.css", "check.css")
SCRIPTS = ("scene.js",)
MOST = 60
"""Rows on scenes whose pictures are shown."""
BEFORE, NOW = "Baseline", "Now"
LOOKS = {
    Exit.DONE: ("good", "check passed"), Exit.REGRESSION: ("bad", "check failed"), Exit.FAILED_CELLS: ("bad", "check failed"),
    Exit.NOTHING_MEASURED: ("warn", "not judged"),
}  # fmt: skip
_SCORES_SHOWN = 3


@dataclass(frozen=True)
class Article:
    """A row on a scene where something is not as it was."""

    place: Place
    lines: tuple[Line, ...]
    figures: tuple[Shown, ...]
    slider: tuple[Shown, Shown] | None
    """The baseline's fill and the run's, to lay one over the other; None where one of them is lacking, or they are the same."""
    note: str
    """Why there is no slider; empty where it is clear."""
    size: tuple[int, int]
    """Of the target, in pixels."""
    split: int
    """Where the slider stands first, in percent from the left: at the middle of the hole."""


def write_page(check: Check, path: Path) -> list[Path]:
    """Write the page, and small copies of the pictures it shows into its folder."""
    site = Site(check.results, path.parent)
    changed = list(standing(check.places))
    pictures = _Pictures(check, site)
    articles = list(map(pictures.article, changed[:MOST]))
    judgement = check.judgement
    page = site.render(
        TEMPLATE, path.name, styles=STYLES, scripts=SCRIPTS if articles else (),
        check=check,
        judgement=judgement,
        look=LOOKS[judgement.exit_code],
        means=check.lines([change for change in judgement.changes if not change.scene]),
        articles=articles,
        overview=[(place, check.lines(place.changes)) for place in changed],
        held=check.lines([change for change in judgement.changes if change.scene and change.verdict == "same"]),
        strange=pictures.strange(),
        meaning={verdict: MEANING[verdict] for verdict in ORDER},
        provenance=provenance(check.results),
    )  # fmt: skip
    return site.write({path.name: page})


class _Side:
    """The fills of the run, or of the baseline's run."""

    def __init__(self, results: Results, site: Site, images: Images) -> None:
        self.site = site
        self.gallery = Gallery(self.site, images)
        self.cells = cells_of(results.scores())

    def items(self, label: str, scene: str) -> list[Fill]:
        """A row's cells on a scene."""
        return self.gallery.fills.get(scene, {}).get(label, [])

    def value(self, item: Fill, signature: str) -> float | None:
        """A fill's score."""
        return self.cells.get(item.label, {}).get(signature, {}).get(item.scene, {}).get(str(item.fit), {}).get(str(item.seed))

    def find(self, change: Change, mean: float | None, like: Fill | None = None) -> Fill | None:
        """The finished fill of the same fit and seed as another; else the one whose score is nearest to the mean. None where none is."""
        done = [item for item in self.items(change.label, change.scene) if item.state == "ok"]
        same = next((item for item in done if like and (item.fit, item.seed) == (like.fit, like.seed)), None)
        return same or min(done, key=lambda item: (_far(self.value(item, change.signature), mean), item.fit, item.seed), default=None)

    def shown(self, item: Fill | None, change: Change, caption: str, scores: Mapping[str, Change]) -> Shown:
        """A fill, or why there is none, as a figure."""
        items = self.items(change.label, change.scene)
        if item is None:
            state, reason = (items[0].state, items[0].reason or "not run yet") if items else ("missing", "this run has no such cell")
            return Shown(caption, "", None, state, self.site.text(reason))
        several = (f"fit {item.fit}, seed {item.seed}; one of {len(items)} fills",) if len(items) > 1 else ()
        values = ((one.metric, self.value(item, signature)) for signature, one in list(scores.items())[:_SCORES_SHOWN])
        texts = (f"{of.title} {ARROWS[of.direction]} {number(value, of.digits)}" for of, value in values if value is not None)
        found = self.gallery.shown(item, caption, several, tuple(texts))
        return replace(found, reason=self.site.text(found.reason))


class _Pictures:
    """What the page shows of each place."""

    def __init__(self, check: Check, site: Site) -> None:
        self.check = check
        images = Images(site.folder)
        before = check.results.before
        self.now = _Side(check.results, site, images)
        self.before = _Side(before, Site(before, site.folder), images) if before else None

    def article(self, place: Place) -> Article:
        """A row on a scene."""
        change, scores = place.first, {one.signature: one for one in place.changes}
        item = self.now.find(change, change.after)
        now = self.now.shown(item, change, NOW, scores)
        old, before = None, None
        if self.before:
            old = self.before.find(change, change.before, item)
            before = self.before.shown(old, change, BEFORE, scores)
        same = item is not None and old is not None and item.image == old.image
        note = "Both fills are the same, byte for byte: what changed is how they are scored." if same else ""
        slider = (before, now) if before and before.picture and now.picture and not same else None
        figures = tuple(one for one in (before, now, *self.scene(place.scene)) if one)
        size = self.now.gallery.info(place.scene).size if place.scene in self.check.results.scenes else (1, 1)
        return Article(
            place, tuple(self.check.lines(place.changes)), figures, slider, note, size, self.middle(place.scene) if slider else 50
        )

    def scene(self, scene: str) -> Iterator[Shown]:
        """Truth, where there is one, and target with its hole."""
        if scene in self.check.results.scenes:
            found = self.now.gallery.scene_images(scene, (TRUTH, TARGET))
            yield from (found[caption] for caption in (TRUTH, TARGET) if caption in found)

    def middle(self, scene: str) -> int:
        """The middle of the hole, in percent of the width."""
        try:
            mask = self.now.gallery.load(scene).mask
        except SceneError:
            return 50
        columns: list[int] = np.flatnonzero(mask.any(axis=0)).tolist()
        return round(50 * (columns[0] + columns[-1] + 1) / len(mask[0]))

    def strange(self) -> str:
        """A warning where the baseline's run is not the one that was accepted."""
        if self.before is None:
            return ""
        changes = [change for change in self.check.judgement.changes if change.scene]
        other = [change for change in changes if not self._accepted(change)]
        if not other:
            return ""
        return (
            "the run given as --baseline-run is not the one that was accepted, so its fills may mislead: its scores differ from the "
            f"baseline's in {len(other)} of {len(changes)} cases, the first of them {other[0].label} on {other[0].scene}"
        )

    def _accepted(self, change: Change) -> bool:
        assert self.before is not None, "asked for only then"
        found = Sample.of(self.before.cells.get(change.label, {}).get(change.signature, {}).get(change.scene, {})).mean
        return math.isnan(found) if change.before is None else math.isclose(found, change.before, rel_tol=1e-6, abs_tol=1e-9)


def _far(value: float | None, mean: float | None) -> float:
    """How far a score is from a mean; equal infinities are not."""
    return math.inf if value is None or mean is None else 0.0 if value == mean else abs(value - mean)
