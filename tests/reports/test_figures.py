"""Figures say what the tables say, look the same every time, and treat the run's words as words."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from realbench.reports._figures import figures
from realbench.reports._plot import DARK, drawn, short, spread
from realbench.reports._site import Site
from realbench.results import load_run
from realbench.tables import tables
from tests.making import Made

LABEL = "a$x$<b>&\"'^_"
MATCHES = "matches|region:hole|backend:sift|v:1"
SSIM = "ssim|region:hole|image:composite|v:1"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Three rows with seeds over four scenes, named to break mathematics and markup; one score is infinite."""
    run = Made(tmp_path / "run")
    run.column(SSIM, reads=["truth"], title="S$S$IM")
    run.column(MATCHES, reads=["references"])
    for number in range(4):
        run.scene(f"scene {number} <i>$y$")
    for at, label in enumerate((LABEL, "写真", "plain")):
        run.row(label, seeds=[0, 1])
        for number, scene in enumerate(run.manifest.scenes):
            for seed in (0, 1):
                run.fill(label, scene, seed=seed, seconds=0.5 + at, peak_memory={"host": (at + 1) * 2**28})
                run.score(label, scene, math.inf if (at, number) == (2, 3) else 10.0 + 3 * at + number + seed / 4, seed=seed)
                run.score(label, scene, 0.5 + (3 * at + number) / 20, seed=seed, signature=SSIM)
                run.score(label, scene, 10.0 * seed + number, seed=seed, signature=MATCHES)
    run.write()
    return run


def draw(made: Made, folder: Path, *, embed: bool = False) -> list[tuple[str, str, str]]:
    folder.mkdir(exist_ok=True)
    results = load_run(made.root)
    return [(one.title, one.light, one.dark) for one in figures(Site(results, folder, embed=embed), tables(results))]


def words(path: Path) -> list[str]:
    """The texts of an SVG file."""
    return ["".join(item.itertext()) for item in ElementTree.parse(path).iter() if item.tag.endswith("}text")]


def test_every_figure_is_there_in_both_colours(made: Made, tmp_path: Path) -> None:
    found = draw(made, tmp_path / "out")
    assert [title for title, _, _ in found] == [
        "PSNR against time", "PSNR against memory", "PSNR scene by scene", "S$S$IM scene by scene", "Seeds filtered by correspondences",
        "Do the metrics agree?",
    ]  # fmt: skip
    for _, light, dark in found:
        one, other = ((tmp_path / "out" / name).read_text() for name in (light, dark))
        assert one != other and re.sub("#[0-9a-f]{6}", "", one) == re.sub("#[0-9a-f]{6}", "", other)
        assert set(re.findall("#[0-9a-f]{6}", one)) <= set(DARK)
        assert set(re.findall("#[0-9a-f]{6}", other)) <= set(DARK.values())


def test_the_same_run_is_drawn_with_the_same_bytes(made: Made, tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw(made, tmp_path / name)
    pairs = [(path, tmp_path / "two" / path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*.svg")]
    assert len(pairs) == 12 and all(one.read_bytes() == two.read_bytes() for one, two in pairs)
    assert not any(re.search("<dc:date>|Matplotlib v", one.read_text()) for one, _ in pairs)


def test_names_are_drawn_as_they_are(made: Made, tmp_path: Path) -> None:
    draw(made, tmp_path / "out")
    folder = tmp_path / "out" / "figures"
    assert {LABEL, "写真"} <= set(words(folder / "cost-time-light.svg"))
    assert {LABEL, "写真", "plain", "scene 0 <i>$y$"} <= set(words(folder / "scenes-1-light.svg"))
    assert "S$S$IM" in words(folder / "agreement-dark.svg")


def test_costs_are_told_in_numbers(made: Made, tmp_path: Path) -> None:
    results = load_run(made.root)
    first = figures(Site(results, tmp_path), tables(results))[0]
    lines = {line[0]: line for line in first.lines}
    assert lines[LABEL] == (LABEL, "11.62", "–", "0.5", "256 MiB", "–") and len(first.header) == 6
    assert set(lines) == {LABEL, "写真"}  # the mean of `plain` is infinite, and is not drawn
    assert "2 rows" in first.alt and first.width == 595


def test_one_row_on_one_scene_is_enough(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("only")
    run.row("alone")
    run.fill("alone", "only", seconds=2.0)
    run.score("alone", "only", 12.0)
    run.write()
    assert [title for title, _, _ in draw(run, tmp_path / "out")] == ["PSNR against time", "PSNR scene by scene"]


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("only")
    run.row("alone")
    run.fill("alone", "only", state="failed", reason="no")
    run.write()
    assert draw(run, tmp_path / "out") == []


def test_embedded_figures_stand_in_the_page(made: Made, tmp_path: Path) -> None:
    found = draw(made, tmp_path / "out", embed=True)
    assert all(one.startswith("data:image/svg+xml;base64,") for pair in found for one in pair[1:])
    assert not (tmp_path / "out" / "figures").exists()


def test_a_narrow_range_gets_room() -> None:
    ends = []

    def picture(figure: object) -> None:
        axes = figure.subplots()  # type: ignore[attr-defined]
        spread(axes, [100.0, 101.0])
        ends.extend(axes.get_xlim())

    drawn((2, 2), picture)
    assert ends[1] / ends[0] == pytest.approx(8, rel=0.05)


def test_long_labels_are_cut() -> None:
    assert short("x" * 28) == "x" * 28 and short("x" * 29) == "x" * 27 + "…"
