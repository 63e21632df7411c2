"""The pictures of a page: what each scene shows, and one fill of every row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from realbench import fingerprint
from realbench.errors import SceneError
from realbench.image import UInt8Image, decode_png
from realbench.records import ColumnInfo, Manifest, SceneInfo
from realbench.results import Results
from realbench.scene import Scene
from realbench.selection import CELL, choose, places
from realbench.suite import DEMO, Suite, open_suite

from ._images import Images, Picture, Source
from ._text import heading, number

if TYPE_CHECKING:
    import pandas as pd

_SCORES_SHOWN = 2


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
class SceneGallery:
    """A scene's figures."""

    id: str
    info: SceneInfo
    images: tuple[Shown, ...]
    """References, target and ground truth."""
    fills: tuple[Shown, ...]
    """One a row, in the leaderboard's order."""


@dataclass
class Gallery:
    """Makes the figures of a page."""

    results: Results
    images: Images
    suites: dict[str, Suite | SceneError] = field(default_factory=dict)

    def scenes(self, labels: Iterable[str], columns: Iterable[ColumnInfo]) -> Iterator[SceneGallery]:
        """Every scene that a cell was asked for, with the rows in this order."""
        order = list(labels)
        cells = self.results.cells()
        scores = self.results.scores()
        shown = list(columns)[:_SCORES_SHOWN]
        origins = self._origins()
        for scene, info in self.results.scenes.items():
            lines = cells[cells["scene"] == scene]
            if not lines.empty:
                own = scores[scores["scene"] == scene]
                fills = (self._fill(label, lines[lines["label"] == label], own, shown) for label in order)
                yield SceneGallery(scene, info, tuple(self._images(scene, *origins[scene])), tuple(filter(None, fills)))

    def _origins(self) -> dict[str, tuple[Manifest, str]]:
        """A run's manifest and the scene's id there, by the id that is shown."""
        found: dict[str, tuple[Manifest, str]] = {}
        for run, _, manifest in self.results.runs:
            for name, info in manifest.scenes.items():
                shown = name if self.results.scenes.get(name) == info else f"{name} @{run}"
                if shown in self.results.scenes:
                    found[shown] = manifest, name
        return found

    def _images(self, scene: str, manifest: Manifest, name: str) -> Iterator[Shown]:
        """References, target and truth, from earlier copies where they are of the same content, else from the suite."""
        loaded: list[Scene] = []

        def load() -> Scene:
            if not loaded:
                loaded.append(self._load(manifest, name))
            return loaded[0]

        for caption, key, source in _parts(manifest.scenes[name], load):
            try:
                yield Shown(caption, f"{caption} of scene {scene}", self.images.picture(key, source))
            except SceneError as error:
                yield Shown(caption, "", state="not shown", reason=str(error))

    def _load(self, manifest: Manifest, name: str) -> Scene:
        """The scene as it was when it was run. Raises SceneError when it is gone or changed."""
        path = DEMO if manifest.suite == DEMO else manifest.suite_path
        if path not in self.suites:
            try:
                self.suites[path] = open_suite(path)
            except SceneError as error:
                self.suites[path] = error
        suite = self.suites[path]
        if isinstance(suite, SceneError):
            raise suite
        scene = suite.load(name)
        if scene.digests != manifest.scenes[name].digests:
            raise SceneError("the scene's files have changed since the run")
        return scene

    def _fill(self, label: str, lines: pd.DataFrame, scores: pd.DataFrame, columns: list[ColumnInfo]) -> Shown | None:
        """One finished fill of a row, or why there is none; None when the row was not asked for this scene."""
        if lines.empty:
            return None
        done = lines[lines["state"] == "ok"]
        line = self._ordered(lines if done.empty else done).iloc[0]
        oracle = self.results.rows[label].oracle
        if done.empty:
            return Shown(label, "", None, line["state"], line["reason"] or "not run yet", oracle=oracle)
        notes = [f"fit {line['fit']}, seed {line['seed']}; {len(done)} of {len(lines)} fills finished"] if len(lines) > 1 else []
        notes += ["the most matches of its seeds"] if self._places and len(lines) > 1 else []
        notes += [line["notes"]] if line["notes"] else []
        try:
            data = (Path(line["folder"]) / "fill.png").read_bytes()
            picture = self.images.picture(fingerprint.of_bytes(data), lambda: (decode_png(data), None))
        except (OSError, SceneError) as error:
            return Shown(label, "", None, "not shown", f"fill.png cannot be read: {error}", oracle=oracle)
        alt = f"Fill of scene {line['scene']} by {label}"
        return Shown(label, alt, picture, notes=tuple(notes), scores=tuple(_scores(line, scores, columns)), oracle=oracle)

    def _ordered(self, lines: pd.DataFrame) -> pd.DataFrame:
        """By fit, then by place where seeds are selected, then by seed."""
        order = [self._places.get(key, 0) for key in lines[CELL].itertuples(index=False, name=None)]
        return lines.assign(_place=order).sort_values(["fit", "_place", "seed"], kind="stable").drop(columns="_place")

    @cached_property
    def _places(self) -> dict[tuple[str, str, int, int], int]:
        """Each fill's place among the seeds of its row, scene and fit; empty where seeds are not selected."""
        policy = self.results.policy
        if policy.reducer != "selected":
            return {}
        placed = places(self.results.scores(), choose(self.results.columns, policy.by or None))
        return dict(zip(placed[CELL].itertuples(index=False, name=None), placed["place"], strict=True))


def _parts(info: SceneInfo, load: Callable[[], Scene]) -> Iterator[tuple[str, str, Source]]:
    """Caption, content hash and source of each of a scene's images."""
    digests: Mapping[str, str] = info.digests

    def reference(at: int) -> Source:
        return lambda: (load().references[at], None)

    def truth() -> tuple[UInt8Image, None]:
        image = load().truth
        assert image is not None, "the digests agree, so there is one"
        return image, None

    for at in range(info.references):
        yield f"Reference {at + 1}", fingerprint.of_data(["reference", digests["references"], at]), reference(at)
    yield "Target", fingerprint.of_data(["target", digests["task"]]), lambda: (load().task().target, load().mask)
    if info.truth:
        yield "Ground truth", fingerprint.of_data(["truth", digests["truth"]]), truth


def _scores(line: pd.Series, scores: pd.DataFrame, columns: list[ColumnInfo]) -> Iterator[str]:
    """This very fill's scores, as text."""
    same = (scores["label"] == line["label"]) & (scores["fit"] == line["fit"]) & (scores["seed"] == line["seed"])
    own = scores[same & scores["value"].notna()].set_index("signature")["value"]
    titles = [heading(info) for info in columns]
    for at, (title, info) in enumerate(zip(titles, columns, strict=True), 1):
        if info.signature in own:
            which = f" [{at}]" if titles.count(title) > 1 else ""
            yield f"{title}{which} {number(own[info.signature], info.digits)}"
