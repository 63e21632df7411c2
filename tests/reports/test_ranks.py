"""Mean ranks with their intervals, and headings, as each format shows them."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from realbench.display import html_table, rich_table
from realbench.reports._site import Site
from realbench.reports._text import byname, heading_below
from realbench.reports._views import board
from realbench.reports.latex import LaTeX
from realbench.reports.markdown import Markdown
from realbench.results import Results, load_run
from realbench.tables import tables
from tests.making import Made

SSIM = "ssim|region:hole|v:1"
SEAM = "seam|region:border|v:1"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two rows under three metrics, whose mean ranks are 4/3 and 5/3."""
    run = Made(tmp_path / "run")
    run.column(SSIM, reads=["truth"])
    run.column(SEAM, region="border", direction="lower", reads=["truth"])
    for at in range(5):
        run.scene(f"s{at}")
    run.row("a")
    run.row("b")
    for at in range(5):
        run.scores("a", {f"s{at}": 20.0 + at})
        run.scores("b", {f"s{at}": 19.0 + 1.5 * at if at else 5.0})
        run.scores("a", {f"s{at}": 0.5 + at / 100}, SSIM)
        run.scores("b", {f"s{at}": 0.4 + at / 100}, SSIM)
        run.scores("a", {f"s{at}": 5.0 + at}, SEAM)
        run.scores("b", {f"s{at}": 4.0 + at}, SEAM)
    return load_run(run.write())


def test_a_mean_rank_and_its_interval_have_the_same_decimals_everywhere(results: Results, tmp_path: Path) -> None:
    first = tables(results).leaderboard.rows[0]
    low, high = first.mean_rank_interval
    rank, ends = f"{first.mean_rank:.2f}", (f"{low:.2f}", f"{high:.2f}")
    assert rank == "1.33" and ends[0] != ends[1], "an interval that a single decimal would spoil"
    span = f"[{ends[0]}, {ends[1]}]"
    view = board(Site(results, tmp_path)).view.rows["a"]
    assert (view.rank, view.interval) == (rank, span)
    markdown, latex = (kind().write(results, tmp_path)[0].read_text() for kind in (Markdown, LaTeX))
    assert f"| a | {rank}<br>\\[{ends[0]}, {ends[1]}\\] |" in markdown
    assert rf"a & {rank}\realbenchinterval{{{ends[0]}}}{{{ends[1]}}} &" in latex
    terminal = io.StringIO()
    Console(file=terminal, width=200).print(rich_table(results))
    assert re.search(rf"^a +{rank} {re.escape(span)} ", terminal.getvalue(), re.MULTILINE)
    assert f"<td>{rank} {span}</td>" in html_table(results)


@pytest.mark.parametrize(
    ("title", "unit", "region", "parts"),
    [
        ("PSNR", "dB", "hole", ("PSNR", "", " (dB) ↑")),
        ("PSNR, full image", "dB", "full", ("PSNR", ", full image", " (dB) ↑")),
        ("PSNR, known region", "", "known", ("PSNR", ", known region", " ↑")),
        ("PSNR, full image", "", "hole", ("PSNR, full image", "", " ↑")),
        ("Full image", "", "full", ("Full image", "", " ↑")),
        ("Matches", "matches", "hole", ("Matches", "", " ↑")),
    ],
)
def test_a_heading_hides_what_its_group_says(title: str, unit: str, region: str, parts: tuple[str, str, str]) -> None:
    info = SimpleNamespace(title=title, unit=unit, region=region, direction="higher", reads=["truth"])
    assert heading_below(info) == parts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "title", "shown"),
    [
        ("reference-warp", "Reference warp", ""),
        ("realfill:tiny", "RealFill", ""),
        ("mine", "Telea", "Telea"),
        ("tel", "Telea", "Telea"),
    ],
)
def test_a_title_that_the_label_says_is_not_repeated(label: str, title: str, shown: str) -> None:
    assert byname(SimpleNamespace(label=label, info=SimpleNamespace(title=title))) == shown  # type: ignore[arg-type]
