"""What the pages say of selected seeds, of filtering and of a paper's numbers, also where the run's texts are hostile."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from realbench import protocol
from realbench.paper import PAPER
from realbench.reports.csv import CSV
from realbench.reports.html import HTML
from realbench.reports.markdown import Markdown
from realbench.reports.parquet import Parquet
from realbench.results import Results, load_run
from realbench.selection import Policy
from tests.making import PSNR, Made
from tests.pages import Page
from tests.reports.conftest import EVIL, MARKUP

MATCHES = "matches|region:hole|backend:sift|v:1"
Show = Callable[..., str]


@pytest.fixture
def seeded(made: Made) -> Made:
    """The awkward run with three more seeds of `good:fast`, matched by seed; seed 1 on `wide` failed with hostile words."""
    made.column(MATCHES, reads=["references"], digits=0)
    made.manifest.rows["good:fast"].seeds = [0, 1, 2, 3]
    for scene, base in (("tall", 20.5), ("wide", 22.25), ("=1+1", 1 / 3)):
        for seed in range(4):
            made.score("good:fast", scene, base + seed, seed=seed)
            made.score("good:fast", scene, 10 * seed, seed=seed, signature=MATCHES)
    made.score("good:fast", "wide", None, seed=1, signature=MATCHES, state="failed", reason=f"ValueError: {MARKUP}")
    made.write()
    return made


def results(made: Made, **words: object) -> Results:
    return replace(load_run(made.root), **words)  # type: ignore[arg-type]


def markdown(found: Results, folder: Path) -> str:
    return Markdown().write(found, folder)[0].read_text()


def html(found: Results, folder: Path) -> Page:
    return Page(HTML().write(found, folder)[0].read_text())


def test_the_filtered_table_on_both_pages(seeded: Made, tmp_path: Path) -> None:
    text, page = markdown(results(seeded), tmp_path), html(results(seeded), tmp_path)
    # Mean of the four seeds' means over three scenes: 14.36 + 1.5; of the best seed: 14.36 + 3.
    assert re.search(r"\| good:fast \| 0 % \| 4 of 4 \| 15\.86", text) and re.search(
        r"\| good:fast \| 75 % \| 1 of 4 \| 17\.36[^|]*Δ \+1\.50", text
    )
    # The metric that ranks is named; its signature, often 200 characters long, stands in the list of metrics alone.
    assert "are ranked by MATCHES <sup>3</sup>, never" in text and text.count(MATCHES) == 1
    assert "are ranked by MATCHES 3 , never" in page.text and page.text.count(MATCHES) == 1
    assert re.search(r"75 % 1 of 4 17\.36 .*?Δ \+1\.50", page.text)
    for words in (text, page.text):
        assert "never by the ground truth" in words and "4 of 16 seeds" not in words
    told = "good:fast: 5 of 16 seeds have no matches score and rank last"
    assert told in page.text and told in text
    assert " ".join(MARKUP.split()) in page.text and "<img" not in text


def test_selected_seeds_are_named_and_shown(seeded: Made, tmp_path: Path) -> None:
    chosen = results(seeded, policy=Policy("selected", Fraction(1, 4), MATCHES))
    text, page = markdown(chosen, tmp_path), html(chosen, tmp_path)
    assert "25 % of the seeds with most MATCHES" in page.text and "25 % of the seeds with most MATCHES" in text
    assert "5 of 16 seeds have no matches score" in page.text.split("Mean over seeds, then fits")[0]
    row = next(line for line in text.splitlines() if line.startswith("| good:fast "))
    assert "17.36" in row


def test_oracle_seeds_are_marked(seeded: Made, tmp_path: Path) -> None:
    oracle = results(seeded, policy=Policy("oracle", Fraction(0), MATCHES))
    page = html(oracle, tmp_path)
    assert "oracle: the best seed by each metric itself" in page.text and "its seeds are chosen by the scores themselves" in page.text
    assert "rank 1" not in page.text


def test_hostile_texts_stay_texts(seeded: Made, tmp_path: Path) -> None:
    seeded.manifest.rows[EVIL].seeds = [0, 1]
    seeded.manifest.rows[EVIL].settings = {"prompt": MARKUP, "folder": "/home/alice/x"}
    seeded.write()
    found = results(seeded, protocol="paper", policy=Policy("selected", Fraction(1, 2), MATCHES))
    page, text = html(found, tmp_path), markdown(found, tmp_path)
    assert {tag for tag, _ in page.elements}.isdisjoint({"iframe", "form"}) and EVIL in page.text
    assert [item.get("type", "") for item in page.all("script")] == ["", "application/json", "", ""]
    assert "folder=x" in page.text and "alice" not in page.text.replace("/home/alice/suites/gone", "") and "alice" not in text
    assert set(re.findall(r"<[^>]*>?", text)) <= {"<sup>", "</sup>", "<br>"}
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_measured_and_published_stand_apart(seeded: Made, tmp_path: Path) -> None:
    seeded.manifest.protocol = protocol.adopt(PAPER, seeded.manifest)
    seeded.write()
    found = results(seeded, protocol="paper")
    text, page = markdown(found, tmp_path), html(found, tmp_path)
    measured, published = text.split("### Measured here")[1].split("### Published")
    assert "| good:fast | 15.86" in measured and "GeoComplete" not in measured and "truth" not in measured
    assert "| GeoComplete | 17.32 | 0.578 |" in published and "good:fast |" not in published.split("What the paper states")[0]
    assert "Not measured: ssim, lpips, dreamsim, dino, clip." in measured
    assert "scenes: 5 instead of the 33 of RealBench" in text and "it was not made with this protocol" not in text
    assert PAPER.caution in page.text and "scenes: 5 instead of the 33 of RealBench" in page.text
    captions = [words for words in ("Measured here", "Published , as printed") if words in page.text]
    assert len(captions) == 2


def test_ids_and_links_hold(seeded: Made, tmp_path: Path) -> None:
    page = html(results(seeded, protocol="paper"), tmp_path)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    targets = {item["href"][1:] for item in page.all("a") if item["href"].startswith("#")}
    assert len(ids) == len(set(ids)) and targets <= set(ids) and {"filtering", "protocol"} <= targets


def test_the_long_form_is_written_where_there_are_seeds(seeded: Made, tmp_path: Path) -> None:
    import pandas as pd

    for report, name in ((CSV, "filtering.csv"), (Parquet, "filtering.parquet")):
        assert name in [path.name for path in report().write(results(seeded), tmp_path)]
    one, other = pd.read_csv(tmp_path / "filtering.csv"), pd.read_parquet(tmp_path / "filtering.parquet")
    assert list(one.columns) == list(other.columns) and len(one) == len(other) == 4 * 3
    pd.testing.assert_series_equal(one["mean"], other["mean"])
    assert str(other["scenes"].dtype) == "int64" and other["change"].isna().sum() == 3 + 3  # at 0 %, and under drift


def test_two_columns_of_a_metric_are_told_apart_by_number(seeded: Made, tmp_path: Path) -> None:
    other = PSNR.replace("range:255", "range:1")
    seeded.column(other, digits=2, unit="dB", reads=["truth"])
    for seed in range(4):
        seeded.score("good:fast", "tall", 40 + seed, seed=seed, signature=other)
    seeded.write()
    found = results(seeded, protocol="paper")
    text, page = markdown(found, tmp_path), HTML().write(found, tmp_path)[0].read_text()
    both = "| PSNR (dB) ↑ <sup>1</sup> | PSNR (dB) ↑ <sup>2</sup> |"
    assert f"| row | dropped | seeds kept {both}" in text and f"| row {both}\n" in text
    assert f"2. `{other}`" in text
    for section in ("filtering", "protocol"):
        heads = re.findall(r"<th scope.*?</th>", page.split(f'<section id="{section}"')[1].split("</section>")[0], re.DOTALL)
        numbers = {head.split('href="#metric-')[1][0]: head.split('title="')[1].split('"')[0] for head in heads if "#metric-" in head}
        assert (numbers["1"], numbers["2"]) == (PSNR, other)


def test_what_scores_were_made_with_is_told_and_mixed_devices_are_marked(seeded: Made, tmp_path: Path) -> None:
    old, new = {"torch": "2.15", "kornia": "0.9"}, {"torch": "2.16"}
    seeded.score("good:fast", "tall", 5, signature=MATCHES, versions=old)
    seeded.score("good:fast", "wide", 5, signature=MATCHES, device="cuda", versions=new)
    seeded.score("good:fast", "=1+1", None, signature=PSNR, state="failed", reason="no", device="tpu", versions={"lost": "1"})
    found = results(seeded, protocol="paper")
    text, page = markdown(found, tmp_path), html(found, tmp_path).text
    told = text.split("## Provenance")[1]
    assert "- fills: cpu (Some), float32, 1 thread" in told
    for words in (told, page):
        assert "kornia 0.9" in words and "torch 2.15, torch 2.16" in words and "numpy 2.0" in words
        assert "scores: cuda (Some), 1 thread" in words and "tpu" not in words and "lost 1" not in words
    marks = re.findall(r"\| ([A-Z]+)[^|<]*<sup>\d</sup>( \*\(mixed devices\)\*)?", text)
    assert {name for name, mark in marks if mark} == {"MATCHES"} and ("PSNR", "") in marks
    assert "**Mixed devices**: cpu (Some) and cuda (Some)." in text
    assert page.count("mixed devices") == 2 and "may not compare: cpu (Some); cuda (Some)." in page  # the board and the filtered table
