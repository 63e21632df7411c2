"""baseline.json: what is in it, how it reads in a diff, and what is said of broken ones."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realbench import baseline as baselines
from realbench import registry
from realbench.baseline import Accepted, Baseline, BaselineError, BaselineMetric, BaselineRow
from realbench.composite import Feather
from realbench.errors import NothingMeasured, RealbenchError, UsageError
from realbench.plan import plan_columns
from realbench.rerun import repeats
from realbench.results import load_run
from tests.making import PSNR, Made

NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
ROW = {
    "method": "m", "preset": None, "settings": {}, "fingerprint": "0" * 12, "oracle": False, "varies": "seeds", "fits": [0], "seeds": [0]
}  # fmt: skip
METRIC = {"metric": "m", "config": {}, "title": "M", "direction": "higher", "unit": "", "digits": 2, "source": ""}
VALUES = st.none() | st.floats(allow_nan=False)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    run = Made(tmp_path / "run")
    run.scene("a")
    run.scene("no truth", truth=False)
    run.row("fill", method="patchmatch", fits=[0, 1], seeds=[0, 1])
    run.row("truth", oracle=True)
    for fit in (0, 1):
        for seed in (0, 1):
            run.score("fill", "a", 20.123456789012 + fit + seed / 10, fit=fit, seed=seed)
            run.score("fill", "no truth", None, fit=fit, seed=seed, state="unsupported", reason="no ground truth")
    run.score("truth", "a", math.inf)
    run.score("truth", "no truth", None, state="unsupported", reason="no ground truth")
    run.write()
    return run


def test_what_is_accepted(made: Made) -> None:
    found = baselines.accept(load_run(made.root))
    assert [*found.rows] == ["fill"] and found.rows["fill"].varies == "seeds" and found.rows["fill"].devices == ["cpu"]
    assert found.rows["fill"].fits == [0, 1] and found.rows["fill"].environment.versions == {"realbench": "9.9", "numpy": "2.0"}
    assert found.scores == {
        "fill": {
            PSNR: {
                "a": {"0": {"0": 20.12345679, "1": 20.22345679}, "1": {"0": 21.12345679, "1": 21.22345679}},
                "no truth": {fit: {"0": None, "1": None} for fit in "01"},
            }
        }
    }
    assert found.scenes["a"] == made.manifest.scenes["a"].digests and found.suite == "gone" and found.feather == 4
    assert found.metrics[PSNR].digits == 2 and found.metrics[PSNR].direction == "higher"


def test_a_fit_is_a_line(made: Made, tmp_path: Path) -> None:
    """So that a diff shows which scores changed, and no more."""
    path = tmp_path / "baseline.json"
    found = baselines.accept(load_run(made.root))
    baselines.write(found, path)
    before = path.read_text(encoding="utf-8").splitlines()
    assert '     "0": {"0": 20.12345679, "1": 20.22345679},' in before
    found.scores["fill"][PSNR]["a"]["0"]["1"] = 19.5
    baselines.write(found, path)
    after = path.read_text(encoding="utf-8").splitlines()
    new = [line for line in after if line not in before and '"content"' not in line]
    assert new == ['     "0": {"0": 20.12345679, "1": 19.5},'] and len(after) == len(before)
    assert baselines.read(path).scores == found.scores


def test_a_file_that_was_edited_is_refused(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baselines.write(baselines.accept(load_run(made.root)), path)
    path.write_text(path.read_text(encoding="utf-8").replace("20.12345679", "10.12345679"), encoding="utf-8")
    with pytest.raises(UsageError, match="not as it was written, edited or merged by hand"):
        baselines.read(path)


def test_a_cell_in_two_runs_is_refused(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.root, tmp_path / "copy")
    with pytest.raises(UsageError, match="the runs run and copy both hold fill, scene a, fit 0, seed 0: give one of them"):
        baselines.accept(load_run(made.root, tmp_path / "copy"))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        NAMES, st.dictionaries(NAMES, st.dictionaries(st.integers(0, 12).map(str), VALUES, max_size=12), max_size=3), max_size=3
    ),
    NAMES,
)
def test_whatever_the_names_and_scores_it_comes_back(tmp_path_factory: pytest.TempPathFactory, scenes: dict, label: str) -> None:
    path = tmp_path_factory.mktemp("baseline") / "b.json"
    cells = {scene: {"0": seeds} for scene, metrics in scenes.items() for seeds in metrics.values()}
    row, metric = BaselineRow(**ROW), BaselineMetric(**METRIC)
    made = Baseline(
        suite=label,
        feather=4,
        scenes={},
        rows={label: row},
        metrics={"m|v:1": metric},
        scores={label: {"m|v:1": cells}},
        accepted=Accepted(when="", version=""),
    )
    baselines.write(made, path)
    assert baselines.read(path).model_copy(update={"content": ""}) == made
    json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_seeds_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    cells = {"a": {"0": {str(seed): 1.0 for seed in (10, 9, 100, 0)}}}
    made = Baseline(
        suite="",
        feather=4,
        scenes={},
        rows={"r": BaselineRow(**ROW)},
        metrics={"m": BaselineMetric(**METRIC)},
        scores={"r": {"m": cells}},
        accepted=Accepted(when="", version=""),
    )
    baselines.write(made, tmp_path / "b.json")
    assert '"0": {"0": 1.0, "9": 1.0, "10": 1.0, "100": 1.0}' in (tmp_path / "b.json").read_text()


def test_runs_that_are_not_whole_are_refused(made: Made) -> None:
    made.score("fill", "a", None, fit=1, seed=1, state="failed", reason="out of memory")
    with pytest.raises(RealbenchError, match="1 scores failed or missing, the first of them fill, scene a, fit 1, seed 1: out of memory"):
        baselines.accept(load_run(made.root))
    made.row("later")
    made.write()
    with pytest.raises(RealbenchError, match="2 cells failed or missing, the first of them later, scene a, fit 0, seed 0: missing"):
        baselines.accept(load_run(made.root))


def test_of_rows_that_read_the_truth_nothing_is_asked(made: Made, tmp_path: Path) -> None:
    """They are left out, so a failed cell of theirs, or one in two runs, is no hindrance."""
    other = Made(tmp_path / "other")
    other.scene("a")
    other.row("truth", oracle=True)
    other.row("more")
    other.fill("truth", "a", state="failed", reason="no luck")
    other.score("more", "a", 3.0)
    other.write()
    found = baselines.accept(load_run(made.root, other.root))
    assert [*found.rows] == [*found.scores] == ["fill", "more"]


def test_a_refused_scene_is_no_baseline(made: Made) -> None:
    made.scene("broken", refused="its mask is empty")
    made.write()
    with pytest.raises(RealbenchError, match=r"scene broken was refused \(its mask is empty\)"):
        baselines.accept(load_run(made.root))


def test_oracles_alone_are_no_baseline(tmp_path: Path) -> None:
    made = Made(tmp_path / "run")
    made.scene("a")
    made.row("truth", oracle=True)
    made.score("truth", "a", 1.0)
    made.write()
    with pytest.raises(NothingMeasured, match="no score to accept"):
        baselines.accept(load_run(made.root))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a baseline of schema 1"),
        (b"[]", "not a baseline"),
        (b'{"suite": "s"}', "Field required"),
        (b"\xff\xfe", "not a baseline"),
        (b"[" * 100_000, "not a baseline"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        baselines.read(path)


def test_a_baseline_of_another_schema_is_refused(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    baselines.write(baselines.accept(load_run(made.root)).model_copy(update={"schema_version": 2}), path)
    with pytest.raises(UsageError, match="schema 2"):
        baselines.read(path)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("scores", {"other": {"m": {}}}, "scores of a row that is not described: 'other'"),
        ("scores", {"r": {"other": {}}}, "scores of a metric that is not described: 'other'"),
        ("noise", {"other": {}}, "noise of a row that is not described"),
        ("scores", {"r": {"m": {"a": {"0": {"0": "nan"}}}}}, "a score that is no number"),
        ("scores", {"r": {"m": {"a": {"0": {"0": "much"}}}}}, "unable to parse string"),
    ],
)
def test_what_contradicts_itself(tmp_path: Path, where: str, value: object, message: str) -> None:
    whole = {
        "suite": "",
        "feather": 4,
        "scenes": {},
        "rows": {"r": ROW},
        "metrics": {"m": METRIC},
        "scores": {},
        "accepted": {"when": "", "version": ""},
    }
    path = tmp_path / "b.json"
    path.write_text(json.dumps({**whole, where: value}))
    with pytest.raises(UsageError, match=message):
        baselines.read(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a baseline of schema 1 (the whole: Invalid JSON: EOF while parsing a value at line 1 column 0)"),
        (json.dumps({"schema_version": 2, "suite": "", "feather": 4, "scenes": {}, "rows": {}, "metrics": {}, "scores": {},
                     "accepted": {"when": "", "version": ""}}).encode(), "of schema 2, expected 1"),
        (json.dumps({"suite": "", "feather": 4, "scenes": {}, "rows": {}, "metrics": {}, "scores": {}, "content": "other",
                     "accepted": {"when": "", "version": ""}}).encode(), "not as it was written, edited or merged by hand"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_and_what_to_do(tmp_path: Path, text: bytes, reason: str) -> None:
    """An old version in git, which nobody can mend, has the reason alone."""
    with pytest.raises(UsageError) as alone:
        baselines.parse(text, "abc:b.json")
    assert str(alone.value) == f"abc:b.json: {reason}"
    (tmp_path / "b.json").write_bytes(text)
    with pytest.raises(UsageError) as found:
        baselines.read(tmp_path / "b.json")
    assert str(found.value) == f"{tmp_path / 'b.json'}: {reason}; restore it from version control, or accept a run anew"


def test_no_file_is_another_error(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="no baseline there"):
        baselines.read(tmp_path / "baseline.json")
    with pytest.raises(UsageError, match="cannot be read"):
        baselines.read(tmp_path)


@pytest.mark.parametrize("name", [*registry.names("metrics"), "lpips:net=vgg", "matches:backend=sift"])
def test_a_metric_is_asked_for_again_by_its_specification(name: str) -> None:
    (column,) = plan_columns([name], Feather(4))
    fields = {"title": "", "direction": "higher", "unit": "", "digits": 2, "source": ""}
    metric = baselines.BaselineMetric(metric=column.metric, config=dict(column.config), **fields)
    (again,) = plan_columns([metric.spec], Feather(4))
    assert again == column


def test_repeats(made: Made) -> None:
    found = baselines.accept(load_run(made.root))
    assert repeats(found, ["fill"]) == repeats(found, ["unknown"]) == (2, "0-1")
    assert repeats(found, ["fill"], fits=7) == (7, "0-1")
    found.rows["fill"].seeds[:] = [1, 5]
    with pytest.raises(UsageError, match="the seeds 1, 5, which are no range: give --seeds"):
        repeats(found, ["fill"])
    assert repeats(found, ["fill"], seeds="4") == (2, "4")
