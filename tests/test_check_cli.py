"""realbench accept, check, calibrate, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from realbench import baseline as baselines
from realbench import results
from realbench.cli.app import app
from tests.conftest import Plugins
from tests.making import DRIFT, PSNR, Made

SCENES = "abcdef"


def realbench(*words: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env=env)


def run(
    root: Path,
    *,
    lower: float = 0.0,
    on: str = SCENES,
    fits: int = 2,
    device: str = "cpu",
    failed: str = "",
    noise: float = 0.1,
    label: str = "fill",
) -> Path:
    """A run of one row whose method fits, its scores on some scenes lower by so much."""
    made = Made(root)
    for scene in SCENES:
        made.scene(scene)
    made.row(label, method="realfill", preset="tiny", fits=[*range(fits)], seeds=[0, 1])
    random = np.random.default_rng(5)
    for at, scene in enumerate(SCENES):
        for fit in range(fits):
            for seed in (0, 1):
                made.fill(label, scene, fit=fit, seed=seed, device=device, state="failed" if scene in failed else "ok")
                if scene not in failed:
                    value = 20 + at - lower * (scene in on) + noise * (fit + 0.3 * seed + random.normal(0, 0.1))
                    made.score(label, scene, value, fit=fit, seed=seed, device=device)
    return made.write()


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "baseline.json"
    found = realbench("accept", run(tmp_path / "old"), "-o", path)
    assert found.exit_code == 0 and "accepted: 1 rows, 1 metrics, 6 scenes, 24 scores" in found.output, found.output
    return path


def test_the_same_run_holds(tmp_path: Path, baseline: Path) -> None:
    found = realbench("check", tmp_path / "old", "-b", baseline)
    assert found.exit_code == 0 and found.output.splitlines()[-1] == "fill quality holds"
    assert sorted(path.name for path in (tmp_path / "old/check").glob("check.*")) == ["check.html", "check.json", "check.md", "check.xml"]


def test_a_drop_fails_and_names_its_scene(tmp_path: Path, baseline: Path) -> None:
    new = run(tmp_path / "new", lower=3, on="d")
    found = realbench("check", new, "-b", baseline, "-o", tmp_path / "out")
    assert found.exit_code == 1 and "regression: fill PSNR over all scenes and 1 more dropped" in found.output, found.output
    (line,) = (line.split() for line in found.output.splitlines() if " d " in line and "worse" in line)
    assert line[:3] == ["fill", "PSNR", "d"] and line[-1] == "worse" and line[5].startswith("−3.")
    assert f"if the drop is meant: realbench accept {new} -o {baseline}" in found.output
    assert json.loads((tmp_path / "out/check.json").read_text())["exit_code"] == 1


def test_a_gain_is_named_with_the_line_that_accepts_it(tmp_path: Path, baseline: Path) -> None:
    new = run(tmp_path / "new", lower=-3)
    found = realbench("check", new, "-b", baseline)
    assert found.exit_code == 0 and "fill quality holds; fill PSNR over all scenes and 6 more improved" in found.output
    assert f"to keep the gain: realbench accept {new} -o {baseline}" in found.output


def test_failed_cells_end_with_3_and_a_drop_beside_them_with_1(tmp_path: Path, baseline: Path) -> None:
    found = realbench("check", run(tmp_path / "new", failed="b"), "-b", baseline)
    assert found.exit_code == 3 and "not whole: fill PSNR on b lost" in found.output
    assert realbench("check", run(tmp_path / "worse", lower=3, failed="b"), "-b", baseline).exit_code == 1


def test_no_baseline(tmp_path: Path) -> None:
    """A candidate is written; once accepted, it is the baseline."""
    new, missing = run(tmp_path / "new"), tmp_path / "baseline.json"
    found = realbench("check", new, "-b", missing)
    assert found.exit_code == 4 and f"realbench accept {new} -o {missing}" in found.output and not missing.exists()
    assert realbench("check", new, "-b", new / "candidate.json").exit_code == 0


def test_a_candidate_is_never_made_of_a_broken_run(tmp_path: Path) -> None:
    found = realbench("check", run(tmp_path / "new", failed="b"), "-b", tmp_path / "none.json")
    assert found.exit_code == 3 and not (tmp_path / "new/candidate.json").exists()


def change_scene(made: Made) -> None:
    made.manifest.scenes["c"].digests["truth"] = "another"


def change_metric(made: Made) -> None:
    (key,) = made.manifest.columns
    made.manifest.columns[key].signature = PSNR.replace("v:1", "v:2")


def change_label(made: Made) -> None:
    made.manifest.rows = {"other": made.manifest.rows["fill"]}


def more_scenes(made: Made) -> None:
    made.scene("new")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_scene, "scene c is not the one of the baseline: another truth"),
        (change_metric, f"metric {PSNR} is in the baseline and not in the run; the run has {PSNR.replace('v:1', 'v:2')}"),
        (change_label, "row fill is not in the run, which has other"),
        (more_scenes, "scene new is in the run and not in the baseline"),
    ],
)
def test_what_is_not_comparable_ends_with_5(tmp_path: Path, baseline: Path, change: object, message: str) -> None:
    made = Made(run(tmp_path / "new"))
    made.manifest = made.folder.read_manifest()
    change(made)
    made.write()
    found = realbench("check", tmp_path / "new", "-b", baseline)
    assert found.exit_code == 5 and f"not comparable: {message}" in found.output, found.output


def test_what_is_under_test_is_listed(tmp_path: Path, baseline: Path) -> None:
    made = Made(run(tmp_path / "new"))
    made.manifest = made.folder.read_manifest()
    made.manifest.rows["fill"].settings["rank"] = 1
    made.write()
    found = realbench("check", tmp_path / "new", "-b", baseline)
    assert found.exit_code == 0 and "changed: fill: setting rank: none → 1" in found.output


def test_another_device_is_said_aloud_and_refused_by_strict(tmp_path: Path, baseline: Path) -> None:
    new = run(tmp_path / "new", device="cuda:0")
    found = realbench("check", new, "-b", baseline)
    assert found.exit_code == 0 and "warning: fill ran on cuda, its baseline on cpu" in found.output
    strict = realbench("check", new, "-b", baseline, "--strict")
    assert strict.exit_code == 5 and "not comparable: fill ran on cuda" in strict.output


def test_files_of_others_beside_the_outputs_stay(tmp_path: Path, baseline: Path) -> None:
    """What an earlier check left is taken away, should this one fail to write; check.py was never its own."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("check.py", "check.yml", "check.html.bak", "checks.md"):
        (out / name).write_text("mine")
    (out / "check.md").write_text("an earlier check's")
    assert realbench("check", tmp_path / "old", "-b", baseline, "-o", out).exit_code == 0
    mine = [path.name for path in out.iterdir() if path.is_file() and path.read_bytes() == b"mine"]
    assert sorted(mine) == ["check.html.bak", "check.py", "check.yml", "checks.md"] and "earlier" not in (out / "check.md").read_text()


def test_a_check_reads_each_score_once(tmp_path: Path, baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    many = results.read_many
    monkeypatch.setattr(results, "read_many", lambda wanted: many(read.extend(path for path, _ in wanted) or wanted))
    assert realbench("check", tmp_path / "old", "-b", baseline).exit_code == 0
    assert len(read) == len({*read}) == 24


def test_accept_says_what_a_check_of_the_run_found(tmp_path: Path, baseline: Path) -> None:
    new = run(tmp_path / "new", lower=3, on="d")
    unknown = realbench("accept", new, "-o", tmp_path / "first.json")
    assert unknown.exit_code == 0 and "the check of" not in unknown.output
    assert realbench("check", new, "-b", baseline).exit_code == 1
    found = realbench("accept", new, "-o", baseline)
    say = f"note: the check of {new} ended with 1 (regression: fill PSNR over all scenes and 1 more dropped); accepting it makes that the"
    assert found.exit_code == 0 and say in found.output, found.output
    assert realbench("check", new, "-b", baseline).exit_code == 0
    assert "the check of" not in realbench("accept", new, "-o", baseline).output


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff", b"[" * 100_000, b'{"exit_code": 0, "headline": "holds"}'])
def test_what_is_no_check_hinders_no_acceptance(tmp_path: Path, content: bytes) -> None:
    new = run(tmp_path / "new")
    (new / "check").mkdir()
    (new / "check/check.json").write_bytes(content)
    found = realbench("accept", new, "-o", tmp_path / "b.json")
    assert found.exit_code == 0 and "the check of" not in found.output


def test_a_wrong_name_in_a_file_of_tolerances_names_that_file(tmp_path: Path, baseline: Path) -> None:
    (tmp_path / "other.toml").write_text('[check]\nmetrics = ["lpips"]\n')
    found = realbench("check", tmp_path / "old", "-b", baseline, "--config", tmp_path / "other.toml")
    assert found.exit_code == 2 and f"{tmp_path / 'other.toml'} names lpips, which no metric of the baseline is: psnr" in found.output


def test_tolerances_come_from_a_file(tmp_path: Path, baseline: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[check.tolerance]\npsnr = 5\n")
    new = run(tmp_path / "new", lower=3)
    assert realbench("check", new, "-b", baseline).exit_code == 1
    assert realbench("check", new, "-b", baseline, "--config", rules).exit_code == 0
    rules.write_text("[check]\nlevel = 7\n")
    assert realbench("check", new, "-b", baseline, "--config", rules).exit_code == 2


def test_a_drop_below_the_last_decimal_is_shown(tmp_path: Path) -> None:
    """Where the tolerance is smaller still: a change that fails a check must not read as 0.00."""
    (tmp_path / "rules.toml").write_text("[check.tolerance]\npsnr = 0.0001\n")
    assert realbench("accept", run(tmp_path / "old", noise=0), "-o", tmp_path / "b.json").exit_code == 0
    new = run(tmp_path / "new", noise=0, lower=0.0004)
    found = realbench("check", new, "-b", tmp_path / "b.json", "--config", tmp_path / "rules.toml")
    (line,) = (line.split() for line in found.output.splitlines() if line.split()[2:3] == ["all"])
    assert found.exit_code == 1 and line[3:6] == ["22.5000", "22.4996", "−0.0004"], found.output


def test_the_summary_on_github(tmp_path: Path, baseline: Path) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    assert realbench("check", tmp_path / "old", "-b", baseline, env={"GITHUB_STEP_SUMMARY": str(page)}).exit_code == 0
    assert page.read_text().startswith("before\n") and "Fill quality holds" in page.read_text()


def test_trouble_with_the_summary_changes_no_verdict(tmp_path: Path, baseline: Path) -> None:
    new = run(tmp_path / "new", lower=3)
    found = realbench("check", new, "-b", baseline, env={"GITHUB_STEP_SUMMARY": str(tmp_path / "gone/summary.md")})
    assert found.exit_code == 1 and "the verdict stands" in found.output


def test_trouble_with_the_outputs_changes_no_verdict(tmp_path: Path, baseline: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = realbench("check", run(tmp_path / "new", lower=3), "-b", baseline, "-o", tmp_path / "file")
    assert found.exit_code == 1 and "the verdict stands" in found.output and "regression: " in found.output


def test_a_calibration_lets_one_fit_a_scene_speak(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    realbench("accept", run(tmp_path / "old", fits=1), "-o", path)
    new = run(tmp_path / "new", fits=1, lower=3, on="d")
    before = realbench("check", new, "-b", path)
    assert before.exit_code == 0 and "warning: some changes cannot be told from chance" in before.output
    assert realbench("calibrate", tmp_path / "old", "-b", path).exit_code == 2
    found = realbench("calibrate", run(tmp_path / "repeats", fits=6), "-b", path)
    assert found.exit_code == 0 and "calibrated: fill" in found.output, found.output
    (noise,) = baselines.read(path).noise["fill"].values()
    assert noise["d"].fit_freedom == 5 and noise["d"].seed_freedom == 6 and noise["d"].seeds == 2
    # On the first scene, one of the six fits has the accepted one's scores: it is that one over again.
    assert noise["a"].fit_freedom == 4 and noise["a"].seed_freedom == 5
    after = realbench("check", new, "-b", path)
    assert after.exit_code == 1 and "regression: fill PSNR over all scenes and 1 more dropped" in after.output
    kept = realbench("accept", new, "-o", path)
    assert "kept: the noise that `realbench calibrate` measured of fill" in kept.output and baselines.read(path).noise
    assert realbench("accept", new, "-o", path, "--replace").exit_code == 0 and not baselines.read(path).noise


def test_rows_that_a_run_lacks_stay_as_they_were_accepted(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    for label in ("one", "two"):
        realbench("accept", run(tmp_path / label, label=label), "-o", path)
    assert [*baselines.read(path).rows] == ["one", "two"]
    again = realbench("accept", run(tmp_path / "again", label="two"), "-o", path)
    assert "kept: one, which this run lacks" in again.output and [*baselines.read(path).scores] == ["one", "two"]
    other = Made(run(tmp_path / "other", label="two"))
    other.manifest = other.folder.read_manifest()
    other.manifest.scenes["c"].digests["title"] = "another"
    other.write()
    found = realbench("accept", tmp_path / "other", "-o", path)
    assert found.exit_code == 2 and "has what this run lacks: row one (the scenes are others)" in found.output
    assert realbench("accept", tmp_path / "other", "-o", path, "--replace").exit_code == 0 and [*baselines.read(path).rows] == ["two"]


def test_a_baseline_is_narrowed_on_request_alone(tmp_path: Path, baseline: Path) -> None:
    made = Made(tmp_path / "new")
    for scene in "abcde":
        made.scene(scene)
    made.column(DRIFT)
    made.manifest.columns = {key: info for key, info in made.manifest.columns.items() if info.signature == DRIFT}
    made.row("fill", method="realfill", fits=[0, 1])
    for scene in "abcde":
        for fit in (0, 1):
            made.score("fill", scene, 1.0, signature=DRIFT, fit=fit)
    made.write()
    found = realbench("accept", tmp_path / "new", "-o", baseline)
    assert found.exit_code == 2 and f"lacks: scene f, metric {PSNR}; accept a run of all, or give --replace" in found.output, found.output


def test_accept_says_what_a_check_of_it_could_not_tell(tmp_path: Path) -> None:
    found = realbench("accept", run(tmp_path / "new", fits=1), "-o", tmp_path / "b.json")
    assert found.exit_code == 0 and "note: fill has one fit a scene" in found.output and f"accepting {tmp_path / 'new'}" in found.output
    assert "note: " not in realbench("accept", run(tmp_path / "more"), "-o", tmp_path / "c.json").output


def test_what_cannot_calibrate(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    realbench("accept", run(tmp_path / "old", fits=1), "-o", path)
    assert realbench("calibrate", tmp_path / "old", "-b", path).exit_code == 2
    assert realbench("calibrate", tmp_path / "old", "-b", tmp_path / "none.json").exit_code == 4
    unknown = realbench("calibrate", "--method", "telea=gone", "-b", path)
    assert unknown.exit_code == 5 and "row gone is not in the baseline, which has fill; nothing was run" in unknown.output
    other = Made(run(tmp_path / "new", fits=3))
    other.manifest = other.folder.read_manifest()
    change_scene(other)
    other.write()
    assert realbench("calibrate", tmp_path / "new", "-b", path).exit_code == 5
    few = realbench("calibrate", run(tmp_path / "few", fits=4), "-b", path)
    assert few.exit_code == 0 and "note: fill: a scene has 3 repeats" in few.output
    changed = Made(run(tmp_path / "changed", fits=6))
    changed.manifest = changed.folder.read_manifest()
    changed.manifest.rows["fill"].fingerprint = "f" * 12
    changed.write()
    refused = realbench("calibrate", tmp_path / "changed", "-b", path)
    assert refused.exit_code != 0


def test_a_run_and_a_method_are_one_too_many(tmp_path: Path, baseline: Path) -> None:
    found = realbench("check", tmp_path / "old", "-b", baseline, "--method", "telea")
    assert found.exit_code == 2 and "not both" in found.output


def test_metrics_without_a_baseline_are_left_alone(tmp_path: Path, baseline: Path) -> None:
    made = Made(run(tmp_path / "new"))
    made.manifest = made.folder.read_manifest()
    made.column(DRIFT)
    made.write()
    assert realbench("check", tmp_path / "new", "-b", baseline).exit_code == 0


def test_from_run_to_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing: accept a run, then let `check` run the method again as the baseline says, whole and spoilt."""
    monkeypatch.chdir(tmp_path)
    assert realbench("run", "-m", "telea=fill", "-m", "mean-color", "--metric", "psnr", "--metric", "drift", "--out", "old").exit_code == 0
    assert realbench("accept", "old").exit_code == 0
    again = realbench("check", "-m", "telea=fill")
    assert again.exit_code == 0 and "fill quality holds" in again.output, again.output
    spoilt = realbench("check", "-m", "mean-color=fill", "--out", "spoilt", "--baseline-run", "old")
    assert spoilt.exit_code == 1 and "changed: fill: method: telea → mean-color" in spoilt.output, spoilt.output
    narrow = realbench("check", "-m", "telea=fill", "--scene", "coffee", "--out", "narrow")
    assert narrow.exit_code == 5 and "leave --scene out; nothing was run" in narrow.output and not Path("narrow").exists()
    never = realbench("calibrate", "-m", "telea=fill", "--out", "never")
    assert never.exit_code == 2 and "fill: never vary, so there is no noise to measure" in never.output and not Path("never").exists()
    unknown = realbench("check", "-m", "navier-stokes")
    assert unknown.exit_code == 5 and "nothing was run" in unknown.output
    again = realbench("check", "-m", "telea=fill", "--out", "spoilt")
    assert again.exit_code == 0, again.output
    twice = realbench("check", "-m", "telea=fill", "--out", "spoilt")
    assert "judge it as it is: realbench check spoilt" in twice.output
    assert twice.exit_code == 2 and "every fill was there already" in twice.output
    both = realbench("check", "old", "spoilt")
    assert both.exit_code == 2 and "both hold fill" in both.output
    assert realbench("check", "old", "--row", "fill").exit_code == 0
    lacking = realbench("check", "-m", "realfill:paper=fill", "--out", "lacking")
    assert lacking.exit_code == 6 and "not whole: fill" in lacking.output, lacking.output


DRAWS = """
import numpy as np
from realbench.method import BaseMethod, MethodCard

class Draws(BaseMethod):
    card = MethodCard("draws", "Draws", "Fills with a grey that differs from seed to seed.", stochastic=True)

    def complete(self, task, seed, context):
        image = task.target.copy()
        image[task.mask] = 128 + int(np.random.default_rng(seed).integers(-20, 20))
        return image, ()
"""


def test_changed_code_is_measured_in_a_folder_that_was_used_before(
    tmp_path: Path, plugins: Plugins, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many fills as before take the places of the old ones; none of them was there already."""
    monkeypatch.chdir(tmp_path)
    source = plugins("methods", {"draws": "Draws"}, DRAWS)
    monkeypatch.setenv("PYTHONPATH", str(source.parent), prepend=":")
    words = ("-m", "draws", "--scenes", suite, "--out", "run")
    assert realbench("run", *words, "--metric", "psnr", "--seeds", "2").exit_code == 0
    assert realbench("accept", "run").exit_code == 0
    assert "every fill was there already" in realbench("check", *words).output
    source.write_text(source.read_text() + "\n# changed, to the same effect\n")
    found = realbench("check", *words)
    assert found.exit_code == 0 and "changed: draws: the method's code: " in found.output, found.output


def test_a_method_that_only_draws_is_calibrated_with_seeds_of_its_own(
    tmp_path: Path, plugins: Plugins, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    site = plugins("methods", {"draws": "Draws"}, DRAWS).parent
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    words = ("-m", "draws", "--scenes", suite)
    assert realbench("run", *words, "--metric", "psnr", "--seeds", "2", "--out", "run").exit_code == 0
    assert realbench("accept", "run").exit_code == 0
    found = realbench("calibrate", *words)
    assert found.exit_code == 0 and "calibrated: draws" in found.output, found.output
    (noises,) = baselines.read(Path("baseline.json")).noise["draws"].values()
    assert {(one.seed_freedom, one.fit_freedom) for one in noises.values()} == {(7, 0)} and [*noises] == ["a", "b"]


@pytest.mark.parametrize(("scenes", "warned"), [("abcdef", False), ("abcd", True)])
def test_a_check_that_could_find_nothing_says_so(tmp_path: Path, scenes: str, warned: bool) -> None:
    """One fit a scene: the signs of six scenes have a p of 1 in 64, twice that is below 0.05; of four 1 in 16."""
    for name in ("old", "new"):
        made = Made(run(tmp_path / name, fits=1))
        made.manifest = made.folder.read_manifest()
        made.manifest.scenes = {scene: info for scene, info in made.manifest.scenes.items() if scene in scenes}
        made.manifest.rows["fill"].scenes = [*scenes]
        made.write()
    realbench("accept", tmp_path / "old", "-o", tmp_path / "b.json")
    found = realbench("check", tmp_path / "new", "-b", tmp_path / "b.json", "--row", "fill")
    assert ("warning: fill PSNR: 4 scenes without repeats cannot show a drop at level 0.05" in found.output) is warned, found.output
