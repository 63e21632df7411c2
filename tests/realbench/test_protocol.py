"""A protocol's parts, with one made of what needs no weights; and the paper's own numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from realbench import protocol
from realbench.comparison import compare
from realbench.composite import Feather
from realbench.errors import UsageError
from realbench.paper import PAPER
from realbench.plan import plan_columns, plan_rows
from realbench.protocol import Asked, Open, Protocol, PublishedRow, asked, choices, departures, explain
from realbench.results import load_run
from tests.making import DRIFT, PSNR, Made

MINI = Protocol(
    name="mini",
    source="Someone, 2030",
    methods=("patchmatch", "telea"),
    metrics=("psnr", "matches"),
    seeds="4",
    scenes=("a", "b", "c"),
    data_set="Three",
    stated={"seeds": "four"},
    left_open=(
        Open("size", "the target's"),
        Open("PSNR's peak", metric="psnr"),
        Open("LPIPS' net", metric="lpips"),
        Open("patches", method="patchmatch", settings=("patch", "iterations")),
        Open("radius", method="navier-stokes", settings=("radius",)),
        Open("which seeds", repeats="seeds"),
        Open("fits", repeats="fits"),
    ),
    table={"psnr": "PSNR ↑", "drift": "drift ↓", "lpips": "LPIPS ↓"},
    published=(PublishedRow("Theirs", "Table 9", {"psnr": 12.5}), PublishedRow("SD", "Table 1", method="prompt-inpaint")),
    caution="They do not compare.",
)


def request(
    methods: tuple[str, ...] = MINI.methods,
    metrics: tuple[str, ...] = MINI.metrics,
    settings: tuple[str, ...] = (),
    *,
    seeds: int = 4,
    fits: int = 1,
    feather: float = 4,
    scenes: str = "abc",
    first: int = 0,
) -> Asked:
    return asked(
        plan_rows(methods, settings), plan_columns(metrics, Feather(feather)), range(first, first + seeds), fits, feather, "suite", scenes
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, []),
        ({"settings": ("telea.radius=3",)}, []),
        ({"settings": ("telea.radius=9",)}, ["settings: telea: radius is 9 instead of 3"]),
        ({"methods": ("patchmatch", "telea=mine"), "settings": ("mine.radius=9",)}, ["settings: telea as mine: radius is 9 instead of 3"]),
        ({"methods": ("patchmatch",)}, ["methods: telea is not among the rows"]),
        ({"methods": (*MINI.methods, "mean-color")}, ["methods: not of the protocol: mean-color"]),
        ({"seeds": 2}, ["seeds: patchmatch: 2 instead of 4"]),
        ({"metrics": ("psnr",)}, ["metrics: matches is not measured"]),
        ({"metrics": ("psnr", "matches:combine=max")}, ["metrics: matches: combine:max instead of combine:sum"]),
        (
            {"metrics": ("psnr", "matches", "matches:combine=max")},
            ["metrics: measured beside the protocol's: matches: combine:max instead of combine:sum"],
        ),
        ({"metrics": ("psnr", "matches", "drift")}, ["metrics: measured beside the protocol's: drift"]),
        ({"feather": 0}, ["feather: 0 instead of 4 pixels for a shorter side of 512, our choice"]),
        ({"scenes": "ab"}, ["scenes: 2 instead of the 3 of Three"]),
        ({"scenes": "abx"}, ["scenes: no ids of Three: x"]),
        ({"scenes": "xabcstuvwy"}, ["scenes: 10 instead of the 3 of Three", "scenes: no ids of Three: x, s, t, u, v and 2 more"]),
    ],
)
def test_departures_by_hand(words: dict[str, object], expected: list[str]) -> None:
    assert departures(MINI, request(**words)) == expected  # type: ignore[arg-type]


def test_what_is_left_open_comes_from_what_is_asked_for() -> None:
    found = choices(MINI, request(settings=("patch=5",), feather=2))
    assert found["size"] == "the target's" and found["patches"] == "patch=5, iterations=3"
    assert found["PSNR's peak"] == "psnr|region:hole|image:composite|feather:2/512|range:255|size:target|v:1"
    assert found["LPIPS' net"] == "not measured" and found["radius"] == "not run"
    assert found["feather"].startswith("2 pixels")


def test_the_seeds_fits_and_scenes_that_are_told_are_those_asked_for() -> None:
    found = choices(MINI, request(("patchmatch", "prompt-inpaint:sd2"), seeds=64, first=100))
    assert found["which seeds"] == "100 to 163" and found["fits"] == "1 a scene"
    assert found["which scenes"] == "3 of the suite suite; their ids are compared with Three's, their content is not"
    found = choices(MINI, request(("realfill:paper", "telea"), seeds=4, fits=3))
    assert found["which seeds"] == "realfill:paper: 0 to 3; telea: 0" and found["fits"] == "realfill:paper: 3 a scene; telea: 1 a scene"


def test_scattered_seeds_are_told(made: Made) -> None:
    made.manifest.rows["telea"].seeds = [7, 0, 1, 2, 9, 8, 5]
    assert choices(MINI, protocol.asked_by(made.manifest))["which seeds"] == "0 to 2, 5, 7 to 9"


def test_scenes_without_truth_depart(made: Made) -> None:
    made.scene("b", truth=False)
    assert "scenes: without ground truth: b" in departures(MINI, protocol.asked_by(made.manifest))


def test_what_the_paper_leaves_to_realfill_is_told_with_its_value() -> None:
    rows = plan_rows(["realfill:paper", "paint-by-example:paper"], ["realfill:paper.layers=all", "realfill:paper.warmup=50"])
    told = "\n".join(explain(PAPER, asked(rows, [], range(64), 1, 4, "suite", PAPER.scenes)))
    assert "layers=all, alpha=0, schedule=constant, warmup=50, clip=0" in told and "(0: every sample draws its own): reference=0" in told
    assert "`a photo of [V]`" in told and "one random reference per run" in told and "fits: 1 a scene" in told


def test_everything_is_printed() -> None:
    lines = list(explain(MINI, request(seeds=2)))
    assert lines[0] == "protocol mini: Someone, 2030"
    assert "  stated: seeds: four" in lines and "  left open: size: the target's" in lines
    assert lines[-1] == "  departs: seeds: patchmatch: 2 instead of 4"
    assert list(explain(MINI, request()))[-1] == "  departs: in nothing"


def test_a_metric_that_is_not_installed_is_compared_by_name() -> None:
    wanted = replace(MINI, metrics=("psnr", "not-there"))
    assert "metrics: not-there is not measured" in departures(wanted, request(metrics=("psnr",)))


def test_unknown_protocols_list_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known: paper"):
        protocol.load("papier")


def test_the_paper_s_numbers() -> None:
    rows = {row.label: [row.scores()[name] for name in PAPER.table] for row in PAPER.published}
    assert rows == {
        "SD Inpaint": [10.63, 0.282, 0.605, 0.213, 0.831, 0.874],
        "Generative Fill": [10.92, 0.311, 0.598, 0.212, 0.851, 0.898],
        "Paint-by-Example": [10.13, 0.244, 0.642, 0.237, 0.797, 0.859],
        "TransFill": [13.28, 0.404, 0.542, 0.192, 0.860, 0.866],
        "RealFill, all seeds": [14.78, 0.424, 0.431, 0.077, 0.948, 0.962],
        "RealFill, worst 25 % filtered": [15.01, 0.427, 0.421, 0.066, 0.955, 0.967],
        "RealFill, worst 50 % filtered": [15.05, 0.427, 0.418, 0.063, 0.958, 0.969],
        "RealFill, worst 75 % filtered": [15.10, 0.427, 0.417, 0.060, 0.961, 0.970],
        "GeoComplete": [17.32, 0.578, 0.197, 0.036, 0.986, 0.987],
    }
    assert all(row.source for row in PAPER.published)


def test_the_paper_s_methods_and_metrics_exist_and_depart_in_nothing() -> None:
    rows = plan_rows(PAPER.methods)
    assert [row.label for row in rows] == ["prompt-inpaint:sd2", "paint-by-example:paper", "realfill:paper"]
    found = asked(rows, plan_columns(PAPER.metrics, Feather()), range(64), 1, 4, "RealBench", [str(number) for number in range(33)])
    assert departures(PAPER, found) == [] and "not measured" not in choices(PAPER, found).values()
    settings = {(item.method, name) for item in PAPER.left_open for name in item.settings}
    assert settings <= {(row.method, name) for row in rows for name in row.settings}  # a setting that is renamed must be renamed there too


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A run with a row of the protocol and an oracle."""
    monkeypatch.setattr(protocol, "protocols", lambda: {"mini": MINI})
    run = Made(tmp_path / "run")
    run.column(DRIFT, direction="lower", region="known", image="raw", reads=["target"])
    for scene in "abcd":
        run.scene(scene)
    run.row("telea", method="telea", settings={"radius": 5.0})
    run.row("truth", oracle=True)
    run.scores("telea", dict(zip("abcd", [10, 11, 12, 13], strict=True)))
    run.scores("truth", dict.fromkeys("abcd", 99.0))
    return run


def test_measured_and_published_are_two_tables(made: Made) -> None:
    found = compare(replace(load_run(made.write()), protocol="mini"))
    assert found is not None
    assert (
        [column.info.signature for column in found.columns.values()] == [PSNR, DRIFT]
        and list(found.columns) == [1, 2]
        and found.lacking == ("lpips",)
    )
    assert {label: [entry.mean for entry in entries] for label, entries in found.measured.items()} == {"telea": [11.5, None]}
    assert [(row.label, row.values) for row in found.published] == [("Theirs", (12.5, None, None)), ("SD", (10.63, None, 0.605))]
    (run,) = found.runs
    assert not run.recorded and "settings: telea: radius is 5 instead of 3" in run.departures


def test_without_a_protocol_there_is_nothing_to_compare(made: Made) -> None:
    assert compare(load_run(made.write())) is None


def test_what_is_recorded_is_read_back(made: Made) -> None:
    made.manifest.protocol = protocol.adopt(MINI, made.manifest)
    found = load_run(made.write())
    ((_, _, manifest),) = found.runs
    record = manifest.protocol
    assert record is not None and (record.protocol, record.stated) == ("mini", {"seeds": "four"})
    assert record.left_open["size"] == "the target's" and "scenes: 4 instead of the 3 of Three" in record.departures
    assert record.departures == departures(MINI, protocol.asked_by(manifest))
    compared = compare(replace(found, protocol="mini"))
    assert compared is not None and compared.runs[0].recorded
