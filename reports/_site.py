"""One report being written: its templates, its pages' policy of what may run, and where its parts lie.

A page carries its style and scripts inside itself, and its content security policy allows exactly these bytes by their SHA-256: a page
opened from disk has no origin that `'self'` could name, and `file:` would allow every script on the disk.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realbench import __version__, fingerprint
from realbench.results import Results
from realbench.store import write_atomic

from . import _text
from ._text import plain, redact, redactions

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LEADERBOARD = "leaderboard.html"
CARDS = "cards.html"
SCENES = "scenes"
STYLES = ("style.css",)
SCRIPTS = ("theme.js", "tips.js")
"""On every page; the first one stands in the head, so that a page never flashes in the wrong colours."""
_SCRIPT_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def scene_page(scene: str) -> str:
    """Where a scene's page lies: the letters of its id that every file system and link knows, and eight digits that tell ids apart."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", scene).strip("-")[:60].lower() or "scene"
    return f"{SCENES}/{slug}-{fingerprint.of_bytes(scene.encode('utf-8', 'surrogatepass'))[:8]}.html"


class Site:
    """What the pages of one report share."""

    def __init__(self, results: Results, folder: Path, *, embed: bool = False) -> None:
        self.results = results
        self.folder = folder
        self.embed = embed
        """Images stand in the pages themselves, as data: addresses."""
        self._folders = redactions(results)
        self._environment = _environment(self.text)

    def text(self, text: str) -> str:
        """A text of a scene, method or error on one line, without folders of this machine; not escaped, which templates do."""
        return plain(redact(text, self._folders))

    def render(
        self,
        template: str,
        page: str,
        *,
        styles: Sequence[str] = (),
        scripts: Sequence[str] = (),
        data: Mapping[str, Any] | None = None,
        **context: Any,
    ) -> bytes:
        """A page as UTF-8. `page` is its path below the folder, `data` what its scripts read: JSON in blocks called `data-NAME`.

        Raises ValueError for data that is no JSON, such as an infinite number.
        """
        css = "".join(map(_read, (*STYLES, *styles)))
        head, *body = map(_read, (*SCRIPTS, *scripts))
        html = self._environment.get_template(template).render(
            root="../" * page.count("/"),
            page=page,
            policy_of_content=_policy(css, (head, *body), "data:" if self.embed else "'self' file:"),
            css=css,
            head_script=head,
            body_scripts=body,
            data={name: as_json(value) for name, value in (data or {}).items()},
            version=__version__,
            **context,
        )
        return html.encode()

    def write(self, pages: Mapping[str, bytes]) -> list[Path]:
        """Write pages by their paths below the folder, all or none of them, and return where they lie."""
        files = {self.folder / page: content for page, content in pages.items()}
        write_atomic(files)
        return list(files)


def as_json(value: Any) -> str:
    """JSON that may stand in a script element: no character that ends it or begins a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_SCRIPT_ESCAPES)


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _policy(css: str, scripts: Sequence[str], images: str) -> str:
    """Nothing but this style, these scripts and pictures; no script may turn a text into markup (trusted types)."""
    allowed = " ".join(dict.fromkeys(map(_hash, scripts)))
    return (
        f"default-src 'none'; img-src {images}; style-src {_hash(css)}; script-src {allowed}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _environment(text: Any) -> Environment:
    """Jinja with escaping on; `text` is the filter for whatever a scene, method or error has said."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    names = ("number", "heading", "heading_below", "byname", "span", "coverage", "place", "repeats", "change", "settings", "own_settings")
    environment.filters |= {name: getattr(_text, name) for name in names}
    environment.filters |= {"text": text, "missing": _text.missing_text, "better": _text.BETTER.__getitem__}
    return environment
