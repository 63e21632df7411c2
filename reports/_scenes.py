"""One page a scene: its images, every row's fill and error map, match lines, seeds, and a slider to lay one over another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realbench import selection
from realbench.errors import SceneError, UsageError
from realbench.records import ColumnInfo
from realbench.tables import SceneEntry, tables

from . import _heat, _sources
from ._gallery import TARGET, TRUTH, Gallery, Shown
from ._images import TINY, Picture
from ._overlay import Overlay, counts, overlay
from ._site import Site, scene_page
from ._strip import Fill, SeedShown, chosen
from ._text import number

TEMPLATE = "scene.html.j2"
STYLES = ("scene.css",)
SCRIPTS = ("scene.js",)


@dataclass(frozen=True)
class Strip:
    """The seeds of a row on this scene."""

    label: str
    seeds: tuple[SeedShown, ...]
    total: int
    """Seeds that were asked for; fewer are shown where there are very many."""
    finished: int
    kept: int


@dataclass(frozen=True)
class Matching:
    """A row's match lines, or why there are none."""

    label: str
    overlay: Overlay | None
    counts: str
    """What each reference brought, in words."""
    reason: str = ""


@dataclass(frozen=True)
class RowView:
    """What a page shows of a row."""

    fill: Shown
    heat: Shown | None = None
    matching: Matching | None = None
    strip: Strip | None = None
    layers: tuple[tuple[str, Picture], ...] = ()
    """What the slider can show of it, by name."""


@dataclass(frozen=True)
class ScoreLine:
    """One row's means on this scene."""

    label: str
    oracle: bool
    entries: tuple[tuple[SceneEntry, ColumnInfo, bool], ...]
    """Value, metric, and whether it is the best; one a metric."""


def write_scene_pages(site: Site, gallery: Gallery) -> list[Path]:
    """Write every scene's page, one at a time, and return where they lie."""
    table = _table(site)
    find = _Matches(gallery)
    written: list[Path] = []
    for at, scene in enumerate(gallery.ids):
        around = {"before": gallery.ids[at - 1] if at else None, "after": gallery.ids[at + 1] if at + 1 < len(gallery.ids) else None}
        written += site.write({scene_page(scene): _page(site, gallery, scene, find, score_lines=table(scene), **around)})
    return written


def _page(site: Site, gallery: Gallery, scene: str, find: _Matches, *, before: str | None, after: str | None, **context: Any) -> bytes:
    info, images = gallery.info(scene), gallery.scene_images(scene)
    rows = [view for label in gallery.labels if (view := _row(gallery, find, scene, label, images)) is not None]
    layers = [*_scene_layers(images), *(layer for row in rows for layer in row.layers)]
    return site.render(
        TEMPLATE,
        scene_page(scene),
        styles=STYLES,
        scripts=SCRIPTS,
        data={"layers": [[site.text(name), picture.large] for name, picture in layers]},
        scene=scene,
        info=info,
        images=list(images.values()),
        rows=rows,
        layers=layers,
        first=_defaults(layers),
        ranking=gallery.ranking,
        matches=find,
        heat={"range": _heat.RANGE, "stops": _heat.stops() if any(row.heat for row in rows) else ()},
        links={name: (other, scene_page(other)) for name, other in (("before", before), ("after", after)) if other is not None},
        **context,
    )


def _row(gallery: Gallery, find: _Matches, scene: str, label: str, images: Mapping[str, Shown]) -> RowView | None:
    """A row's part of the page; None when it was not asked for this scene."""
    found = gallery.row(scene, label)
    if found is None:
        return None
    item, shown = found
    items = gallery.fills[scene][label]
    layers = [(label, shown.picture)] if shown.picture else []
    layers += [(one.caption, one.picture) for one in _extremes(gallery, items, item) if one.picture]
    strip = _strip(gallery, label, items) if len(items) > 1 else None
    heat = _heat_shown(gallery, item, shown) if item else None
    return RowView(shown, heat, find.matching(item, shown, images) if item else None, strip, tuple(layers))


def _extremes(gallery: Gallery, items: Sequence[Fill], first: Fill | None) -> Iterator[Shown]:
    """The fills of most and of fewest matches beside the one shown, so that they can be compared; none where nothing ranks seeds."""
    if first is None:
        return
    ranked = [item for item in items if item.state == "ok" and item.matches is not None and item.fit == first.fit]
    ends = {"first": min, "last": max} if len(ranked) > 1 else {}
    for word, end in ends.items():
        item = end(ranked, key=lambda one: one.place)
        if item != first:
            yield gallery.shown(item, f"{item.label}, seed {item.seed} (ranked {word} of {len(ranked)})")


def _heat_shown(gallery: Gallery, item: Fill, shown: Shown) -> Shown | None:
    """The fill's error map; None where the scene has no truth."""
    info = gallery.info(item.scene)
    if not info.truth:
        return None
    try:
        source = _sources.heat(item, lambda: gallery.load(item.scene))
        picture = gallery.images.picture(_sources.heat_key(item, info), source)
    except SceneError as error:
        return Shown(shown.caption, "", state="not shown", reason=str(error), oracle=shown.oracle)
    return Shown(shown.caption, f"Error map of {item.label} on scene {item.scene}", picture, scores=shown.scores, oracle=shown.oracle)


def _strip(gallery: Gallery, label: str, items: Sequence[Fill]) -> Strip:
    """All seeds in their order, with small copies of the finished ones."""
    picked = chosen(items)
    done = [item for item in picked if item.image and item.state == "ok"]
    pictures = gallery.images.pictures([(item.image, _sources.fill(item), (TINY,)) for item in done])
    found = {(item.fit, item.seed): picture for item, picture in zip(done, pictures, strict=True)}
    seeds = tuple(_seed(item, found.get((item.fit, item.seed))) for item in picked)
    finished = [item for item in items if item.state == "ok"]
    return Strip(label, seeds, len(items), len(finished), sum(item.kept for item in items))


def _seed(item: Fill, picture: Picture | SceneError | None) -> SeedShown:
    if isinstance(picture, Picture):
        return SeedShown(item, picture)
    return SeedShown(item, None, str(picture) if picture else item.reason or item.state)


class _Matches:
    """Match lines, from what the metric left in its scores."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.info = self._column()
        """The metric whose lines are drawn; None where the run counted no matches."""

    def matching(self, item: Fill, shown: Shown, images: Mapping[str, Shown]) -> Matching:
        """A fill's lines over its references."""
        assert shown.picture is not None, "only a fill with a picture is asked for"
        if self.info is None:
            return Matching(item.label, None, "")
        artefacts = self.gallery.results.artefacts(item.cell, self.info.signature, item.run)
        references = self._references(images)
        if references is None:
            return Matching(item.label, None, "", "not all references can be shown")
        drawn = overlay(artefacts, shown.picture, self.gallery.info(item.scene).size, references)
        found = [number(count, self.info.digits) for count in counts(artefacts)]
        words = " + ".join(found) + f" {self.info.unit}" if found else ""
        return Matching(item.label, drawn, words, "" if drawn else "no match line was recorded for this fill")

    def _references(self, images: Mapping[str, Shown]) -> list[tuple[Picture, tuple[int, int]]] | None:
        """Every reference with its own size, which its match points are measured in."""
        found = []
        for caption, shown in images.items():
            if caption not in (TARGET, TRUTH):
                size = self.gallery.images.original_size(shown.picture) if shown.picture else None
                if shown.picture is None or size is None:
                    return None
                found.append((shown.picture, size))
        return found

    def _column(self) -> ColumnInfo | None:
        """The `matches` that selects seeds, else the first one, else whatever selects them."""
        columns = self.gallery.results.columns
        try:
            chosen = selection.choose(columns, self.gallery.results.policy.by or None)
        except UsageError:
            chosen = None
        if chosen is not None and chosen.metric == selection.MATCHES:
            return chosen
        return next((info for info in columns.values() if info.metric == selection.MATCHES), chosen)


def _scene_layers(images: Mapping[str, Shown]) -> Iterator[tuple[str, Picture]]:
    """Truth and target for the slider; references have other sizes, so they would not lie on it."""
    for caption in (TRUTH, TARGET):
        picture = images[caption].picture if caption in images else None
        if picture is not None:
            yield caption, picture


def _defaults(layers: Sequence[tuple[str, Picture]]) -> tuple[int, int]:
    """What the slider shows first: truth (or target) and the best row."""
    fills = [at for at, (name, _) in enumerate(layers) if name not in (TRUTH, TARGET)]
    return 0, fills[0] if fills else max(0, len(layers) - 1)


def _table(site: Site) -> Callable[[str], list[ScoreLine]]:
    """Gives a scene's part of the tables scene by scene."""
    found = tables(site.results)
    rows = {row.label: row.info for row in found.leaderboard.rows}

    def lines(scene: str) -> list[ScoreLine]:
        at = {id(table): table.scenes.index(scene) for table in found.per_scene if scene in table.scenes}
        shown = [table for table in found.per_scene if id(table) in at]
        result = []
        for label, info in rows.items():
            entries = [(table.rows[label][at[id(table)]], table.info, table.best[at[id(table)]]) for table in shown]
            cells = tuple(
                (entry, column, entry.value is not None and entry.value == best and not info.oracle) for entry, column, best in entries
            )
            result.append(ScoreLine(label, info.oracle, cells))
        return result

    return lines
