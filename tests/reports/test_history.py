"""What `realbench history -o` writes: the same words and numbers in Markdown, CSV and drawings; the same bytes each time."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from realbench.baseline import BaselineMetric
from realbench.errors import UsageError
from realbench.history import history
from realbench.points import Point
from realbench.reports._plot import DARK
from realbench.reports.history import FIELDS, History
from realbench.results import Results

EVIL = "<img src=x onerror=a>|\n`b` $x$"


def metric(name: str = "psnr", **fields: object) -> BaselineMetric:
    standard = {"metric": name, "config": {}, "title": name.upper(), "direction": "higher", "unit": "dB", "digits": 2, "source": "s"}
    return BaselineMetric.model_validate(standard | fields)


def point(day: int, scores: dict[str, dict[str, float]], *, metrics: dict[str, BaselineMetric], device: str = "cpu") -> Point:
    """A point with scores by label and signature, the same on every one of two scenes."""
    cells = {
        label: {signature: {scene: {"0": {"0": value}} for scene in ("plain", EVIL)} for signature, value in values.items()}
        for label, values in scores.items()
    }
    return Point(
        name=f"run {day}", commit=f"{day:02}" * 20, changed=False, when=datetime(2030, 5, day, tzinfo=UTC),
        scenes={scene: {"task": scene} for scene in ("plain", EVIL)}, metrics=metrics, scores=cells,
        devices=dict.fromkeys(scores, (device,)),
    )  # fmt: skip


def written(points: list[Point], folder: Path) -> list[Path]:
    folder.mkdir()
    return History().write(Results((), history=history(points)), folder)


@pytest.fixture
def points() -> list[Point]:
    """Two rows over six days; one drops on the fourth, and runs on a GPU from the fifth on."""
    metrics = {"psnr|v:1": metric(), "ssim|v:1": metric("ssim", digits=3, unit="", title=EVIL)}
    return [
        point(
            day,
            {EVIL: {"psnr|v:1": 20.0 - 0.8 * (day > 3), "ssim|v:1": 0.5}, "telea": {"psnr|v:1": math.inf if day == 2 else 10.0}},
            metrics=metrics,
            device="cpu" if day < 5 else "cuda",
        )
        for day in range(1, 7)
    ]


def words(path: Path) -> list[str]:
    """The texts of an SVG file."""
    return ["".join(item.itertext()) for item in ElementTree.parse(path).iter() if item.tag.endswith("}text")]


def test_markdown_tells_the_numbers_and_the_step(points: list[Point], tmp_path: Path) -> None:
    paths = written(points, tmp_path / "out")
    assert [path.name for path in paths] == [
        "history.md", "history.csv", "history-psnr-light.svg", "history-psnr-dark.svg", "history-ssim-light.svg", "history-ssim-dark.svg",
    ]  # fmt: skip
    text = paths[0].read_text()
    assert "| 0404040 | 2030-05-04 | run 4 | 19.20 | – | −0.80 | **step −0.80 dB since 0404040 (worse)** |" in text
    assert "| 0505050 | 2030-05-05 | run 5 | 19.20 | – | 0.00 | device cpu → cuda |" in text
    assert "| 0202020 | 2030-05-02 | run 2 | ∞ | – | +∞ |  |" in text
    assert 'srcset="history-psnr-dark.svg"><img alt=' in text and 'src="history-psnr-light.svg">' in text
    assert "noise alone shows a step in up to 5 % of series" in text and "Means over 2 scenes that all points share" in text
    assert "`psnr|v:1`, higher is better." in text


def test_hostile_names_stay_text(points: list[Point], tmp_path: Path) -> None:
    paths = written(points, tmp_path / "out")
    text = paths[0].read_text()
    assert "<img src=x" not in text and "&lt;img src=x onerror=a&gt;\\| \\`b\\` \\$x\\$" in text
    for path in paths[2:]:
        assert "<img src=x onerror=a>| `b` …" in words(path)


def test_a_metric_named_like_a_path_stays_in_the_folder(tmp_path: Path) -> None:
    names = ["../../evil", "../evil", "", "CON", "ssim"]
    metrics = {f"{at}|v:1": metric(name) for at, name in enumerate(names)}
    one = point(1, {"r": dict.fromkeys(metrics, 1.0)}, metrics=metrics)
    paths = written([one], tmp_path / "out")
    assert {path.parent for path in paths} == {tmp_path / "out"}
    lights = [path.name for path in paths if path.name.endswith("-light.svg")]
    assert lights == [f"history-{name}-light.svg" for name in ("evil", "evil-2", "metric", "con", "ssim")]


def test_csv_holds_every_point(points: list[Point], tmp_path: Path) -> None:
    path = written(points, tmp_path / "out")[1]
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    assert tuple(table.columns) == FIELDS and len(table) == 6 * 3
    mine = table[(table["label"] == EVIL) & (table["metric"] == "psnr")]
    assert list(mine["mean"].astype(float)) == [20.0] * 3 + [19.2] * 3
    assert [round(float(step), 9) if step else None for step in mine["step"]] == [None, None, None, -0.8, None, None]
    assert list(mine["marks"]) == ["", "", "", "", "device cpu → cuda", ""]
    assert mine["commit"].iloc[3] == "04" * 20 and mine["when"].iloc[3] == "2030-05-04T00:00:00+00:00"
    assert table[(table["label"] == "telea")]["mean"].iloc[1] == "inf"


def test_the_drawing_names_commits_rows_steps_and_devices(points: list[Point], tmp_path: Path) -> None:
    light, dark = written(points, tmp_path / "out")[2:4]
    found = words(light)
    assert {"0101010", "0606060", "telea", "−0.80", "device cpu → cuda", "PSNR (dB) ↑"} <= set(found)
    assert found.count("−0.80") == 1 and found.count("device cpu → cuda") == 2  # both rows changed device
    one, other = light.read_text(), dark.read_text()
    assert one != other and re.sub("#[0-9a-f]{6}", "", one) == re.sub("#[0-9a-f]{6}", "", other)
    assert set(re.findall("#[0-9a-f]{6}", one)) <= set(DARK) and set(re.findall("#[0-9a-f]{6}", other)) <= set(DARK.values())


def test_many_points_are_named_in_part(tmp_path: Path) -> None:
    points = [point(day, {"r": {"psnr|v:1": 1.0}}, metrics={"psnr|v:1": metric()}) for day in range(1, 32)]
    found = words(written(points, tmp_path / "out")[2])
    named = [text for text in found if re.fullmatch("(..)\\1\\1.", text)]
    assert len(named) == 16 and named[-1] == "3131313"  # every second, and the newest


@pytest.mark.parametrize("values", [[math.inf, math.inf], [5.0], [0.0, 0.0], [1e300, -1e300]])
def test_awkward_values_are_drawn(values: list[float], tmp_path: Path) -> None:
    points = [point(day, {"r": {"psnr|v:1": value}}, metrics={"psnr|v:1": metric()}) for day, value in enumerate(values, 1)]
    for path in written(points, tmp_path / "out")[2:]:
        ElementTree.parse(path)


def test_the_same_history_gives_the_same_bytes(points: list[Point], tmp_path: Path) -> None:
    first, second = (written(points, tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_folders_of_this_machine_are_not_told(tmp_path: Path) -> None:
    label = f"{Path.home()}/models/x"
    path = written([point(1, {label: {"psnr|v:1": 1.0}}, metrics={"psnr|v:1": metric()})], tmp_path / "out")[0]
    assert str(Path.home()) not in path.read_text() and "~/models/x" in path.read_text().replace("\\", "")


def test_without_a_history_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`realbench history RUN… -o DIR` writes it"):
        History().write(Results(()), tmp_path)
    assert not list(tmp_path.iterdir())
