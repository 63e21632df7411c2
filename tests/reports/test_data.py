"""The CSV and Parquet files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from pyarrow import parquet

from realbench.errors import NothingMeasured
from realbench.frames import leaderboard_frame, pairs_frame
from realbench.reports.csv import CSV
from realbench.reports.html import HTML
from realbench.reports.latex import LaTeX
from realbench.reports.markdown import Markdown
from realbench.reports.parquet import Parquet
from realbench.results import SCORE_FIELDS, load_run
from tests.making import Made


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, converters={"value": lambda text: float(text or "nan")})


def test_csv_reads_back_equal(made: Made, tmp_path: Path) -> None:
    results = load_run(made.root)
    path, *_ = CSV().write(results, tmp_path)
    expected = results.scores().assign(preset=lambda frame: frame["preset"].fillna(""))
    found = read_csv(path)
    assert tuple(found.columns) == SCORE_FIELDS
    assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


def test_csv_text_by_hand(made: Made, tmp_path: Path) -> None:
    path, *_ = CSV().write(load_run(made.root), tmp_path)
    lines = path.read_text().splitlines()
    row = made.manifest.rows["good:fast"]
    assert lines[0] == "run,label,method,preset,fingerprint,scene,fit,seed,metric,signature,value,state,reason"
    head = f"run,good:fast,good,fast,{row.fingerprint}"
    signature = "psnr|region:hole|image:composite|feather:4/512|range:255|size:target|v:1"
    assert f"{head},tall,0,0,psnr,{signature},20.5,ok," in lines
    assert f"{head},=1+1,0,0,psnr,{signature},0.3333333333333333,ok," in lines
    assert f"{head},no truth,0,0,psnr,{signature},,unsupported,the scene has no ground truth" in lines
    assert sum(f",psnr,{signature},inf,ok," in line for line in lines) == 3


def test_parquet_reads_back_equal_with_types(made: Made, tmp_path: Path) -> None:
    results = load_run(made.root)
    path, *_ = Parquet().write(results, tmp_path)
    table = parquet.read_table(path)
    types = {field.name: str(field.type) for field in table.schema}
    assert types == dict.fromkeys(SCORE_FIELDS, "string") | {"fit": "int64", "seed": "int64", "value": "double"}
    assert table["value"].null_count == results.scores()["value"].isna().sum() > 0
    assert_frame_equal(pd.read_parquet(path), results.scores(), check_dtype=False, check_exact=True)


def test_leaderboard_and_pairs_read_back_equal(made: Made, tmp_path: Path) -> None:
    results = load_run(made.root)
    frames = {"leaderboard": leaderboard_frame(results), "pairs": pairs_frame(results)}
    texts, typed = CSV().write(results, tmp_path), Parquet().write(results, tmp_path)
    assert [path.name for path in texts] == ["scores.csv", "leaderboard.csv", "pairs.csv"]
    assert [path.name for path in typed] == ["scores.parquet", "leaderboard.parquet", "pairs.parquet"]
    for (name, frame), text, table in zip(frames.items(), texts[1:], typed[1:], strict=True):
        read = pd.read_csv(text, keep_default_na=False, na_values={"mean": [""]})
        assert tuple(read.columns) == tuple(frame.columns) and len(read) == len(frame) > 0, name
        assert_frame_equal(pd.read_parquet(table), frame, check_dtype=False, check_exact=True)
    types = {field.name: str(field.type) for field in parquet.read_schema(typed[1])}
    assert (types["rank"], types["tied"], types["low"], types["label"]) == ("int64", "bool", "double", "string")


def test_two_runs_are_written_together(made: Made, tmp_path: Path) -> None:
    other = Made(tmp_path / "other", made.suite)
    other.scene("tall")
    other.row("good:fast", fingerprint="d" * 12)
    other.scores("good:fast", {"tall": 7})
    path, *_ = CSV().write(load_run(made.root, other.write()), tmp_path)
    frame = read_csv(path)
    assert set(frame["run"]) == {"run", "other"}
    assert {"good:fast @run", "good:fast @other"} < set(frame["label"])


@pytest.mark.parametrize("report", [CSV, Parquet, HTML, Markdown, LaTeX])
def test_nothing_measured_writes_nothing(report: type, tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("bad", refused="broken")
    run.row("row")
    (tmp_path / "out").mkdir()
    with pytest.raises(NothingMeasured):
        report().write(load_run(run.write()), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("report", [CSV, Parquet, HTML, Markdown, LaTeX])
def test_writing_twice_gives_the_same_bytes(report: type, made: Made, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths = report().write(load_run(made.root), tmp_path / name)
        assert paths and all(path.is_relative_to(tmp_path / name) for path in paths)
        found = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in found})
    assert contents[0] == contents[1]
