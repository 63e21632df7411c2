"""single.html: the leaderboard with a gallery of small pictures inside one file, to mail or to attach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from realbench.report import ReportCard
from realbench.results import Results

from ._gallery import Gallery, Shown
from ._images import EmbeddedImages
from ._site import Site
from ._views import board
from .html import SCRIPTS, STYLES, about, sections, suites

PAGE = "single.html"
BUDGET = 6_000_000
"""Bytes of all pictures together, before base64 adds a third."""


@dataclass(frozen=True)
class SceneShown:
    """A scene in the one file."""

    id: str
    images: tuple[Shown, ...]
    fills: tuple[Shown, ...]


class SingleFile:
    """One page without any file beside it."""

    card: ClassVar[ReportCard] = ReportCard("single-file", "the leaderboard and small pictures in one file, single.html", on_request=True)

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write single.html. Raises NothingMeasured when no cell or no metric was asked for."""
        site = Site(results, folder, embed=True)
        images = EmbeddedImages(folder, BUDGET)
        gallery = Gallery(site, images)
        found = board(site)
        scenes = list(_scenes(gallery))
        page = site.render(
            "single.html.j2", PAGE, styles=STYLES, scripts=SCRIPTS, data={"board": found.data}, suites=suites(results), board=found,
            **about(results, found), **sections(site, found.tables), scenes=scenes, left_out=images.left_out, cards="",
        )  # fmt: skip
        return site.write({PAGE: page})


def _scenes(gallery: Gallery) -> Iterator[SceneShown]:
    for scene in gallery.ids:
        fills = (gallery.row(scene, label) for label in gallery.labels)
        yield SceneShown(scene, tuple(gallery.scene_images(scene).values()), tuple(found[1] for found in fills if found))
