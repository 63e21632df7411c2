"""realbench.toml: what it may hold, and what is said of the rest."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from realbench.baseline import BaselineMetric
from realbench.errors import UsageError
from realbench.tolerance import Rules, Tolerance, rules

METRIC = BaselineMetric(metric="psnr", config={}, title="PSNR", direction="higher", unit="dB", digits=2, source="")


def written(folder: Path, text: str) -> Path:
    path = folder / "realbench.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("value", "amount", "relative"),
    [(0.1, 0.1, False), (0, 0.0, False), ("2%", 0.02, True), (" 0.5 % ", 0.005, True), ("0.25", 0.25, False), (".5%", 0.005, True)],
)
def test_tolerances(value: object, amount: float, relative: bool) -> None:
    found = Tolerance.parse(value)
    assert found.amount == pytest.approx(amount) and found.relative is relative


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, 10**400, True, None, "2 dB", "-1%", "", "9" * 400, [1]])
def test_what_is_no_tolerance(value: object) -> None:
    with pytest.raises(ValueError, match="expected a number of at least 0"):
        Tolerance.parse(value)


def test_a_share_is_of_the_baselines_score() -> None:
    assert Tolerance(0.02, True).at(-50.0) == 1.0 and Tolerance(0.02).at(-50.0) == 0.02
    assert Tolerance(0.02, True).at(math.inf) == 0.0


def test_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert rules() == Rules()
    path = written(tmp_path, '[check]\nlevel = 0.01\nmetrics = ["psnr"]\n[check.tolerance]\npsnr = 0.1\n"lpips|v:1" = "2%"\n')
    found = rules()
    assert found == rules(path) == Rules(0.01, ("psnr",), {"psnr": Tolerance(0.1), "lpips|v:1": Tolerance(0.02, True)})
    assert found.gates("psnr|v:1", METRIC) and not found.gates("ssim|v:1", METRIC.model_copy(update={"metric": "ssim"}))
    assert found.tolerance("psnr|v:1", METRIC).amount == 0.1
    assert Rules().tolerance("psnr|v:1", METRIC) == Tolerance(0.01)
    assert found.unknown({"psnr|v:1": METRIC}) == ["lpips|v:1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[check]\nlevel = 2\n", "check.level: Input should be less than 1, found 2"),
        ("[check]\nlevels = 0.1\n", "check.levels: Extra inputs are not permitted, found 0.1"),
        ('[check.tolerance]\npsnr = "a lot"\n', "expected a number of at least 0"),
        ("[check\n", "not TOML"),
        ("check = 3\n", "check: Input should be"),
        ("[chekc]\nlevel = 0.1\n", "chekc: Extra inputs are not permitted"),
        (f"[check.tolerance]\npsnr = 1{'0' * 400}\n", "expected a number of at least 0"),
    ],
)
def test_what_the_file_may_not_hold(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"realbench\.toml: ") as error:
        rules(written(tmp_path, text))
    assert message in str(error.value)


def test_errors_name_the_file_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "").rename(tmp_path / "other.toml")
    assert rules(Path("other.toml")).file == "other.toml" and Rules().file == rules().file == "realbench.toml"


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.toml: cannot be read \(No such file"):
        rules(tmp_path / "gone.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b"x = '\xff'")
    with pytest.raises(UsageError, match="not TOML"):
        rules(path)
