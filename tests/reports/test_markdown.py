from __future__ import annotations

import re
from pathlib import Path

import pytest

from realbench.reports.markdown import Markdown, escape
from realbench.results import load_run
from tests.conftest import write_scene
from tests.making import Made


@pytest.fixture
def page(made: Made, tmp_path: Path) -> str:
    (path,) = Markdown().write(load_run(made.root), tmp_path)
    assert path.name == "leaderboard.md"
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain-label:fast", "plain-label:fast"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("<script>", "&lt;script&gt;"),
        ("&lt;", "&amp;lt;"),
        ("`x` *y* _z_ [l](u)", r"\`x\` \*y\* \_z\_ \[l\](u)"),
        ("one\n# two\r\nthree", r"one \# two three"),
        ("http://x www.y", r"http:\//x www\.y"),
        ("\x1b[31m\u202e", r"\\x1b\[31m\\u202e"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_every_table_line_has_the_columns_of_its_header(page: str) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    assert len(tables) == 3  # the leaderboard and two metrics scene by scene: with one ranked row nothing is compared
    for table in tables:
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(cells)) == 1
        assert len(cells) >= 5


def test_no_text_of_the_run_is_markup(page: str) -> None:
    assert set(re.findall(r"<[^>]*>?", page)) <= {"<sup>", "</sup>", "<br>"}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "http://" not in page
    assert not re.search(r"^# f", page, re.MULTILINE)


def test_numbers_marks_and_reasons(page: str, made: Made) -> None:
    board = page.split("\n\nMean over")[0].splitlines()
    assert board[2] == r"| row | mean rank | PSNR (dB) ↑ <sup>1</sup> | DRIFT ↓ <sup>2</sup> |"
    good, evil, truth = board[4:]
    # Means over tall, wide, =1+1: (20.5 + 22.25 + 1/3) / 3 = 14.36. The other row lacks one of three scenes.
    assert good.startswith("| good:fast | 1.00 | 14.36<br>") and "3 of 3 scenes<br>rank 1" in good
    assert r"*(unranked)* | – | 10.50 <sup>m" in evil and "2 of 3 scenes" in evil
    assert r"| truth *(oracle)* | – | ∞<br>3 of 3 scenes |" in truth
    assert "| tall | **20.50** | 10.00 | ∞ |" in page
    assert re.search(r"- m\d+: 1 × failed: fill: RuntimeError: a\\\|b", page)
    assert "`psnr|region:hole|image:composite|feather:4/512|range:255|size:target|v:1`" in page
    assert "Does not apply to no truth: the scene has no ground truth." in page
    assert "- **refused**: suite/refused/mask.png:" in page


def test_no_folder_of_this_machine_is_told(page: str, made: Made, tmp_path: Path) -> None:
    assert str(tmp_path) not in page


def test_mixed_devices_are_marked(made: Made, tmp_path: Path) -> None:
    made.fill("good:fast", "tall", device="cuda")
    made.score("good:fast", "tall", 20.5)
    (path,) = Markdown().write(load_run(made.root), tmp_path)
    text = path.read_text()
    assert "good:fast *(mixed devices)*" in text and "cpu (Some), float32 and cuda (Some), float32" in text


def test_rows_are_compared_with_the_best(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    names = "abcdefgh"
    for name in names:
        run.scene(name)
    for label in ("best", "near", "far"):
        run.row(label)
    for at, name in enumerate(names):
        run.score("best", name, 20 + at)
        run.score("near", name, 20 + at + (1 if at % 2 else -1.5))
        run.score("far", name, 10 + at)
    (path,) = Markdown().write(load_run(run.write()), tmp_path)
    text = path.read_text(encoding="utf-8")
    section = text.partition("## Compared with the best")[2].partition("## Scene by scene")[0]
    lines = [line.split(" | ") for line in section.splitlines() if line.startswith("| PSNR")]
    assert [line[1:3] for line in lines] == [["near", "best"], ["far", "best"]]
    # Differences −1.5 and +1 four times each: of 256 flips 166 have a sum as far from 0 as −2.
    near, far = lines
    assert near[3].startswith(r"−0.25 \[−1.") and near[6:] == ["4, 0, 4", "not shown to differ |"]
    assert far[3] == r"−10.00 \[−10.00, −10.00\]" and far[4:] == ["0.008", "0.023", "0, 0, 8", "worse |"]
    assert "| near | 2.00<br>\\[1.00, 2.00\\] | ≈ 23.25<br>" in text and "cannot show" not in section


def test_too_few_scenes_are_told(tmp_path: Path) -> None:
    run = Made(tmp_path / "run")
    for name in "abcd":
        run.scene(name)
    for label, value in (("x", 1.0), ("y", 2.0)):
        run.row(label)
        run.scores(label, dict.fromkeys("abcd", value))
    (path,) = Markdown().write(load_run(run.write()), tmp_path)
    assert "- 4 scenes cannot show a difference at 5 %: with one pair of rows it takes at least 6." in path.read_text(encoding="utf-8")


def test_a_mean_of_counts_has_a_decimal(tmp_path: Path) -> None:
    """Two rows whose mean counts are 0.5 and 0 must not both read 0."""
    for seed, name in enumerate("ab"):
        write_scene(tmp_path / "suite" / name, seed=seed)
    made = Made(tmp_path / "run", tmp_path / "suite")
    made.column("matches|v:1", reads=["references"], digits=0)
    for name in ("a", "b"):
        made.scene(name)
    made.row("some")
    made.scores("some", {"a": 1, "b": 0}, "matches|v:1")
    (path,) = (one for one in Markdown().write(load_run(made.write()), tmp_path) if one.name == "leaderboard.md")
    assert "0.5" in path.read_text()
