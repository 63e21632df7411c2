"""The zip for an appendix: what is in it, what is left out, and that it is the same each time."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path

import pytest

from realbench import fingerprint
from realbench.errors import NothingMeasured, UsageError
from realbench.export import Choice, export, safe_name
from realbench.image import decode_png
from realbench.licences import may_be_shared
from realbench.results import load_run
from realbench.suite import open_suite
from tests.conftest import write_scene
from tests.making import PSNR, Made

MATCHES = "matches|region:hole|backend:sift|v:1"
EVIL = "../<b>x:y"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Two scenes, one of them free; a row of three seeds whose matches and PSNR point at different ones, a row of one, an oracle."""
    suite = tmp_path / "suite"
    write_scene(suite / "free", seed=1, references=2)
    write_scene(suite / "closed", seed=2)
    run = Made(tmp_path / "run", suite)
    run.column(MATCHES, reads=["references"], digits=0)
    run.scene("free", licence="CC BY 4.0", title=EVIL)
    run.scene("closed", licence="CC BY-NC 4.0")
    run.row("seeds", seeds=[0, 1, 2])
    run.row(EVIL)
    run.row("truth", oracle=True)
    for scene in ("free", "closed"):
        for seed, (psnr, matches) in enumerate([(9, 5), (8, 7), (7, 6)]):
            run.score("seeds", scene, psnr, seed=seed)
            run.score("seeds", scene, matches, seed=seed, signature=MATCHES)
        run.score(EVIL, scene, 3)
        run.score("truth", scene, 99)
    run.write()
    return run


def written(made: Made, tmp_path: Path, choice: Choice) -> tuple[zipfile.ZipFile, list[str]]:
    path = tmp_path / "out" / "x.zip"
    remarks = export(load_run(made.root), path, choice)
    return zipfile.ZipFile(path), remarks


def contents(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(archive.read("contents.csv").decode()))]


def test_the_best_without_the_truth(made: Made, tmp_path: Path) -> None:
    archive, remarks = written(made, tmp_path, Choice(best=True))
    evil = safe_name(EVIL)
    assert {name for name in archive.namelist() if not name.startswith("tables/")} == {
        "README.txt", "contents.csv", "scenes/free/target.png", "scenes/free/mask.png", "scenes/free/reference-1.png",
        "scenes/free/reference-2.png", "scenes/free/truth.png", "scenes/closed/target.png", "scenes/closed/mask.png",
        *(f"scenes/{scene}/fills/{row}.png" for scene in ("free", "closed") for row in ("seeds", evil)),
    }  # fmt: skip
    assert {"tables/leaderboard.csv", "tables/pairs.csv", "tables/scores.csv", "tables/leaderboard.md"} <= {*archive.namelist()}
    assert remarks == [
        f"Selected without the ground truth: of each row and scene the fill with most MATCHES ({MATCHES}).",
        "closed: references and truth left out, its licence (CC BY-NC 4.0) is not known to allow it",
    ]
    chosen = {(line["scene"], line["row"]): line for line in contents(archive)}
    assert {line["seed"] for (_, row), line in chosen.items() if row == "seeds"} == {"1"}
    line = chosen["free", "seeds"]
    assert (line["chosen"], line[PSNR], line[MATCHES]) == ("best matches of 3: 7", "8.0", "7.0")
    assert chosen["free", EVIL]["chosen"] == "the only fill" and chosen["free", EVIL][MATCHES] == ""
    for line in chosen.values():
        data = archive.read(line["file"])
        assert fingerprint.of_bytes(data) == line["sha256"]
    cell = made.folder.cell(made.cell("seeds", "free", seed=1))
    assert archive.read("scenes/free/fills/seeds.png") == (cell / "fill.png").read_bytes()


def test_scenes_are_shown_as_they_were_run(made: Made, tmp_path: Path) -> None:
    archive, _ = written(made, tmp_path, Choice(best=True))
    scene = open_suite(made.suite or "").load("free")
    assert (decode_png(archive.read("scenes/free/target.png")) == scene.task().target).all()
    assert (decode_png(archive.read("scenes/free/truth.png")) == scene.truth).all()
    assert (decode_png(archive.read("scenes/free/reference-2.png")) == scene.references[1]).all()


def test_an_oracle_is_called_one(made: Made, tmp_path: Path) -> None:
    archive, remarks = written(made, tmp_path, Choice(best=True, oracle="psnr"))
    assert remarks[0].startswith("ORACLE: of each row and scene the fill with the best PSNR, which reads the ground truth.")
    assert remarks[0] in archive.read("README.txt").decode()
    assert {line["seed"] for line in contents(archive)} == {"0"}


def test_without_best_every_fill_is_there(made: Made, tmp_path: Path) -> None:
    archive, remarks = written(made, tmp_path, Choice())
    assert remarks[0] == "Every finished fill; nothing was chosen."
    assert len(contents(archive)) == 2 * (3 + 1)
    assert "scenes/free/fills/seeds-fit-0-seed-00002.png" in archive.namelist()


def test_the_same_run_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(load_run(made.root), tmp_path / f"{name}.zip", Choice(best=True))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one.zip", "two.zip", "run", "suite"}


def test_no_folder_of_this_machine_and_no_unsafe_name(made: Made, tmp_path: Path) -> None:
    made.fill("seeds", "free", seed=2, state="failed", reason=f"broke in {made.suite}/free")
    archive, _ = written(made, tmp_path, Choice(best=True))
    for name in archive.namelist():
        assert re.fullmatch(r"[A-Za-z0-9._/-]+", name) and ".." not in name
        assert str(tmp_path).encode() not in archive.read(name)
    assert b"broke in suite/free" in archive.read("tables/scores.csv")
    assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_unlicensed_scenes_on_request(made: Made, tmp_path: Path) -> None:
    archive, remarks = written(made, tmp_path, Choice(best=True, unlicensed=True))
    assert "scenes/closed/truth.png" in archive.namelist() and len(remarks) == 1


def test_what_cannot_be_shown_is_said(made: Made, tmp_path: Path) -> None:
    (made.folder.cell(made.cell(EVIL, "free")) / "fill.png").write_bytes(b"changed" * 20)
    target = (made.suite or Path()) / "closed" / "target"
    (target / "gt.png").write_bytes((made.suite or Path()).joinpath("free", "target", "gt.png").read_bytes())
    record = made.folder.cell(made.cell(EVIL, "free")) / "record.json"
    size = (record.parent / "fill.png").stat().st_size
    record.write_text(re.sub(r'"fill.png": \d+', f'"fill.png": {size}', record.read_text()))
    archive, remarks = written(made, tmp_path, Choice(best=True))
    assert remarks[1:] == [
        f"{EVIL} on free, seed 0: left out, its image is not what its record vouches for",
        "closed: no images of the scene, its files have changed since the run",
    ]
    readme = archive.read("README.txt").decode()
    assert all(remark in readme for remark in remarks)


def test_a_best_seed_needs_something_to_choose_by(made: Made, tmp_path: Path) -> None:
    del made.manifest.columns[next(key for key, info in made.manifest.columns.items() if info.metric == "matches")]
    made.write()
    with pytest.raises(UsageError, match=r"this run has no matches to select seeds by.*--oracle METRIC"):
        written(made, tmp_path, Choice(best=True))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="--oracle lpips: none of this run's metrics"):
        written(made, tmp_path, Choice(best=True, oracle="lpips"))


def test_a_scene_without_match_scores_keeps_its_first_seed(made: Made, tmp_path: Path) -> None:
    for seed in range(3):
        made.score("seeds", "free", None, seed=seed, signature=MATCHES, state="unsupported", reason="none")
    archive, _ = written(made, tmp_path, Choice(best=True))
    (line,) = [line for line in contents(archive) if (line["scene"], line["row"]) == ("free", "seeds")]
    assert (line["seed"], line["chosen"]) == ("0", "the first: no fill has a matches score")


def test_fills_that_could_not_be_chosen_are_counted(made: Made, tmp_path: Path) -> None:
    made.row("seeds", seeds=[0, 1, 2, 3])
    made.score("seeds", "free", 1, seed=3)
    made.write()
    _, remarks = written(made, tmp_path, Choice(best=True))
    assert "seeds: 7 of 8 fills that were asked for are finished; the others could not be taken" in remarks
    assert "seeds: 6 of 7 fills have a matches score; the others could not be chosen" in remarks
    _, everything = written(made, tmp_path, Choice())
    assert [line for line in everything if line.startswith("seeds: ")] == [
        "seeds: 7 of 8 fills that were asked for are finished; the others could not be taken"
    ]


def test_nothing_to_export(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("a")
    run.row("truth", oracle=True)
    run.fill("truth", "a")
    with pytest.raises(NothingMeasured, match="oracles, which show the ground truth, are left out"):
        export(load_run(run.write()), tmp_path / "x.zip", Choice(best=True))


@pytest.mark.parametrize("name", ["telea", "realfill.paper", "0", "a-b_c.1"])
def test_plain_names_stay(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "con", "CON.png", "é", " x", "x.", "-x", "x" * 200, "\x00", "a:b"])
def test_other_names_become_plain_and_stay_different(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{8}", safe) and len(safe) < 100
    assert safe != safe_name(name + "x")


def test_names_that_differ_in_case_alone_do_not_meet(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    run.scene("a")
    for label in ("row", "ROW"):
        run.row(label)
        run.score(label, "a", 3)
    export(load_run(run.write()), tmp_path / "x.zip", Choice(best=True))
    names = [name for name in zipfile.ZipFile(tmp_path / "x.zip").namelist() if "/fills/" in name]
    assert len({name.casefold() for name in names}) == 2


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("CC0 1.0 (Stefan van der Walt)", True), ("CC BY 4.0", True), ("CC-BY-SA-4.0", True), ("public domain (NASA)", True),
        ("Creative Commons Attribution 4.0 International", True), ("MIT", True), ("Apache-2.0", True),
        (None, False), ("", False), ("CC BY-NC 4.0", False), ("CC-BY-ND-4.0", False), ("cc by nc sa", False),
        ("all rights reserved", False), ("none stated; as shipped in scikit-image's wheel", False),
        ("unknown, maybe CC0", False), ("not CC0", False),
        ("CC BY 4.0, non-commercial", False), ("research only, MIT", False), ("permit", False), ("my own", False),
    ],
)  # fmt: skip
def test_licences(licence: str | None, free: bool) -> None:
    assert may_be_shared(licence) is free


def test_only_an_earlier_export_is_replaced(made: Made, tmp_path: Path) -> None:
    manifest = made.root / "run.json"
    before = manifest.read_bytes()
    for path in (manifest, tmp_path):
        with pytest.raises(UsageError, match="expected a new file, or an earlier export"):
            export(load_run(made.root), path, Choice())
    assert manifest.read_bytes() == before
    for _ in range(2):
        export(load_run(made.root), tmp_path / "x.zip", Choice())
