"""leaderboard.html with its figures, cards and scene pages: a site that opens from disk and fetches nothing.

The table is our own, small script, because the ready-made ones that ship in Python packages (itables' DataTables: 620 kB, great_tables'
reactable) write markup from texts or make functions of them, which this site's content security policy forbids.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from realbench.aside import aside, is_safe
from realbench.comparison import compare
from realbench.errors import RealbenchError
from realbench.filtering import filtering
from realbench.report import ReportCard
from realbench.results import Results
from realbench.statistics import COVERAGE_PERCENT, LEAST_SCENES
from realbench.tables import Tables, tables
from realbench.votes import tally

from . import _cards
from ._figures import figures
from ._gallery import Gallery
from ._provenance import provenance
from ._scenes import write_scene_pages
from ._site import CARDS, LEADERBOARD, Site, scene_page
from ._views import Board, board

STYLES = ("leaderboard.css",)
SCRIPTS = ("leaderboard.js",)
BEGUN = "begun board"
"""Key of what gives the board."""


class HTML:
    """The pages, small WebP copies of the images in images/, and the figures in figures/."""

    card: ClassVar[ReportCard] = ReportCard("html", "leaderboard.html with its figures, cards and a page for each scene")

    def begin(self, results: Results) -> None:
        """Begin the board, which takes longest, beside whatever is written before; `write` takes it."""
        results.once(BEGUN, lambda: _begun(results))

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write the site; leaderboard.html is the first path returned. Raises NothingMeasured when no cell or no metric was asked for."""
        begun = results.once(BEGUN, lambda: _begun(results))
        results.forget([BEGUN])
        site = Site(results, folder)
        gallery = Gallery(site)
        parts, scenes = sections(site, tables(results)), write_scene_pages(site, gallery)
        found = begun()
        common: dict[str, Any] = {"suites": suites(results), "board": found, "cards": CARDS}
        table = found.tables.leaderboard
        methods, metrics = list(_cards.methods(table)), list(_cards.metrics(table))
        pages = {
            LEADERBOARD: site.render(
                "leaderboard.html.j2", LEADERBOARD, styles=STYLES, scripts=SCRIPTS, data={"board": found.data},
                **common, **about(results, found), **parts, scenes=gallery.cards(),
            ),
            CARDS: site.render("cards.html.j2", CARDS, styles=STYLES, **common, methods=methods, metrics=metrics),
        }  # fmt: skip
        return [*site.write(pages), *scenes]


def _begun(results: Results) -> Callable[[], Board]:
    """Gives the board; made in a second process where there can be one."""

    def work() -> Board:
        return board(Site(results, Path()))

    if not is_safe():
        return work
    try:
        tables(results)  # which both processes need
    except RealbenchError:
        return work
    return aside(work)


def suites(results: Results) -> str:
    """The names of the runs' suites."""
    return ", ".join(sorted({manifest.suite for _, _, manifest in results.runs}))


def about(results: Results, found: Board) -> dict[str, Any]:
    """What `_missing`, `_about` and `_provenance` need beside the board."""
    return {"needed": COVERAGE_PERCENT, "least": LEAST_SCENES, "missing": found.missing, "provenance": provenance(results)}


def sections(site: Site, found: Tables) -> dict[str, Any]:
    """What the leaderboard's further sections show."""
    results = site.results
    return {
        "oracles": {label for label, row in results.rows.items() if row.oracle},
        "refused": {scene: info.refused for scene, info in results.scenes.items() if info.refused},
        "pages": {scene: scene_page(scene) for scene in results.scenes},
        "figures": figures(site, found),
        "filtering": filtering(results),
        "comparison": compare(results),
        "votes": tally(results),
    }
