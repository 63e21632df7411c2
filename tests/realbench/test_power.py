"""What it takes to show a difference: power against simulation and statsmodels, variance components against their own recipe."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from realbench import pairs
from realbench.errors import NothingMeasured, UsageError
from realbench.power import column, least_scenes, plan, power_of, scenes_needed, smallest_shown
from realbench.results import Results, load_run
from tests.making import DRIFT, Made

INF = math.inf


@pytest.mark.parametrize(("scenes", "effect"), [(8, 1.0), (12, 0.9), (30, 0.5)])
def test_power_is_that_of_the_sign_flip_test(scenes: int, effect: float) -> None:
    samples = np.random.default_rng(2).normal(effect, 1, (1_000, scenes))
    found = pairs._p_values([*samples.tolist()])
    assert power_of(scenes, 1, effect, 0.05) == pytest.approx(np.mean([p is not None and p <= 0.05 for p in found]), abs=0.05)


@pytest.mark.parametrize(("scenes", "effect", "level"), [(6, 1.0, 0.05), (33, 0.5, 0.05), (20, 0.2, 0.01), (400, 0.1, 0.001)])
def test_power_agrees_with_statsmodels(scenes: int, effect: float, level: float) -> None:
    module = pytest.importorskip("statsmodels.stats.power", reason="statsmodels is not installed")
    expected = module.TTestPower().power(effect, scenes, level) if scenes >= least_scenes(level) else 0
    assert power_of(scenes, 2, 2 * effect, level) == pytest.approx(expected, abs=1e-6)


def test_tables_of_cohen() -> None:
    """A paired effect of half a standard deviation at 80 % and 5 % takes 34 (Cohen 1988: n = 33.4)."""
    assert scenes_needed(1, 0.5, 0.8, 0.05) == 34
    assert scenes_needed(2, 1.0, 0.8, 0.05) == 34
    assert scenes_needed(1, 0.2, 0.8, 0.05) == 199


@pytest.mark.parametrize(("level", "least"), [(0.05, 6), (0.0625, 5), (0.01, 8), (0.5, 2)])
def test_few_scenes_show_nothing(level: float, least: int) -> None:
    assert least_scenes(level) == least
    assert power_of(least - 1, 1, 99, level) == 0 and power_of(least, 0, 1, level) == 1
    assert scenes_needed(0, 1, 0.8, level) == scenes_needed(1, 1e4, 0.8, level) == least
    assert smallest_shown(least - 1, 1, 0.8, level) == INF and smallest_shown(least, 0, 0.8, level) == 0


def test_what_no_number_of_scenes_shows() -> None:
    assert scenes_needed(1, 1e-5, 0.8, 0.05) is None


@pytest.mark.parametrize("scenes", [6, 12, 40])
def test_the_smallest_difference_is_the_one_that_takes_so_many_scenes(scenes: int) -> None:
    effect = smallest_shown(scenes, 3, 0.8, 0.05)
    assert power_of(scenes, 3, effect, 0.05) == pytest.approx(0.8, abs=1e-4)
    assert scenes_needed(3, effect * 1.001, 0.8, 0.05) == scenes


def made(tmp_path: Path, scenes: int, fits: int, seeds: int, *, methods: tuple[str, str] = ("method", "method")) -> Results:
    """Two rows that differ by 1 on average: by scene with deviation 1 each, by fit 0.8, by seed 2."""
    run = Made(tmp_path / "run")
    random = np.random.default_rng(11)
    for at in range(scenes):
        run.scene(f"{at}")
    for label, method in zip("xy", methods, strict=True):
        run.row(label, method=method, fits=[*range(fits)], seeds=[*range(seeds)])
    run.row("truth", oracle=True)
    lines = []
    for at in range(scenes):
        centre = random.normal(20, 5)
        for label in "xy":
            own = centre + (label == "x") + random.normal(0, 1)
            for fit in range(fits):
                middle = own + random.normal(0, 0.8)
                lines += [(label, f"{at}", fit, seed, middle + random.normal(0, 2)) for seed in range(seeds)]
    return with_lines(load_run(run.write()), lines)


def with_lines(results: Results, lines: list[tuple[str, str, int, int, float]]) -> Results:
    """Results with these scores of the first metric, as if they had been read."""
    import pandas as pd

    scores = pd.DataFrame(lines, columns=["label", "scene", "fit", "seed", "value"])
    signature = next(iter(results.columns))
    vars(results)["_scores"] = scores.assign(
        run="run", method="method", preset=None, fingerprint="0" * 12, metric="psnr", signature=signature, state="ok", reason=""
    )
    cells = scores[["label", "scene", "fit", "seed"]].assign(
        run="run",
        state="ok",
        seconds=3.0,
        fit_seconds=10.0,
        host_bytes=1.0,
        device_bytes=None,
        device="cpu",
        device_name="",
        dtype="",
        cell=None,
    )
    vars(results)["_cell_table"] = cells.reindex(columns=[*load_cells(), "image", "cell"])
    return results


def load_cells() -> tuple[str, ...]:
    from realbench.results import CELL_FIELDS

    return CELL_FIELDS


def test_components_are_found_again(tmp_path: Path) -> None:
    (pair,) = plan(made(tmp_path, 400, 3, 4), 0.5).pairs
    # Of both rows together: scene 1 + 1, fit 0.64 + 0.64, seed 4 + 4.
    assert (pair.scene, pair.fit, pair.seed) == pytest.approx((2, 1.28, 8), rel=0.2)
    assert pair.mean == pytest.approx(1, abs=0.25) and pair.unknown == () and pair.scenes == 400
    assert pair.variance(3, 4) == pytest.approx(pair.scene + pair.fit / 3 + pair.seed / 12)


def test_the_plan_holds(tmp_path: Path) -> None:
    """The plan's number of scenes, drawn anew many times, shows the difference about as often as it says."""
    (pair,) = plan(made(tmp_path, 300, 1, 4), 1.0).pairs
    design = next(one for one in pair.designs if one.seeds == 8)
    assert design.scenes is not None
    deviation = math.sqrt(1 + 1 + 2 * 0.64 + 2 * 4 / 8)
    samples = np.random.default_rng(5).normal(1.0, deviation, (400, design.scenes))
    shown = np.mean([p is not None and p <= 0.05 for p in pairs._p_values(samples.tolist())])
    assert 0.7 < shown < 0.92


def test_designs_and_their_cost(tmp_path: Path) -> None:
    (pair,) = plan(made(tmp_path, 30, 2, 2), 0.5).pairs
    own = pair.designs[0]
    assert (own.fits, own.seeds) == (2, 2)
    by = {(design.fits, design.seeds): design for design in pair.designs}
    assert set(by) == {(fit, seed) for fit in (1, 2, 3) for seed in (1, 2, 4, 8, 16, 64)}
    assert by[1, 1].scenes is not None and by[1, 16].scenes is not None and by[3, 64].scenes is not None
    assert by[1, 1].scenes > by[1, 16].scenes > by[3, 64].scenes
    assert by[1, 1].smallest > by[3, 64].smallest
    # Two rows, each scene a fit of 10 s and four fills of 3 s.
    assert by[1, 4].seconds == pytest.approx(2 * (by[1, 4].scenes or 0) * (10 + 4 * 3))
    low, high = pair.range
    assert low is not None and high is not None and own.scenes is not None and low < own.scenes < high


def test_one_fit_or_seed_tells_nothing_of_further_ones(tmp_path: Path) -> None:
    (pair,) = plan(made(tmp_path, 30, 1, 1), 0.5).pairs
    assert (pair.fit, pair.seed) == (0, 0) and pair.scene == pytest.approx(2 + 1.28 + 8, rel=0.6)
    assert [text.partition(",")[0] for text in pair.unknown] == [
        "x has one fit a scene", "x has one seed a fit", "y has one fit a scene", "y has one seed a fit"
    ]  # fmt: skip
    assert [(design.fits, design.seeds) for design in pair.designs] == [(1, 1)]


def test_a_method_that_neither_fits_nor_draws_has_nothing_unknown(tmp_path: Path) -> None:
    (pair,) = plan(made(tmp_path, 30, 1, 1, methods=("telea", "telea")), 0.5).pairs
    assert pair.unknown == ()


def test_scenes_with_infinite_values_are_left_out(tmp_path: Path) -> None:
    results = made(tmp_path, 6, 1, 1)
    scores = results.scores()
    scores.loc[scores["scene"] == "0", "value"] = INF
    scores.loc[(scores["scene"] == "1") & (scores["label"] == "x"), "value"] = INF
    vars(results)["_scores"] = scores
    assert plan(results, 0.5).pairs[0].scenes == 4


def test_pairs_that_cannot_be_planned_are_told(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    for scene in "abcd":
        run.scene(scene)
    for label in "xyz":
        run.row(label)
    run.scores("x", {"a": 1, "b": 3, "c": 2, "d": 7})
    run.scores("y", {"a": 2, "b": 2, "c": 5, "d": 1})
    run.scores("z", {"a": 2, "b": 2})
    found = plan(load_run(run.write()), 0.5)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("x", "y")]
    assert [text.partition(":")[0] for text in found.skipped] == ["x and z", "y and z"]
    with pytest.raises(NothingMeasured, match="2 scenes with finite values"):
        plan(load_run(run.root), 0.5, rows=["x", "z"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"detect": 0}, "--detect above 0"),
        ({"detect": 1, "power": 0.05}, "--level < --power"),
        ({"detect": 1, "rows": ["x"]}, "expected two different rows"),
        ({"detect": 1, "rows": ["x", "nobody"]}, "no row 'nobody'; this run has x, y"),
        ({"detect": 1, "metric": "ssim"}, "--metric ssim: none of this run's metrics"),
    ],
)
def test_refusals(tmp_path: Path, words: dict[str, object], message: str) -> None:
    run = Made(tmp_path / "run")
    run.scene("a")
    for label in "xy":
        run.row(label)
    with pytest.raises(UsageError, match=message):
        plan(load_run(run.write()), **words)  # type: ignore[arg-type]


def test_which_metric(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.column("psnr|other|v:1", metric="psnr", config={"window": 3})
    run.column(DRIFT)
    run.row("x")
    results = load_run(run.write())
    assert column(results, "drift").metric == "drift"
    assert column(results, "psnr:window=3").signature == column(results, "psnr|other|v:1").signature == "psnr|other|v:1"
    with pytest.raises(UsageError, match="--metric psnr: 2 of this run's metrics"):
        column(results)
    del run.manifest.columns[next(iter(run.manifest.columns))]
    assert column(load_run(run.write())).signature == "psnr|other|v:1"
