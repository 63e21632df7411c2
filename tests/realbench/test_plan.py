"""What the words of the command line mean: rows, labels, settings, columns, seeds."""

from __future__ import annotations

import pytest

from realbench.composite import Feather
from realbench.errors import UsageError
from realbench.plan import Row, parse_seeds, plan_columns, plan_rows, unheeded
from tests.conftest import Plugins

SOURCE = """
from dataclasses import dataclass, field
from realbench.method import BaseMethod, MethodCard
from realbench.metric import BaseMetric, MetricCard

@dataclass(frozen=True)
class Knobs:
    steps: int = 10
    rate: float = 0.5
    loud: bool = False
    folder: str = field(default="", metadata={"path": True})

class One(BaseMethod):
    card = MethodCard("one", "One", "First.", presets={"slow": {"steps": 99}, "quick": {"steps": 1}}, default_preset="quick")
    Settings = Knobs
    def complete(self, task, seed, context): ...

class Two(BaseMethod):
    card = MethodCard("two", "Two", "Second.", stochastic=True, fits=True)
    Settings = Knobs
    def complete(self, task, seed, context): ...

class Plain(BaseMethod):
    card = MethodCard("plain", "Plain", "Without settings.")
    def complete(self, task, seed, context): ...
"""


@pytest.fixture(autouse=True)
def planted(plugins: Plugins) -> None:
    plugins("methods", {"one": "One", "two": "Two", "plain": "Plain"}, SOURCE)


def rows(*methods: str, settings: tuple[str, ...] = ()) -> dict[str, Row]:
    return {row.label: row for row in plan_rows(methods, settings)}


@pytest.mark.parametrize(
    ("text", "label", "preset", "steps"),
    [
        ("one", "one:quick", "quick", 1),
        ("one:slow", "one:slow", "slow", 99),
        ("one:slow=Mine", "Mine", "slow", 99),
        ("one=Other name (v2)", "Other name (v2)", "quick", 1),
        ("two", "two", None, 10),
    ],
)
def test_a_row_is_named_after_what_it_is(text: str, label: str, preset: str | None, steps: int) -> None:
    (row,) = plan_rows([text])
    assert (row.label, row.preset, row.settings["steps"]) == (label, preset, steps)


@pytest.mark.parametrize(
    ("setting", "one", "two"),
    [
        ("steps=3", 3, 3),
        ("one.steps=3", 3, 10),
        ("two.steps=3", 1, 3),
        ("A.steps=3", 3, 10),  # a label works like a name
    ],
)
def test_settings_reach_the_rows_they_name(setting: str, one: int, two: int) -> None:
    found = rows("one=A", "two", settings=(setting,))
    assert (found["A"].settings["steps"], found["two"].settings["steps"]) == (one, two)


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (["ome"], [], "did you mean one"),
        (["one:fast"], [], "no preset 'fast'; known: slow, quick"),
        (["plain:fast"], [], "known: none"),
        (["one=a/b"], [], "label 'a/b'"),
        (["one=<script>"], [], "label '<script>'"),
        (["one"], ["stepz=1"], "known: one: steps, rate, loud, folder"),
        (["one"], ["two.steps=1"], "no method of this run has it"),
        (["one"], ["steps"], "expected key=value"),
        (["one"], ["steps=many"], "method one, setting steps: .* found 'many'"),
        (["one"], ["loud=perhaps"], "setting loud"),
        (["one=X", "two=X"], [], "label 'X' stands for two different settings"),
    ],
)
def test_what_cannot_be_meant_is_refused(methods: list[str], settings: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_rows(methods, settings)


def test_the_same_row_twice_is_one_row() -> None:
    assert len(plan_rows(["one", "one"])) == 1


def test_the_fingerprint_follows_content_and_not_names() -> None:
    base = rows("two")["two"].fingerprint
    assert rows("two=Other")["Other"].fingerprint == base
    assert rows("two", settings=("steps=11",))["two"].fingerprint != base
    assert rows("two", settings=("folder=/elsewhere",))["two"].fingerprint == base  # its content is hashed with each cell
    assert "-" not in base


def test_rows_need_only_the_repeats_that_matter() -> None:
    found = rows("plain", "two")
    assert (found["plain"].seeds((3, 4)), found["plain"].fits(5)) == ((0,), (0,))
    assert (found["two"].seeds((3, 4)), found["two"].fits(2)) == ((3, 4), (0, 1))


@pytest.mark.parametrize(("text", "seeds"), [("1", (0,)), ("3", (0, 1, 2)), ("100-102", (100, 101, 102)), ("7-7", (7,))])
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "0", "-1", "3-1", "a", "1,2", "1-", "999999", "１"])
def test_seeds_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)


def test_metrics_take_their_configuration_after_a_colon() -> None:
    plain, changed = plan_columns(["matches", "matches:size=320,combine=max"], Feather())
    assert plain.signature != changed.signature
    assert "|combine:max|" in changed.signature and "size:320" in changed.signature
    assert plain.key != changed.key


@pytest.mark.parametrize("text", ["psnr:window=3", "matches:size", "matches:size=big", "psmr"])
def test_metrics_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match="metric"):
        plan_columns([text], Feather())


def test_the_default_columns_need_no_weights() -> None:
    assert {"psnr", "ssim", "psnr-full", "ssim-full", "psnr-known", "drift", "seam", "matches"} <= {
        column.metric for column in plan_columns(None, Feather())
    }


@pytest.mark.parametrize(
    ("methods", "seeds", "fits", "told"),
    [
        (["one", "two"], "1", 1, []),
        (["two"], "8", 3, []),
        (["one", "two", "plain"], "1", 2, ["note: one fit, not 2, for one:quick, plain: nothing is fitted to a scene there"]),
        (["two", "plain"], "4", 1, ["note: seed 0 alone, not 4 seeds, for plain: fills there do not depend on the seed"]),
        (["plain"], "7-7", 1, ["note: seed 0 alone, not seed 7, for plain: fills there do not depend on the seed"]),
    ],
)
def test_repeats_that_change_nothing_are_told(methods: list[str], seeds: str, fits: int, told: list[str]) -> None:
    assert unheeded(plan_rows(methods), parse_seeds(seeds), fits) == told
