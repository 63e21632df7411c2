"""`realbench run --protocol`, and reports of selected seeds, through the real command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Plugins
from tests.realbench.test_bench import CLASSES, METHODS
from tests.test_cli import realbench

BACKENDS = ["--metric", "matches", "--metric", "matches:combine=max"]


@pytest.fixture
def site(plugins: Plugins) -> Path:
    return plugins("methods", CLASSES, METHODS).parent


def test_what_is_given_beside_a_protocol_goes_before_it(suite: Path, tmp_path: Path, site: Path) -> None:
    words = ["run", "--protocol", "paper", "-m", "good", "--metric", "psnr", "--metric", "matches", "--seeds", "4", "--scenes", suite]
    done = realbench(*words, cwd=tmp_path, site=site)
    assert done.returncode == 0, done.stderr
    assert "fills: 12 ok" in done.stdout
    said = done.stderr
    assert "protocol paper: Tang et al., RealFill, arXiv 2309.16668v2" in said
    assert "stated: seeds: 64 samples a scene" in said
    assert "left open: PSNR: peak and normalisation: psnr|region:hole|image:composite|feather:4/512|range:255|size:target|v:1" in said
    assert "left open: which seeds (a fill depends on scene, fit and seed alone): 0 to 3" in said
    for departure in (
        "methods: realfill:paper is not among the rows",
        "methods: not of the protocol: good",
        "metrics: dreamsim is not measured",
        "scenes: 3 instead of the 33 of RealBench",
        "scenes: no ids of RealBench: a",
    ):
        assert f"departs: {departure}" in said
    record = json.loads((tmp_path / "runs" / "suite" / "run.json").read_text())["protocol"]
    assert record["protocol"] == "paper" and "methods: not of the protocol: good" in record["departures"]
    assert record["left_open"]["evaluation size"].startswith("the target's own")

    report = realbench("report", "--protocol", "paper", "--keep", "50%", cwd=tmp_path, site=site)
    assert report.returncode == 0, report.stderr
    assert "seeds: selected: 50 % of the seeds with most Matches" in report.stdout
    folder = tmp_path / "runs" / "suite" / "report"
    text = (folder / "leaderboard.md").read_text()
    assert "### Measured here, over all seeds" in text and "### Published, as printed" in text
    assert re.search(r"\| TransFill \| 13\.28 \| 0\.404 \|", text) and "because they do not compare" in text
    measured = text.split("### Measured here")[1].split("### Published")[0]
    assert "| good |" in measured and "TransFill" not in measured
    lines = pd.read_csv(folder / "filtering.csv")
    assert list(lines["dropped_percent"].unique()) == [0, 25, 50, 75] and set(lines["label"]) == {"good"}
    assert list(lines.loc[lines["metric"] == "psnr", "seeds_kept"]) == [4, 3, 2, 1]
    assert len(pd.read_parquet(folder / "filtering.parquet")) == len(lines)
    page = (folder / "leaderboard.html").read_text()
    assert "Seeds filtered by correspondences" in page and "Measured and published" in page


def test_selecting_by_one_of_several_matches(suite: Path, tmp_path: Path, site: Path) -> None:
    words = ["run", "-m", "good", "--seeds", "2", "--scenes", suite, "--scene", "a", "--metric", "psnr", *BACKENDS]
    assert realbench(*words, cwd=tmp_path, site=site).returncode == 0
    refused = realbench("report", "--keep", "50%", cwd=tmp_path, site=site)
    assert refused.returncode == 2
    assert refused.stderr.count("\n  matches|") == 2 and "--by" in refused.stderr
    chosen = realbench("report", "--keep", "50%", "--by", "matches:combine=max", cwd=tmp_path, site=site)
    assert chosen.returncode == 0 and "with most Matches (combine=max)\n" in chosen.stdout
    plain = realbench("report", cwd=tmp_path, site=site)
    assert plain.returncode == 0
    text = (tmp_path / "runs" / "suite" / "report" / "leaderboard.md").read_text()
    assert "Not shown: 2 metrics of this run could select seeds" in text
    oracle = realbench("report", "--reduce", "oracle", cwd=tmp_path, site=site)
    assert oracle.returncode == 0 and "seeds: oracle: the best seed by each metric itself" in oracle.stdout
    assert "good *(unranked)*" in (tmp_path / "runs" / "suite" / "report" / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--scenes", "suite"], "give --method NAME"),
        (["run", "--protocol", "papier", "--scenes", "suite"], "known: paper"),
        (["run", "--protocol", "paper", "-m", "tela", "--scenes", "suite"], "did you mean telea"),
        (["report", "suite", "--protocol", "papier"], "known: paper"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_explained(suite: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = realbench(*words, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_refused_records_no_protocol(suite: Path, tmp_path: Path) -> None:
    words = ["run", "-m", "telea", "--metric", "psnr", "--scenes", suite, "--scene", "a", "--out", "mine"]
    assert realbench(*words, cwd=tmp_path).returncode == 0
    done = realbench(*words, "--protocol", "paper", "--feather", "9", cwd=tmp_path)
    assert done.returncode == 2 and "give another --out" in done.stderr
    assert json.loads((tmp_path / "mine" / "run.json").read_text())["protocol"] is None
