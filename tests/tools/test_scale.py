"""benchmarks/scale.py: makespans that can be worked out by hand, nothing lost, and unit costs from where they are said to be from."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import scale
from benchmarks.scale import Asked, Chances, Costs, Ending
from realbench import fingerprint
from realbench.errors import UsageError
from realbench.records import FitRecord
from tests.making import Made

COSTS = Costs(fit=100, fill=1, score=0.25, start_up=10, state=2)
CALM = Chances()


def ray(asked: Asked, costs: Costs = COSTS, chances: Chances = CALM, seed: int = 1) -> Ending:
    return scale.ray(asked, costs, chances, np.random.default_rng(seed))


def shards(asked: Asked, costs: Costs = COSTS, chances: Chances = CALM, seed: int = 1) -> Ending:
    return scale.shards(asked, costs, chances, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("runner", "scenes", "seeds", "gpus", "makespan"),
    [
        # One worker: start, three times (fit and 16 fills), start again, three times 16 scores.
        (ray, 3, 16, 1, 10 + 3 * (100 + 16) + 10 + 3 * 4),
        (shards, 3, 16, 1, 10 + 3 * (100 + 16) + 10 + 3 * 4),
        # A worker a scene.
        (ray, 3, 16, 3, 10 + 116 + 10 + 4),
        (shards, 3, 16, 3, 10 + 116 + 10 + 4),
        # Two workers, one scene: the second takes the second chunk of 8 once the fit is there, with the state; one request for scores.
        (ray, 1, 16, 2, 10 + 100 + max(8, 10 + 2 + 8) + 10 + 4),
        # As shards they fit twice, and each fills half.
        (shards, 1, 16, 2, 10 + 100 + 8 + 10 + 2),
        # Three scenes on two workers: one of them makes the third fit; its second chunk is taken over by the other, with the state.
        (ray, 3, 8, 2, 10 + 108 + 108 + 10 + 2 * 2),
        (ray, 3, 16, 2, 10 + 116 + 100 + max(8, 2 + 8) + 10 + 2 * 4),
    ],
)  # fmt: skip
def test_makespans_by_hand(runner: Any, scenes: int, seeds: int, gpus: int, makespan: float) -> None:
    asked = Asked(scenes, seeds, gpus)
    ending = runner(asked)
    assert ending.makespan == pytest.approx(makespan) and ending.given_up == 0
    assert ending.redone == (100 if (runner, gpus) == (shards, 2) else 0)


def test_stragglers_cost_what_they_take_longer() -> None:
    assert ray(Asked(3, 16, 1), chances=Chances(slow=1, slowdown=2)).makespan == pytest.approx(2 * (10 + 3 * 116 + 10 + 12))
    # With one worker of two slow, the other does more: less than twice as long.
    calm, slow = ray(Asked(12, 16, 2)).makespan, [ray(Asked(12, 16, 2), chances=Chances(slow=0.5), seed=seed).makespan for seed in range(8)]
    assert calm - 1e-6 <= min(slow) and max(slow) <= 2 * calm + 1e-6 and any(calm < one < 1.7 * calm for one in slow)


class Once(np.random.Generator):
    """A generator whose first loss comes at a given time, and no other."""

    def __init__(self, *times: float) -> None:
        super().__init__(np.random.PCG64(1))
        self.times = [*times]

    def exponential(self, *_: Any, **__: Any) -> float:  # type: ignore[override]
        return self.times.pop(0) if self.times else math.inf


LOSSES = Chances(between_losses=1, repair=5)


@pytest.mark.parametrize(
    ("at", "makespan", "redone"),
    [
        # One worker, one scene of 8 seeds: start 0–10, fit 10–110, fills 110–118, then scores, 10 + 2.
        (60, 60 + 5 + 10 + 100 + 8 + 12, 60),  # in the fit (and the start before it): both again
        (112.5, 112.5 + 5 + 10 + 2 + 6 + 12, 0.5),  # in the third fill: the fit is stored and comes from the driver, two fills are done
    ],
)
def test_a_lost_node_costs_what_was_under_way(at: float, makespan: float, redone: float) -> None:
    ending = scale.ray(Asked(1, 8, 1), COSTS, LOSSES, Once(at))
    assert ending.makespan == pytest.approx(makespan) and ending.redone == pytest.approx(redone)


def test_what_another_node_has_goes_on_meanwhile() -> None:
    """Two nodes of one worker, two scenes; the second goes in its fit: the first, done at 118, makes that fit too."""
    ending = scale.ray(Asked(2, 8, 2, per_node=1), COSTS, replace(LOSSES, repair=1000), Once(math.inf, 60))
    assert ending.makespan == pytest.approx(118 + 108 + 10 + 2 * 2) and ending.redone == pytest.approx(60)


def test_a_job_that_loses_its_worker_again_and_again_is_given_up() -> None:
    """Lost after every 50, in the fit each time: after three retries its 16 seeds are given up; scores are asked for all the same."""
    ending = scale.ray(Asked(1, 16, 1), COSTS, LOSSES, Once(50, 50, 50, 50))
    assert ending.given_up == 16 and ending.redone == pytest.approx(4 * 50) and ending.makespan == pytest.approx(4 * 55 + 10 + 4)


def test_an_item_that_is_lost_again_and_again_costs_itself_alone() -> None:
    """Always in the first fill, 0.5 after the fit (110) or start and state (12): that fill is given up, seven are made."""
    ending = scale.ray(Asked(1, 8, 1), COSTS, LOSSES, Once(110.5, 12.5, 12.5, 12.5))
    assert ending.given_up == 1 and ending.makespan == pytest.approx(110.5 + 3 * (5 + 12.5) + 5 + 12 + 7 + 10 + 2)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 20), st.integers(1, 8), st.integers(0, 99), st.sampled_from([ray, shards]))
def test_no_run_is_shorter_than_its_work(scenes: int, seeds: int, gpus: int, per_node: int, seed: int, runner: Any) -> None:
    asked = Asked(scenes, seeds, gpus, per_node)
    chances = Chances(jitter=0.0, slow=0.2, between_losses=500, repair=20)
    for world in (CALM, chances):
        ending = runner(asked, chances=world, seed=seed)
        assert ending.makespan >= (scale.useful(asked, COSTS) / gpus if not ending.given_up else 0)
        assert ending == runner(asked, chances=world, seed=seed), "the same seed gives the same"
    assert runner(asked).makespan <= 20 + scale.useful(asked, COSTS) + 2 * scenes * -(-seeds // 8)


def test_unit_costs_come_from_the_records(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    for scene in "ab":
        run.scene(scene)
    run.row("m", seeds=[0, 1])
    for scene, seconds in (("a", 10.0), ("b", 20.0)):
        record = FitRecord(state="ok", inputs="", seconds=seconds, files={"weights": fingerprint.of_bytes(b"x" * 500)})
        run.folder.write_fit(run.cell("m", scene), record, {"weights": b"x" * 500})
        for seed in (0, 1):
            run.fill("m", scene, seed=seed, seconds=1.0 + seed)
            run.score("m", scene, 20, seed=seed)
    run.fill("m", "b", seed=1, state="failed", seconds=900)
    with pytest.raises(UsageError, match="no finished fit"):
        scale.measured(_without_fits(tmp_path), 3, 1000)
    run.write()
    costs, what = scale.measured(run.root, start_up=3, bandwidth=1000)
    assert costs == Costs(fit=15, fill=4 / 3, score=0, start_up=3, state=0.5)
    assert what.startswith("2 fits, 3 fills and their 1 metrics; ")


def _without_fits(folder: Path) -> Path:
    run = Made(folder / "none")
    run.scene("a")
    run.row("m")
    run.fill("m", "a")
    return run.write()


@pytest.mark.parametrize("text", ["{", "[1]", '{"fits": 1}', '{"fit": "1"}', '{"fit": -1}', '{"fit": true}', '{"fit": NaN}'])
def test_costs_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(UsageError, match=r"costs\.json"):
        scale.read_costs(tmp_path / "costs.json")


def test_the_table_says_where_its_costs_are_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--scenes", "2", "--seeds", "2", "--gpus", "1", "4", "--repeat", "3"]
    scale.main(words)
    first = capsys.readouterr().out
    assert first.startswith("Unit costs assumed, not measured, in multiples of one fit:\nfit 1, fill 0.002083, score 0.0005,")
    assert sum(line.startswith(("| 1 |", "| 4 |")) for line in first.splitlines()) == 2 * 2 * 2
    scale.main(words)
    assert capsys.readouterr().out == first
    (tmp_path / "costs.json").write_text(json.dumps({"fit": 3600, "fill": 8}))
    scale.main([*words, "--costs", str(tmp_path / "costs.json")])
    assert capsys.readouterr().out.startswith("Unit costs of costs.json:\nfit 3600, fill 8, ")
