"""Cards tell licence, paper, weights and what papers printed, for what is installed and for what is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from realbench.reports._cards import GONE, methods, metrics
from realbench.reports.html import HTML
from realbench.results import load_run
from realbench.tables import leaderboard
from tests.making import PSNR, Made
from tests.pages import Page


@pytest.fixture
def made(tmp_path: Path) -> Made:
    run = Made(tmp_path / "run")
    run.column(PSNR.replace("range:255", "range:1"), reads=["truth"])
    run.scene("only")
    run.row("a", method="paint-by-example", preset="paper", licence="as recorded", paper="Yang et al.")
    run.row("b", method="paint-by-example", preset="tiny")
    run.row("gone", method="gone-by-now", licence="MIT")
    run.scores("a", {"only": 3.0})
    run.scores("b", {"only": 2.0})
    run.scores("gone", {"only": 1.0})
    run.write()
    return run


def test_rows_of_a_method_share_its_card(made: Made) -> None:
    first, gone = methods(leaderboard(load_run(made.root)))
    assert first.id == "paint-by-example" and [(number, row.label) for number, row in first.rows] == [(1, "a"), (2, "b")]
    facts = dict(first.card.facts)
    assert facts["Licence"] == "as recorded" and "8 GB" in facts["Needs"] and facts["Repeats"] == "depends on the seed"
    assert any("Fantasy-Studio/Paint-by-Example" in text and "Open RAIL-M" in text for text in first.card.weights)
    assert any(item.metric == "psnr" and "Table 1" in item.source for item in first.card.published)
    assert dict(gone.card.facts) == {"Licence": "MIT", "Note": GONE} and gone.card.weights == ()


def test_methods_behind_one_name_have_a_card_each(made: Made) -> None:
    for label, title in (("c", "LaMa"), ("d", "MAT"), ("e", "LaMa")):
        made.row(label, method="isolated", title=title, settings={"method": f"/gone/{title}"})
        made.scores(label, {"only": 0.5})
    made.write()
    views = [view for view in methods(leaderboard(load_run(made.root))) if view.id == "isolated"]
    assert sorted((view.title, sorted(row.label for _, row in view.rows)) for view in views) == [("LaMa", ["c", "e"]), ("MAT", ["d"])]
    assert all(dict(view.card.facts) == {"Note": GONE} for view in views)


def test_columns_of_a_metric_share_its_card(made: Made) -> None:
    (only,) = metrics(leaderboard(load_run(made.root)))
    assert [number for number, _ in only.columns] == [1, 2] and dict(only.card.facts)["Reads"] == "mask, truth"


def test_the_page_shows_them(made: Made, tmp_path: Path) -> None:
    paths = HTML().write(load_run(made.root), tmp_path)
    page = Page(next(path for path in paths if path.name == "cards.html").read_text())
    assert "Fantasy-Studio/Paint-by-Example" in page.text and GONE in page.text and "Yang et al." in page.text
    assert {"row-1", "row-2", "row-3", "metric-1", "metric-2", "method-1", "method-2"} <= {
        attributes["id"] for _, attributes in page.elements if "id" in attributes
    }
