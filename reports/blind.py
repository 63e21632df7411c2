"""A page to judge fills without knowing whose they are: one file for other people, and its key, which stays in the run folder."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from realbench import fingerprint
from realbench.errors import NothingMeasured, SceneError
from realbench.image import BoolImage, UInt8Image
from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic
from realbench.votes import FOLDER, QUESTIONS, Key, Pair, Side

from . import _sources
from ._gallery import TARGET, TRUTH, Gallery
from ._images import data_address, encode
from ._site import Site
from ._strip import Fill

BUDGET = 16_000_000
"""Bytes of all pictures together, before base64 adds a third; pairs that do not fit are left out."""
FILL_SIDE = 640
REFERENCE_SIDE = 384
MOST_REFERENCES = 5

Drawn = tuple[str, Fill, Fill]
"""Scene, and the two fills, the first of which is shown as A."""


class Blind:
    """A self-contained page: random pairs under opaque names, in an order that the key remembers."""

    card: ClassVar[ReportCard] = ReportCard(
        "blind", "pairs of fills to judge without knowing whose they are, one file", on_request=True,
        needs="two rows that are no oracles, and the pictures of their scenes",
    )  # fmt: skip

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write the page, and its key into the run's folder. Raises NothingMeasured where there are no two rows to compare on a scene."""
        site = Site(results, folder, embed=True)
        gallery = Gallery(site)
        generator = np.random.default_rng([results.blind.seed, _content(gallery)])
        drawn = list(_draw(gallery, generator))
        if not drawn:
            raise NothingMeasured("a blind page compares rows: it takes two of them with a finished fill of the same scene, oracles apart")
        page = _Page(gallery, generator, drawn)
        key = page.key(results.blind.seed)
        rendered = page.render(site, key.study)
        path = results.runs[0][1].root / FOLDER / f"{key.study}.key.json"
        write_atomic({path: key.model_dump_json(indent=1).encode()})  # first: without it no vote on the page could ever be counted
        return [*site.write({f"blind-{key.study}.html": rendered}), path]


@dataclass
class _Page:
    """Pictures and pairs of a page in the making."""

    gallery: Gallery
    generator: np.random.Generator
    drawn: Sequence[Drawn]
    left: int = field(default_factory=lambda: BUDGET)
    left_out: int = 0
    """Pairs for which there was no room, or whose pictures cannot be read."""
    images: list[bytes] = field(default_factory=list)
    scenes: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    """Target and references by scene, as places in `images`."""
    fills: dict[str, int] = field(default_factory=dict)
    """Places in `images`, by what tells a fill from all others."""
    pairs: list[tuple[Pair, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for scene, a, b in self.drawn:
            try:
                self._add(scene, a, b)
            except SceneError:
                self.left_out += 1
        if not self.pairs:
            raise NothingMeasured("a blind page needs the pictures of its scenes and fills, and none of them can be read or fits")

    def key(self, seed: int) -> Key:
        """What the page's names stand for."""
        pairs = [pair for pair, _, _ in self.pairs]
        study = fingerprint.of_data([seed, [pair.model_dump() for pair in pairs]])[:16]
        return Key(study=study, seed=seed, pairs=pairs, left_out=self.left_out)

    def render(self, site: Site, study: str) -> bytes:
        """The page. Its pictures lie in a random order, so that their places tell nothing."""
        order = self.generator.permutation(len(self.images))
        place = {int(old): new for new, old in enumerate(order)}
        scenes = {scene: at for at, scene in enumerate(self.generator.permutation(sorted(self.scenes)).tolist())}
        data = {
            "study": study,
            "images": [data_address(self.images[at]) for at in order],
            "scenes": [self._scene(scene, place) for scene in scenes],
            "pairs": [[pair.id, scenes[pair.scene], place[a], place[b]] for pair, a, b in self.pairs],
            "questions": list(QUESTIONS),
        }
        return site.render(
            "blind.html.j2",
            f"blind-{study}.html",
            styles=("blind.css",),
            scripts=("blind.js",),
            data={"study": data},
            pairs=len(self.pairs),
            questions=QUESTIONS,
        )

    def _scene(self, scene: str, place: dict[int, int]) -> list[Any]:
        target, references = self.scenes[scene]
        return [place[target], [place[at] for at in references]]

    def _add(self, scene: str, a: Fill, b: Fill) -> None:
        """Keep a pair if its pictures can be read and fit. Raises SceneError when they do not."""
        needed: list[tuple[str, bytes]] = []
        new = [] if scene in self.scenes else list(self._scene_images(scene))
        for item in (a, b):
            if _name(item) not in self.fills and _name(item) not in dict(needed):
                needed.append((_name(item), encode(_sources.read_fill(item), None, FILL_SIDE, told=False)))
        size = sum(map(len, new)) + sum(len(data) for _, data in needed)
        if size > self.left:
            raise SceneError("no room is left in the page")
        self.left -= size
        if new:
            first = len(self.images)
            self.images += new
            self.scenes[scene] = first, list(range(first + 1, first + len(new)))
        for name, data in needed:
            self.fills[name] = len(self.images)
            self.images.append(data)
        pair = Pair(id=self.generator.bytes(8).hex(), scene=scene, a=_side(a), b=_side(b))
        self.pairs.append((pair, self.fills[_name(a)], self.fills[_name(b)]))

    def _scene_images(self, scene: str) -> Iterator[bytes]:
        """Target, then references, as WebP without any note of where they come from."""
        parts = {name: source for name, _, source in _sources.parts(self.gallery.info(scene), lambda: self.gallery.load(scene))}
        references = [source for name, source in parts.items() if name not in (TARGET, TRUTH)][:MOST_REFERENCES]
        yield _copy(*parts[TARGET](), FILL_SIDE)
        for source in references:
            yield _copy(*source(), REFERENCE_SIDE)


def _copy(image: UInt8Image, hole: BoolImage | None, side: int) -> bytes:
    return encode(image, hole, side, told=False)


def _draw(gallery: Gallery, generator: np.random.Generator) -> Iterator[Drawn]:
    """Pairs in the order they are shown: rows that met least come next, then scenes seen least, ties and sides by lot."""
    options = gallery.results.blind
    fills = {scene: dict(_picks(gallery, scene, generator)) for scene in gallery.ids}
    candidates = [(scene, *pair) for scene, rows in fills.items() for pair in itertools.combinations(rows, 2)]
    generator.shuffle(candidates)
    met: Counter[tuple[str, str]] = Counter()
    seen: Counter[str] = Counter()
    for _ in range(min(options.pairs, len(candidates))):
        at = min(range(len(candidates)), key=lambda index: (met[candidates[index][1:]], seen[candidates[index][0]]))
        scene, *labels = candidates.pop(at)
        met[labels[0], labels[1]] += 1
        seen[scene] += 1
        a, b = generator.permutation(labels).tolist()
        yield scene, fills[scene][a], fills[scene][b]


def _picks(gallery: Gallery, scene: str, generator: np.random.Generator) -> Iterator[tuple[str, Fill]]:
    """One finished fill a row, drawn from those that the tables count."""
    for label in gallery.labels:
        if gallery.results.rows[label].oracle and not gallery.results.blind.oracles:
            continue
        items = [item for item in gallery.fills[scene].get(label, []) if item.state == "ok" and item.image]
        counted = [item for item in items if item.kept] if gallery.ranking.counts else items
        if counted:
            yield label, counted[int(generator.integers(len(counted)))]


def _content(gallery: Gallery) -> int:
    """A number that only who has the run can know: with the seed alone nobody can tell the order or the sides."""
    images = [
        [item.label, item.scene, item.fit, item.seed, item.image]
        for rows in gallery.fills.values()
        for items in rows.values()
        for item in items
    ]
    return int(fingerprint.of_data(sorted(images))[:16], 16)


def _name(item: Fill) -> str:
    return fingerprint.of_data([item.label, item.scene, item.fit, item.seed])


def _side(item: Fill) -> Side:
    return Side(label=item.label, fit=item.fit, seed=item.seed, image=item.image)
