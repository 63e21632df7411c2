"""leaderboard.html: the comparison table with every scene's pictures, one page without scripts or remote parts."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from realbench import __version__
from realbench.comparison import compare
from realbench.filtering import filtering
from realbench.report import ReportCard
from realbench.results import Results
from realbench.statistics import COVERAGE_PERCENT, LEAST_SCENES
from realbench.store import write_atomic
from realbench.tables import tables

from ._gallery import Gallery
from ._images import Images
from ._provenance import provenance
from ._text import (
    BETTER,
    Notes,
    change,
    coverage,
    heading,
    missing_text,
    number,
    own_settings,
    place,
    plain,
    redact,
    redactions,
    repeats,
    settings,
    span,
)

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "leaderboard.html.j2"
STYLE = "style.css"


class HTML:
    """The page, and small WebP copies of its images in images/; nothing in it runs, and nothing is fetched from elsewhere."""

    card: ClassVar[ReportCard] = ReportCard("html", "the comparison table and every scene's fills as leaderboard.html")

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write leaderboard.html and the images it shows. Raises NothingMeasured when no cell or no metric was asked for."""
        found = tables(results)
        board = found.leaderboard
        gallery = Gallery(results, Images(folder))
        style = (TEMPLATES / STYLE).read_text(encoding="utf-8")
        page = (
            _environment(results)
            .get_template(PAGE)
            .render(
                suites=sorted({manifest.suite for _, _, manifest in results.runs}),
                board=board,
                tables=found.per_scene,
                scenes=list(gallery.scenes([row.label for row in board.rows], [column.info for column in board.columns])),
                refused={scene: info.refused for scene, info in results.scenes.items() if info.refused},
                provenance=provenance(results),
                version=__version__,
                needed=COVERAGE_PERCENT,
                least=LEAST_SCENES,
                policy=found.policy,
                notes=found.notes,
                filtering=filtering(results),
                comparison=compare(results),
                missing=Notes(),
                style=style,
                style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            )
        )
        path = folder / "leaderboard.html"
        write_atomic({path: page.encode()})
        return [path]


def _environment(results: Results) -> Environment:
    """Jinja with escaping on; `text` is the filter for whatever a scene, method or error has said."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pairs = redactions(results)
    filters: dict[str, Any] = {
        "text": lambda text: plain(redact(text, pairs)),
        "number": number,
        "heading": heading,
        "span": span,
        "coverage": coverage,
        "place": place,
        "missing": missing_text,
        "repeats": repeats,
        "change": change,
        "settings": settings,
        "own_settings": own_settings,
        "better": BETTER.__getitem__,
    }
    environment.filters |= filters
    return environment
