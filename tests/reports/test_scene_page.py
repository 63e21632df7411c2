"""Pages of scenes: everything a scene shows, hostile or missing, in files that are safe to name and to open."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from realbench import fingerprint
from realbench.records import ScoreRecord
from realbench.reports import _scenes, _strip
from realbench.reports._gallery import Gallery
from realbench.reports._site import Site, scene_page
from realbench.results import Results, load_run
from realbench.selection import Policy
from tests.conftest import write_scene
from tests.making import Made
from tests.pages import Page
from tests.reports.conftest import EVIL

MATCHES = "matches|region:hole|image:composite|v:1"
HOSTILE = "<img onerror=alert(1)>"
COUNTS = {0: 5, 1: 9, 2: 7, 3: 9}
"""Matches by seed: the order is 1, 3, 2, 0."""


def write(results: Results, folder: Path) -> dict[str, Page]:
    """Every page by its scene."""
    folder.mkdir(exist_ok=True)
    site = Site(results, folder)
    gallery = Gallery(site)
    paths = _scenes.write_scene_pages(site, gallery)
    assert paths == [folder / scene_page(scene) for scene in gallery.ids]
    return dict(zip(gallery.ids, map(Page.read, paths), strict=True))


def build(folder: Path) -> Made:
    """A row of four seeds with matches, one of a single seed, and an oracle; the second scene has a hostile name and no truth."""
    suite = folder / "suite"
    write_scene(suite / "one", seed=1, references=2)
    write_scene(suite / "two", seed=2, references=1, truth=False)
    run = Made(folder / "run", suite)
    run.column(MATCHES, reads=["references"], unit="matches", digits=0)
    run.scene("one", title=EVIL, licence="own")
    run.scene("two")
    run.manifest.scenes[HOSTILE] = run.manifest.scenes.pop("two")
    run.row("many", seeds=[0, 1, 2, 3])
    run.row("single")
    run.row("truth", ["one"], oracle=True)
    for scene in ("one", HOSTILE):
        for seed, count in COUNTS.items():
            run.fill("many", scene, seed=seed)
            run.score("many", scene, count, signature=MATCHES, seed=seed)
        run.score("single", scene, 3, signature=MATCHES)
    run.scores("truth", {"one": 40})
    run.scores("single", {"one": 12})
    lines(run, "many", [[0, 0, 0, 12, 8], [1, 55.5, 31, 20.4, 12]], [1, 1])
    run.write()
    return run


@pytest.fixture
def several(tmp_path: Path) -> Made:
    return build(tmp_path)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages of the run lie, for tests that change nothing."""
    return tmp_path_factory.mktemp("scenes") / "out"


@pytest.fixture(scope="module")
def pages(out: Path) -> dict[str, Page]:
    return write(load_run(build(out.parent).root), out)


def lines(run: Made, label: str, found: object, counts: object) -> None:
    """Give the first seed's match score on scene `one` these artefacts."""
    cell = run.cell(label, "one")
    key = next(key for key, info in run.manifest.columns.items() if info.signature == MATCHES)
    record = run.folder.read_score(cell, key)
    assert isinstance(record, ScoreRecord)
    run.folder.write_scores([(cell, key, record.model_copy(update={"artefacts": {"lines": found, "counts": counts}}))])


def test_pages_have_safe_names_that_differ() -> None:
    scenes = [HOSTILE, "a b", "a-b", "a_b", "A B", "../../etc", "é", "è", "CON", ".", "", "x" * 400, "x" * 401, "\udc80", "a/b", "a\\b"]
    names = [scene_page(scene) for scene in scenes]
    assert all(re.fullmatch(r"scenes/[a-z0-9-]{1,69}\.html", name) for name in names)
    assert len(set(names)) == len(names)
    assert len({scene_page(scene).lower() for scene in ("A", "a")}) == 2


def test_a_page_shows_all_of_a_scene(pages: dict[str, Page], out: Path) -> None:
    page = pages["one"]
    alts = [item["alt"] for item in page.all("img") if item["alt"]]
    expected = ["Reference 1", "Reference 2", "Target", "Ground truth"]
    assert [text.removesuffix(" of scene one") for text in alts[:4]] == expected
    for label in ("many", "single", "truth"):
        assert f"Fill of scene one by {label}" in alts and f"Error map of {label} on scene one" in alts
    for item in page.all("img"):
        if "src" in item:
            with Image.open(out / "scenes" / item["src"]) as image:
                shown = item["alt"] or item["src"]
                assert max(image.size) <= 1024 and item["loading"] == "lazy", shown
                ratio = int(item["width"]) / int(item["height"])
                assert ratio == pytest.approx(image.width / image.height, abs=0.02), shown
    assert "0 64 ≥ 128 levels" in page.text
    assert "PSNR (dB) ↑ 12.00" in page.text


def test_the_slider_is_told_what_it_can_show(pages: dict[str, Page], out: Path) -> None:
    layers = pages["one"].data("layers")
    assert [name for name, _ in layers] == ["Ground truth", "Target", "single", "many", "many, seed 1 (ranked first of 4)", "truth"]
    assert all((out / path).is_file() for _, path in layers)
    (left,), (right,) = ([item for item in pages["one"].all("select") if item["id"] == side] for side in ("left", "right"))
    assert left["autocomplete"] == right["autocomplete"] == "off"
    chosen = [item["value"] for item in pages["one"].all("option") if "selected" in item]
    assert chosen == ["0", "2"]
    assert [name for name, _ in pages[HOSTILE].data("layers")] == ["single", "many", "many, seed 1 (ranked first of 4)"], (
        "its suite has no such scene, so no target"
    )


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(pages: dict[str, Page]) -> None:
    for page in pages.values():
        policy = page.policy()
        assert policy["default-src"] == ["'none'"] and policy["img-src"] == ["'self'", "file:"]
        assert set(policy["script-src"]) == page.hashes("script") and set(policy["style-src"]) == page.hashes("style")
        names = {name for _, attributes in page.elements for name in attributes}
        assert not [name for name in names if name.startswith("on") or name == "style"]


def test_hostile_texts_stay_texts(pages: dict[str, Page], out: Path) -> None:
    assert HOSTILE in pages[HOSTILE].text and EVIL in pages["one"].text
    for page in pages.values():
        assert {attributes.get("type", "") for attributes in page.all("script")} <= {"", "application/json"}
        assert "onerror" not in {name for _, attributes in page.elements for name in attributes}
        assert "<img onerror" not in page.source and "<script>alert" not in page.source
        assert str(out.parent) not in page.source


def test_pages_lead_to_their_neighbours(pages: dict[str, Page]) -> None:
    links = {scene: {item.get("rel"): item["href"] for item in page.all("a")} for scene, page in pages.items()}
    assert links["one"]["next"] == f"../{scene_page(HOSTILE)}" and "prev" not in links["one"]
    assert links[HOSTILE]["prev"] == f"../{scene_page('one')}" and "next" not in links[HOSTILE]


def test_seeds_are_shown_best_first_with_their_marks(pages: dict[str, Page]) -> None:
    page = pages["one"]
    assert re.search(r"9 seed 1 kept 9 seed 3 dropped 7 seed 2 dropped 5 seed 0 dropped", page.text)
    assert "what --keep 25% would keep" in page.text and "many 4 of 4 finished, 1 kept" in page.text
    assert "Fill of scene one by many" in page.source and "fit 0, seed 0; 4 of 4 fills finished" in page.text


def test_a_selection_that_counts_is_told_and_shown(several: Made, tmp_path: Path) -> None:
    results = replace(load_run(several.root), policy=Policy("selected", Fraction(1, 2), MATCHES))
    page = write(results, tmp_path / "out")["one"]
    assert "The tables count the kept seeds alone (50%)" in page.text
    assert "many, seed 0 (ranked last of 4)" in [name for name, _ in page.data("layers")]
    assert re.search(r"9 seed 1 kept 9 seed 3 kept 7 seed 2 dropped 5 seed 0 dropped", page.text)
    assert "fit 0, seed 1; 4 of 4 fills finished the most matches of its seeds" in page.text


def test_without_a_match_score_seeds_keep_their_order(several: Made, tmp_path: Path) -> None:
    several.manifest.columns = {key: info for key, info in several.manifest.columns.items() if info.metric != "matches"}
    several.write()
    page = write(load_run(several.root), tmp_path / "out")["one"]
    assert "realbench score RUN --metric matches" in page.text and not page.all("path")
    assert "In the order of their numbers: this run has no matches to select seeds by" in page.text
    assert re.search(r"seed 0 seed 1 seed 2 seed 3", page.text) and "dropped" not in page.text


def test_match_lines_are_drawn(pages: dict[str, Page]) -> None:
    page = pages["one"]
    assert [item["class"] for item in page.all("path")] == ["series-1", "series-2"]
    (drawing,) = [item for item in page.all("svg") if "match lines" in item.get("aria-label", "")]
    assert drawing["aria-label"] == "2 match lines from the references into the fill of many"
    assert "many 1 + 1 matches" in page.text
    assert "single : no match line was recorded for this fill" in page.text


@pytest.mark.parametrize(
    "found",
    ["text", [["a"] * 5], [[7, 1, 1, 1, 1]], [[0, 1, 1, 1]], [[0, float("inf"), 1, 1, 1]], [[-1, 1, 1, 1, 1]], [[True, 1, 1, 1, 1]], {}],
)
def test_what_is_no_line_is_not_drawn(several: Made, tmp_path: Path, found: object) -> None:
    lines(several, "many", found, found)
    page = write(load_run(several.root), tmp_path / "out")["one"]
    assert not page.all("path")


def test_a_scene_without_truth_has_no_error_maps(pages: dict[str, Page]) -> None:
    page = pages[HOSTILE]
    assert "Error maps" not in page.text and "no ground truth" in page.text
    assert not [item for item in page.all("img") if "Error map" in item["alt"]]


def test_a_corrupt_fill_is_told(several: Made, tmp_path: Path) -> None:
    path = several.folder.cell(several.cell("single", "one")) / "fill.png"
    status = path.stat()
    path.write_bytes(b"\0" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk that rots: nothing else tells of it
    page = write(load_run(several.root), tmp_path / "out")["one"]
    assert "fill.png cannot be read: it is not what its record vouches for" in page.text
    assert [name for name, _ in page.data("layers")].count("single") == 0


def test_a_failed_fill_and_failed_seeds_are_told(made: Made, tmp_path: Path) -> None:
    made.manifest.rows["good:fast"].seeds = [0, 1]
    made.write()
    made.fill("good:fast", "tall", seed=1, state="failed", reason=f"RuntimeError: {EVIL}")
    pages = write(load_run(made.root), tmp_path / "out")
    assert "RuntimeError: a|b `c` <img src=x onerror=alert(2)>" in pages["wide"].text
    tips = [item.get("data-tip") for item in pages["tall"].all("span")]
    assert f"RuntimeError: {EVIL}" in tips


def test_a_second_report_makes_no_picture_again_and_the_same_pages(several: Made, tmp_path: Path) -> None:
    first = write(load_run(several.root), tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    second = write(load_run(several.root), tmp_path / "out")
    assert {scene: page.source for scene, page in first.items()} == {scene: page.source for scene, page in second.items()}
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    shutil.rmtree(tmp_path / "suite")
    third = write(load_run(several.root), tmp_path / "out")
    assert third["one"].source == first["one"].source, "copies outlive the suite"


def test_at_most_so_many_seeds_are_shown(monkeypatch: pytest.MonkeyPatch, several: Made, tmp_path: Path) -> None:
    monkeypatch.setattr(_strip, "MOST", 3)
    page = write(load_run(several.root), tmp_path / "out")["one"]
    assert re.search(r"9 seed 1 kept 7 seed 2 dropped 5 seed 0 dropped", page.text)
    assert "3 shown, evenly over their order" in page.text


def test_cards_lead_to_pages(several: Made, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    cards = Gallery(Site(load_run(several.root), tmp_path / "out")).cards()
    assert [(card.id, card.href, card.target.caption) for card in cards] == [(name, scene_page(name), name) for name in ("one", HOSTILE)]


def test_fills_name_their_picture_s_content(several: Made) -> None:
    lines = load_run(several.root).fills()
    for line in lines.itertuples():
        data = (Path(line.folder) / "fill.png").read_bytes()
        assert line.image == fingerprint.of_bytes(data) and several.folder.cell(line.cell) == Path(line.folder)
    assert len(lines) == 2 * 5 + 1
