"""A run as one zip for a paper's appendix: fills, scenes as far as their licences allow, tables, and where everything comes from."""

from __future__ import annotations

import csv
import io
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from realbench import __version__, fingerprint, registry, selection
from realbench.errors import NothingMeasured, RealbenchError, SceneError, UsageError
from realbench.frames import leaderboard_frame, pairs_frame
from realbench.image import encode_png
from realbench.licences import may_be_shared
from realbench.power import column
from realbench.records import ColumnInfo
from realbench.redaction import redact, redactions
from realbench.results import Results
from realbench.scene import Scene
from realbench.settings import changed
from realbench.suite import DEMO, open_suite
from realbench.tables import tables
from realbench.text import printable

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("markdown", "latex")
"""Reports that are put beside the tables, where they are installed."""
FIELDS = ("file", "scene", "row", "fit", "seed", "chosen", "sha256")
"""Columns of contents.csv; a column a metric follows."""
_TIME = (1980, 1, 1, 0, 0, 0)
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


@dataclass(frozen=True)
class Choice:
    """Which fills are exported."""

    best: bool = False
    """One a row and scene; else every finished fill."""
    oracle: str = ""
    """A metric that may read the truth and whose best fill is taken; empty: the seed with most matches is."""
    by: str = ""
    """What selects without the truth; empty: the results' own, or the only `matches`."""
    unlicensed: bool = False
    """References and truths whose licences are not known to allow it are put in all the same."""


@dataclass
class _Zip:
    """The file in the making, and what a reader must know of it."""

    archive: zipfile.ZipFile
    taken: dict[tuple[str, str], str] = field(default_factory=dict)
    contents: list[Mapping[str, object]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, name: str, data: bytes) -> None:
        """Store a file, with the same bytes each time: no time, no owner."""
        info = zipfile.ZipInfo(name, _TIME)
        info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
        info.create_system, info.external_attr = 3, 0o644 << 16
        self.archive.writestr(info, data)

    def name(self, kind: str, text: str) -> str:
        """A name for a scene's or row's files that every system can hold and no other one has."""
        if (kind, text) not in self.taken:
            name = safe_name(text)
            used = {other.casefold() for (of, _), other in self.taken.items() if of == kind}
            self.taken[kind, text] = _hashed(name, text) if name.casefold() in used else name
        return self.taken[kind, text]


def export(results: Results, out: Path, choice: Choice) -> list[str]:
    """Write the zip; returns what a reader must know of it, the first line saying how fills were chosen.

    The same results give the same bytes. Raises UsageError where nothing says which seed is best, and NothingMeasured where no fill is
    finished.
    """
    if out.exists() and not zipfile.is_zipfile(out):
        raise UsageError(f"{out}: expected a new file, or an earlier export to replace, found something else; give another -o")
    fills = results.fills()
    fills = fills[(fills["state"] == "ok") & ~fills["label"].isin([label for label, row in results.rows.items() if row.oracle])]
    if fills.empty:
        raise NothingMeasured("no finished fill to export (oracles, which show the ground truth, are left out)")
    by = _judge(results, fills, choice)
    chosen = _chosen(results, fills, choice, by)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".tmp-", suffix=".zip", delete=False) as file:
            temporary = Path(file.name)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror or error}); give another -o") from error
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            made = _Zip(archive, remarks=[_how(choice, by), *_lacking(results, fills, by)])
            _write(results, chosen, choice, made)
        temporary.chmod(0o644)
        temporary.replace(out)
    except OSError as error:
        raise RealbenchError(f"{out}: cannot be written ({error.strerror or error}); make room or give another -o") from error
    finally:
        temporary.unlink(missing_ok=True)
    return made.remarks


def safe_name(text: str) -> str:
    """Text as a file name of letters, digits, dots, hyphens and underscores; with a hash of the text where that changes it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80].strip("._-")
    good = plain == text != "" and plain.partition(".")[0].casefold() not in _RESERVED
    return plain if good else _hashed(plain, text)


def _hashed(name: str, text: str) -> str:
    return f"{name or 'x'}-{fingerprint.of_bytes(text.encode(errors='surrogatepass'))[:8]}"


def _judge(results: Results, fills: pd.DataFrame, choice: Choice) -> ColumnInfo | None:
    """The metric whose best fill is taken; None where no choice has to be made."""
    if choice.oracle:
        return column(results, choice.oracle, "--oracle")
    if not choice.best or fills.groupby(["label", "scene"], sort=False).size().max() == 1:
        return None
    try:
        return selection.choose(results.columns, choice.by or results.policy.by or None)
    except UsageError as error:
        raise UsageError(f"{error}; or choose with the truth, and say so: --oracle METRIC") from error


def _how(choice: Choice, by: ColumnInfo | None) -> str:
    if not choice.best:
        return "Every finished fill; nothing was chosen."
    if by is None:
        return "The fill of each row and scene: there is one of each, so nothing was chosen."
    if choice.oracle:
        truth = "reads the ground truth" if "truth" in by.reads else "was named for it"
        return f"ORACLE: of each row and scene the fill with the best {by.title}, which {truth}. No user could choose it ({by.signature})."
    words = {"higher": "most", "lower": "least"}[by.direction]
    return f"Selected without the ground truth: of each row and scene the fill with {words} {by.title} ({by.signature})."


def _lacking(results: Results, fills: pd.DataFrame, by: ColumnInfo | None) -> Iterator[str]:
    """Rows of which fewer fills could be chosen from, or shown, than were asked for."""
    asked = results.fills().groupby("label", sort=False).size()
    scored = results.scores()
    ranked = scored[(scored["signature"] == by.signature) & (scored["state"] == "ok")] if by else None
    for label, finished in fills.groupby("label", sort=False).size().items():
        if finished < asked[label]:
            yield f"{label}: {finished} of {asked[label]} fills that were asked for are finished; the others could not be taken"
        count = finished if ranked is None else int((ranked["label"] == label).sum())
        several = fills[fills["label"] == label].groupby("scene", sort=False).size().max() > 1
        if by and several and count < finished:
            yield f"{label}: {count} of {finished} fills have a {by.metric} score; the others could not be chosen"


def _chosen(results: Results, fills: pd.DataFrame, choice: Choice, by: ColumnInfo | None) -> pd.DataFrame:
    """The fills to export with `chosen`, why each; in the leaderboard's order of rows."""
    fills = fills.sort_values(["fit", "seed"], kind="stable")
    if not choice.best:
        return fills.assign(chosen="finished").sort_values(["scene", "label", "fit", "seed"], kind="stable")
    scores = results.scores()
    own = scores[scores["signature"] == (by.signature if by else "")].set_index(selection.CELL)["value"]
    values = own.reindex(fills.set_index(selection.CELL).index).to_numpy()
    sign = 1 if by is None or by.direction == "lower" else -1
    ordered = fills.assign(_value=values, _key=sign * values).sort_values("_key", na_position="last", kind="stable")
    counts = ordered.groupby(["label", "scene"], sort=False)["seed"].transform("size")
    best = ordered.assign(_of=counts).drop_duplicates(["label", "scene"])
    reasons = [_reason(value, of, by) for value, of in zip(best["_value"], best["_of"], strict=True)]
    return best.assign(chosen=reasons).sort_values(["scene", "label"], kind="stable")


def _reason(value: float, of: int, by: ColumnInfo | None) -> str:
    if of == 1 or by is None:
        return "the only fill"
    return f"the first: no fill has a {by.metric} score" if value != value else f"best {by.metric} of {of}: {value:.{by.digits}f}"


def _write(results: Results, chosen: pd.DataFrame, choice: Choice, made: _Zip) -> None:
    """All files of the zip."""
    board = tables(results).leaderboard
    rows = [row.label for row in board.rows]
    for label in rows:
        made.name("row", label)
    used = []
    for scene in results.scenes:
        lines = chosen[chosen["scene"] == scene]
        if len(lines):
            used.append(scene)
            _write_scene(results, scene, choice, made)
            for label in rows:
                _write_fills(results, lines[lines["label"] == label], choice, made)
    if not made.contents:
        raise NothingMeasured("no fill to export: none is what its record vouches for; run again")
    _write_tables(results, made)
    made.add("contents.csv", _contents(results, made))
    made.add("README.txt", _readme(results, used, made).encode())


def _write_fills(results: Results, lines: pd.DataFrame, choice: Choice, made: _Zip) -> None:
    for line in lines.itertuples(index=False):
        row, scene = made.name("row", line.label), made.name("scene", line.scene)
        path = Path(line.folder) / "fill.png"
        data = path.read_bytes() if path.is_file() else b""
        if fingerprint.of_bytes(data) != line.image:
            made.remarks.append(f"{line.label} on {line.scene}, seed {line.seed}: left out, its image is not what its record vouches for")
            continue
        name = f"{row}.png" if choice.best else f"{row}-fit-{line.fit}-seed-{line.seed:05d}.png"
        made.add(f"scenes/{scene}/fills/{name}", data)
        head = {"scene": line.scene, "row": line.label, "fit": line.fit, "seed": line.seed, "chosen": line.chosen, "sha256": line.image}
        made.contents.append({"file": f"scenes/{scene}/fills/{name}"} | head)


def _write_scene(results: Results, scene: str, choice: Choice, made: _Zip) -> None:
    """Target with its hole and mask; references and truth where the licence lets them be passed on."""
    folder = f"scenes/{made.name('scene', scene)}"
    try:
        found = _load(results, scene)
    except SceneError as error:
        made.remarks.append(f"{scene}: no images of the scene, {error}")
        return
    made.add(f"{folder}/target.png", encode_png(found.task().target))
    made.add(f"{folder}/mask.png", encode_png(found.mask))
    licence = results.scenes[scene].licence
    if not choice.unlicensed and not may_be_shared(licence):
        said = f"its licence ({licence}) is not known to allow it" if licence else "it states no licence"
        made.remarks.append(f"{scene}: references and truth left out, {said}")
        return
    for at, reference in enumerate(found.references, 1):
        made.add(f"{folder}/reference-{at}.png", encode_png(reference))
    if found.truth is not None:
        made.add(f"{folder}/truth.png", encode_png(found.truth))


def _load(results: Results, shown: str) -> Scene:
    """A scene as it was when it was run. Raises SceneError when it is gone or changed."""
    manifest, name = results.origins[shown]
    scene = open_suite(DEMO if manifest.suite == DEMO else manifest.suite_path).load(name)
    if scene.digests != manifest.scenes[name].digests:
        raise SceneError("its files have changed since the run")
    return scene


def _write_tables(results: Results, made: _Zip) -> None:
    pairs = redactions(results)
    frames = {"leaderboard": leaderboard_frame(results), "pairs": pairs_frame(results), "scores": results.scores()}
    for name, frame in frames.items():
        made.add(f"tables/{name}.csv", redact(frame.to_csv(index=False, lineterminator="\n"), pairs).encode())
    with tempfile.TemporaryDirectory() as folder:
        for name in (name for name in TEXTS if name in registry.names("reports")):
            for path in registry.load("reports", name)().write(results, Path(folder)):
                made.add(f"tables/{path.name}", path.read_bytes())


def _contents(results: Results, made: _Zip) -> bytes:
    """contents.csv: every fill with its scores."""
    scores = results.scores().set_index([*selection.CELL, "signature"])["value"].to_dict()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIELDS, *results.columns])
    for line in made.contents:
        cell = line["row"], line["scene"], line["fit"], line["seed"]
        values = [scores.get((*cell, signature), float("nan")) for signature in results.columns]
        writer.writerow([*(line[name] for name in FIELDS), *("" if value != value else repr(float(value)) for value in values)])
    return text.getvalue().encode()


def _readme(results: Results, scenes: list[str], made: _Zip) -> str:
    pairs = redactions(results)
    return "".join(f"{printable(redact(' '.join(line.split()), pairs))}\n" for line in _about(results, scenes, made))


def _about(results: Results, scenes: list[str], made: _Zip) -> Iterator[str]:
    """README.txt, line by line."""
    first, *others = made.remarks
    yield from ("# Fills of a realbench run", "", first, "")
    yield "- `scenes/<scene>/fills/<row>.png`: composites: the method's fill in the hole and a few pixels around it, the target elsewhere"
    yield "- `scenes/<scene>/target.png` and `mask.png`: the target with its hole blanked, and the hole in white"
    yield "- `scenes/<scene>/reference-N.png` and `truth.png`, where the licence lets them be passed on"
    yield "- `contents.csv`: every fill with its row, fit, seed, why it was chosen, SHA-256 and scores"
    yield from (f"- `tables/`: the leaderboard and every score; seeds counted there: {tables(results, results.policy).policy}", "")
    yield "Every fill shows its scene's known region: look at the licences below before you publish it."
    yield from ("", "## Left out", "", *(f"- {line}" for line in others)) if others else ()
    yield from ("", "## Scenes", "")
    for scene in scenes:
        info = results.scenes[scene]
        title = f" ({info.title})" if info.title else ""
        yield f"- {scene}{title}, in `scenes/{made.name('scene', scene)}`; licence: {info.licence or 'none stated'}"
    yield from ("", "## Rows", "")
    for label, row in results.rows.items():
        if not row.oracle:
            settings = ", ".join(str(item) for item in changed(row)) or "its method's defaults"
            files = f"`{made.name('row', label)}`: {label}: {row.title}"
            yield f"- {files}; method {row.method}, fingerprint {row.fingerprint}; {settings}; licence: {row.licence or 'none stated'}"
    yield from ("", "## Where it comes from", "")
    for name, _, manifest in results.runs:
        versions = ", ".join(sorted({item.version for item in manifest.invocations}))
        yield f"- run {name}: suite {manifest.suite}, feather {manifest.feather:g}/512, realbench {versions or 'of an unknown version'}"
    yield f"- zip written by realbench {__version__}"
