"""The blind page: one file that tells nothing of whose fills it shows, and a key that tells all."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from realbench.errors import NothingMeasured
from realbench.reports import blind
from realbench.reports.blind import Blind
from realbench.reports.html import HTML
from realbench.reports.markdown import Markdown
from realbench.results import Results, load_run
from realbench.votes import BlindOptions, Key, tally
from tests.conftest import write_scene
from tests.making import Made
from tests.pages import Page

SCENES = ("harbour view", "old mill", "<b>town")
ROWS = ("warp-method", "mean-method", "<i>third")
ORACLE = "oracle-method"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Three rows and an oracle over three scenes; one row has three seeds, one lacks a scene. Every fill has a grey of its own."""
    run = Made(tmp_path / "run", tmp_path / "suite")
    for at, scene in enumerate(SCENES):
        write_scene(tmp_path / "suite" / f"s{at}", seed=at, references=1 + 3 * at)
        run.scene(f"s{at}", title=f"Title of {scene}")
    for label in (*ROWS, ORACLE):
        run.row(label, seeds=[0, 1, 2] if label == ROWS[0] else [0], oracle=label == ORACLE, summary=f"Summary of {label}")
    for label, row in run.manifest.rows.items():
        for scene in run.manifest.scenes:
            for seed in row.seeds:
                failed = (label, scene) == (ROWS[1], "s2")
                run.fill(label, scene, seed=seed, state="failed" if failed else "ok")
    run.write()
    return run


def write(made: Made, **options: Any) -> tuple[Path, Page, Key]:
    folder = made.root.parent / "out"
    folder.mkdir(exist_ok=True)
    path, key = Blind().write(replace(load_run(made.root), blind=BlindOptions(**options)), folder)
    return path, Page.read(path), Key.model_validate_json(key.read_text())


def pixels(page: Page, at: int) -> np.ndarray:
    address = page.data("study")["images"][at]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/webp;base64,")))).convert("RGB"))


def grey(made: Made, label: str, scene: str, seed: int) -> float:
    path = made.folder.cell(made.cell(label, scene, seed=seed)) / "fill.png"
    return float(np.asarray(Image.open(path)).mean())


def test_the_key_says_what_each_side_shows(made: Made) -> None:
    _, page, key = write(made)
    study = page.data("study")
    assert [pair[0] for pair in study["pairs"]] == [pair.id for pair in key.pairs] and study["study"] == key.study
    # Two scenes with three rows have three pairs each, the third scene one.
    assert Counter(pair.scene for pair in key.pairs) == {"s0": 3, "s1": 3, "s2": 1}
    for pair, (_, scene, a, b) in zip(key.pairs, study["pairs"], strict=True):
        for shown, side in ((a, pair.a), (b, pair.b)):
            assert pixels(page, shown).mean() == pytest.approx(grey(made, side.label, pair.scene, side.seed), abs=2)
        target, references = study["scenes"][scene]
        assert (
            len(references) == made.manifest.scenes[pair.scene].references
            if pair.scene != "s2"
            else len(references) == blind.MOST_REFERENCES
        )
        assert pixels(page, target).shape == (32, 48, 3)


def test_nothing_in_the_file_tells_whose_fills_they_are(made: Made) -> None:
    path, page, key = write(made)
    data = page.data("study")
    assert set(data) == {"study", "images", "scenes", "pairs", "questions"}
    hidden = [*ROWS, "i&gt;third", "method", *SCENES, "Title of", "Summary of", str(made.root), "run", "fill.png", "seed"]
    text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", page.source)
    for name in hidden:
        assert name not in page.text, name
        assert name not in json.dumps({**data, "images": []}), name
    for label in (*ROWS, *(pair.a.image for pair in key.pairs)):
        assert label not in text
    assert re.fullmatch(r"blind-[0-9a-f]{16}\.html", path.name)
    for address in data["images"]:
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
            assert image.format == "WEBP" and not image.getexif() and not {"exif", "xmp", "icc_profile"} & set(image.info)


def test_places_and_sides_tell_nothing(made: Made) -> None:
    _, page, key = write(made)
    pairs = page.data("study")["pairs"]
    sides = {frozenset((pair.a.label, pair.b.label)): [] for pair in key.pairs}  # type: ignore[var-annotated]
    for pair in key.pairs:
        sides[frozenset((pair.a.label, pair.b.label))].append(pair.a.label)
    orders = [tuple(pair.a.label for pair in write(made, seed=seed)[2].pairs) for seed in range(8)]
    assert len(set(orders)) > 4, "another seed shows other sides"
    first = [a for _, _, a, b in pairs] + [b for _, _, a, b in pairs]
    assert first != sorted(first), "pictures lie in no order of their pairs"
    images = [write(made, seed=seed)[1].data("study") for seed in range(4)]
    assert len({tuple(pair[2] for pair in study["pairs"]) for study in images}) > 1


def test_the_page_needs_nothing_beside_itself(made: Made) -> None:
    path, page, _ = write(made)
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name]
    policy = page.policy()
    assert policy["default-src"] == ["'none'"] and policy["img-src"] == ["data:"] and "connect-src" not in policy
    assert set(policy["script-src"]) == page.hashes("script") and set(policy["style-src"]) == page.hashes("style")
    assert not page.all("img") and not page.all("form"), "the script makes them of the data"
    assert all(item["href"].startswith("#") for item in page.all("a"))


def test_the_same_run_and_seed_give_the_same_study(made: Made) -> None:
    first, again, other = write(made, seed=3), write(made, seed=3), write(made, seed=4)
    assert first[1].source == again[1].source and first[2] == again[2]
    assert other[2].study != first[2].study and {pair.id for pair in other[2].pairs}.isdisjoint(pair.id for pair in first[2].pairs)


def test_the_seed_alone_does_not_give_the_sides_away(made: Made) -> None:
    _, _, key = write(made, seed=0)
    made.fill(ROWS[0], "s0", seed=0, timings={"x": 1})
    path = made.folder.cell(made.cell(ROWS[2], "s0")) / "record.json"
    path.write_text(path.read_text().replace('"fill.png": "', '"fill.png": "0', 1))
    _, _, other = write(made, seed=0)
    assert [pair.id for pair in key.pairs] != [pair.id for pair in other.pairs], "content goes into the lot, so the seed is not enough"


def test_oracles_take_part_only_when_asked(made: Made) -> None:
    labels = {side.label for pair in write(made)[2].pairs for side in (pair.a, pair.b)}
    assert labels == set(ROWS)
    labels = {side.label for pair in write(made, oracles=True)[2].pairs for side in (pair.a, pair.b)}
    assert labels == {*ROWS, ORACLE}


def test_few_pairs_are_spread_evenly(made: Made) -> None:
    _, page, key = write(made, pairs=3)
    assert len({frozenset((pair.a.label, pair.b.label)) for pair in key.pairs}) == 3
    assert len({pair.scene for pair in key.pairs}) == 3 or Counter(pair.scene for pair in key.pairs).most_common(1)[0][1] < 3
    assert "3 pairs, two questions each. About 1 minute." in page.text


@pytest.mark.parametrize(
    ("pairs", "words"),
    [(1, "1 pair, two questions each. About 1 minute."), (5, "5 pairs, two questions each. About 2 minutes.")],
)
def test_pairs_and_minutes_are_counted(pairs: int, words: str, made: Made) -> None:
    assert words in write(made, pairs=pairs)[1].text


def test_seeds_are_drawn_from_those_that_count(made: Made) -> None:
    shown = {
        side.seed for seed in range(12) for pair in write(made, seed=seed)[2].pairs for side in (pair.a, pair.b) if side.label == ROWS[0]
    }
    assert shown == {0, 1, 2}


def test_what_has_no_room_is_left_out(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = write(made)[1].data("study")["images"]
    monkeypatch.setattr(blind, "BUDGET", sum(len(base64.b64decode(address.partition(",")[2])) for address in addresses) // 2)
    _, page, key = write(made)
    assert 0 < len(key.pairs) < 7 and key.left_out == 7 - len(key.pairs) and len(page.data("study")["pairs"]) == len(key.pairs)
    monkeypatch.setattr(blind, "BUDGET", 10)
    with pytest.raises(NothingMeasured, match="none of them can be read or fits"):
        write(made)


def test_one_row_cannot_be_compared(made: Made) -> None:
    made.manifest.rows = {ROWS[0]: made.manifest.rows[ROWS[0]]}
    made.write()
    with pytest.raises(NothingMeasured, match="it takes two of them"):
        write(made)


def voted(made: Made, answer: str) -> Results:
    """Everybody prefers the first row."""
    _, _, key = write(made)
    prefer = ROWS[2]
    votes = []
    for pair in key.pairs:
        sides = {pair.a.label: "a", pair.b.label: "b"}
        votes.append({"pair": pair.id, "realistic": sides.get(prefer, answer), "faithful": None})
    path = made.root.parent / "votes.json"
    path.write_text(json.dumps({"kind": "realbench-votes/1", "study": key.study, "ballot": "0" * 32, "votes": votes}))
    return replace(load_run(made.root), votes=(path,))


def test_votes_come_back_to_their_rows(made: Made) -> None:
    found = tally(voted(made, "tie"))
    assert found is not None
    realistic, faithful = found.questions
    assert (realistic.rows[0].label, realistic.rows[0].wins, realistic.rows[0].losses) == (ROWS[2], 5, 0)
    assert {row.label: row.ties for row in realistic.rows} == {ROWS[2]: 0, ROWS[0]: 2, ROWS[1]: 2}
    assert faithful.rows == ()


def test_reports_show_votes(made: Made, tmp_path: Path) -> None:
    made.scores(ROWS[0], {"s0": 10})
    results = voted(made, "tie")
    folder = tmp_path / "report"
    folder.mkdir()
    page = Page.read(HTML().write(results, folder)[0])
    section = page.text[page.text.index("1 ballot on 7 pairs from 3 scenes") :]
    assert re.search(r"Which is more realistic\? Row Preferred Won Tied Lost <i>third 100 % 5 0 0 ", section)
    assert "more faithful to the references?" not in section, "nobody answered it"
    text = Markdown().write(results, folder)[0].read_text()
    assert "## Votes" in text and "100 %" in text and "<i>" not in text
