"""The pictures of a report: what each scene shows, and one fill of every row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from realbench.errors import SceneError
from realbench.records import ColumnInfo, SceneInfo
from realbench.results import Results
from realbench.scene import Scene
from realbench.tables import tables

from . import _sources
from ._images import LARGE, SMALL, Images, Picture, Source
from ._site import Site, scene_page
from ._strip import Fill, Ranking, ranked_fills
from ._text import heading, number

if TYPE_CHECKING:
    import pandas as pd

_SCORES_SHOWN = 2
SHELF = ".copies"
"""Folder in the first run for the copies that its reports share."""
TARGET = "Target"
TRUTH = "Ground truth"


@dataclass(frozen=True)
class Shown:
    """One figure: a picture, or the reason why there is none."""

    caption: str
    alt: str
    picture: Picture | None = None
    state: str = "ok"
    reason: str = ""
    notes: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    oracle: bool = False


@dataclass(frozen=True)
class SceneCard:
    """What the first page shows of a scene."""

    id: str
    info: SceneInfo
    href: str
    target: Shown


class Gallery:
    """Makes the figures of a report; scene by scene, so that one scene at a time is held."""

    def __init__(self, site: Site, images: Images | None = None) -> None:
        self.site = site
        self.results: Results = site.results
        self.images = images or Images(site.folder, next((run.root / SHELF for _, run, _ in site.results.runs), None))
        self.source = _sources.Scenes(self.results)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Scenes that a cell was asked for, in the run's order."""
        return tuple(scene for scene in self.results.scenes if scene in self.fills)

    @cached_property
    def ranking(self) -> Ranking:
        """What ranks the seeds."""
        return self._ranked[0]

    @cached_property
    def fills(self) -> dict[str, dict[str, list[Fill]]]:
        """Every cell, by scene and row; see ranked_fills."""
        return self._ranked[1]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Rows in the leaderboard's order."""
        return tuple(row.label for row in tables(self.results).leaderboard.rows)

    def cards(self) -> tuple[SceneCard, ...]:
        """One a scene."""
        return tuple(SceneCard(scene, self.info(scene), scene_page(scene), self._target(scene)) for scene in self.ids)

    def info(self, scene: str) -> SceneInfo:
        """The scene as the run saw it last."""
        return self.results.scenes[scene]

    def load(self, scene: str) -> Scene:
        """The scene itself. Raises SceneError when it is gone or changed."""
        return self.source.load(scene)

    def scene_images(self, scene: str, only: Collection[str] = ()) -> dict[str, Shown]:
        """References, target and truth (or those named) by caption, from earlier copies where they are of the same content, else from
        the suite.
        """
        parts = _sources.parts(self.info(scene), lambda: self.load(scene))
        return {caption: self._part(scene, caption, key, source) for caption, key, source in parts if not only or caption in only}

    def row(self, scene: str, label: str) -> tuple[Fill | None, Shown] | None:
        """The fill shown of a row, or why there is none; None when the row was not asked for this scene."""
        items = self.fills[scene].get(label, [])
        if not items:
            return None
        done = [item for item in items if item.state == "ok"]
        item = self.first(done or items)
        oracle = self.results.rows[label].oracle
        if not done:
            return None, Shown(label, "", None, item.state, item.reason or "not run yet", oracle=oracle)
        shown = self.shown(item, label, self._notes(item, items, len(done)), tuple(self._scores(item)))
        return (item if shown.picture else None), shown

    def shown(self, item: Fill, caption: str, notes: tuple[str, ...] = (), scores: tuple[str, ...] = ()) -> Shown:
        """A finished fill as a figure."""
        oracle = self.results.rows[item.label].oracle
        try:
            picture = self.images.picture(item.image, _sources.fill(item), (SMALL, LARGE))
        except SceneError as error:
            return Shown(caption, "", None, "not shown", str(error), oracle=oracle)
        alt = f"Fill of scene {item.scene} by {item.label}"
        return Shown(caption, alt, picture, notes=notes, scores=scores, oracle=oracle)

    def first(self, items: Sequence[Fill]) -> Fill:
        """The first fit's best seed where the tables count the seeds with most matches, else its first."""
        return min(items, key=lambda item: (item.fit, item.place if self.ranking.counts else 0, item.seed))

    @cached_property
    def _ranked(self) -> tuple[Ranking, dict[str, dict[str, list[Fill]]]]:
        return ranked_fills(self.results)

    @cached_property
    def _columns(self) -> list[ColumnInfo]:
        return [column.info for column in tables(self.results).leaderboard.columns][:_SCORES_SHOWN]

    @cached_property
    def _by_scene(self) -> dict[str, pd.DataFrame]:
        scores = self.results.scores()
        wanted = scores[scores["signature"].isin([info.signature for info in self._columns]) & scores["value"].notna()]
        return dict(iter(wanted.groupby("scene", sort=False)))

    def _part(self, scene: str, caption: str, key: str, source: Source) -> Shown:
        try:
            return Shown(caption, f"{caption} of scene {scene}", self.images.picture(key, source))
        except SceneError as error:
            return Shown(caption, "", state="not shown", reason=str(error))

    def _target(self, scene: str) -> Shown:
        parts = _sources.parts(self.info(scene), lambda: self.load(scene))
        found = next(self._part(scene, *part) for part in parts if part[0] == TARGET)
        info = self.info(scene)
        return replace(found, caption=scene, notes=(f"{info.hole_kind}, {100 * info.hole_share:.1f} % hole",))

    def _notes(self, item: Fill, items: Sequence[Fill], done: int) -> tuple[str, ...]:
        several = len(items) > 1
        notes = [f"fit {item.fit}, seed {item.seed}; {done} of {len(items)} fills finished"] if several else []
        notes += ["the most matches of its seeds"] if several and self.ranking.counts else []
        return (*notes, item.notes) if item.notes else tuple(notes)

    def _scores(self, item: Fill) -> Iterator[str]:
        """This very fill's scores, as text."""
        lines = self._by_scene.get(item.scene)
        if lines is None:
            return
        same = (lines["label"] == item.label) & (lines["fit"] == item.fit) & (lines["seed"] == item.seed)
        own = lines[same].set_index("signature")["value"]
        yield from score_texts(own.to_dict(), self._columns)


def score_texts(values: dict[str, float], columns: Iterable[ColumnInfo]) -> Iterator[str]:
    """Values by signature as texts with their metric's name; equal names are numbered."""
    infos = list(columns)
    titles = [heading(info) for info in infos]
    for at, (title, info) in enumerate(zip(titles, infos, strict=True), 1):
        if info.signature in values:
            which = f" [{at}]" if titles.count(title) > 1 else ""
            yield f"{title}{which} {number(values[info.signature], info.digits)}"
