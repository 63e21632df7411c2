"""Where scores were made, over runs that mean different things by one name."""

from __future__ import annotations

from pathlib import Path

from realbench.results import load_run
from tests.making import PSNR, Made


def run(root: Path, device: str) -> Made:
    made = Made(root)
    made.scene("a")
    made.row("one")
    made.score("one", "a", 1.0, device=device)
    made.write()
    return made


def test_scores_of_two_runs_share_a_column(tmp_path: Path) -> None:
    one, two = run(tmp_path / "x", "cpu"), run(tmp_path / "y", "cuda")
    two.manifest.rows["two"] = two.manifest.rows["one"].model_copy(update={"fingerprint": "f" * 12})
    two.score("two", "a", 2.0, device="cuda")
    assert load_run(one.root, two.write()).devices(PSNR) == ("cpu (Some)", "cuda (Some)")


def test_names_that_differ_between_runs_are_found_again(tmp_path: Path) -> None:
    one, two = run(tmp_path / "x", "cpu"), run(tmp_path / "y", "cuda")
    two.scene("a", truth=False)
    two.row("one", fingerprint="f" * 12)
    two.score("one", "a", 2.0, device="cuda")
    (column,) = two.manifest.columns.values()
    column.source = "other"
    record = two.folder.read_score(two.cell("one", "a"), next(iter(two.manifest.columns)))
    assert record is not None
    record.source = "other"
    two.folder.write_scores([(two.cell("one", "a"), next(iter(two.manifest.columns)), record)])
    found = load_run(one.root, two.write())
    assert set(found.rows) == {"one @x", "one @y"} and set(found.scenes) == {"a @x", "a @y"} and len(found.columns) == 2
    assert {signature: found.devices(signature) for signature in found.columns} == {
        signature: (f"{'cuda' if 'other' in signature else 'cpu'} (Some)",) for signature in found.columns
    }


def test_scores_of_a_changed_fill_do_not_count(tmp_path: Path) -> None:
    made = run(tmp_path / "x", "cuda")
    made.scene("b")
    made.row("one")
    made.score("one", "b", 2.0, device="cpu")
    record = made.folder.read_score(made.cell("one", "a"), next(iter(made.manifest.columns)))
    assert record is not None
    record.image = "another"
    made.folder.write_scores([(made.cell("one", "a"), next(iter(made.manifest.columns)), record)])
    assert load_run(made.write()).devices(PSNR) == ("cpu (Some)",)
