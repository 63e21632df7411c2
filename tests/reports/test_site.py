"""What all pages share: addresses, data blocks, colours one can read, and commands that tell nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from realbench.reports._provenance import command
from realbench.reports._site import TEMPLATES, as_json, scene_page
from tests.reports.conftest import EVIL, MARKUP

LEAST_CONTRAST = 4.5
"""WCAG 2.2, level AA, for text."""
PAIRS = [
    *((f"series-{number}", "raised") for number in range(1, 9)),
    *((ink, ground) for ink in ("ink", "quiet", "accent", "good", "warn", "bad") for ground in ("paper", "raised", "faint")),
    *(("ink", ground) for ground in ("tint", "warn-tint", "bad-tint")),
    ("warn", "warn-tint"), ("bad", "bad-tint"), ("accent", "tint"), ("quiet", "tint"),
]  # fmt: skip


@pytest.mark.parametrize("scene", ["kermit", "a b", "A B", EVIL, MARKUP, "../../etc", "été", "写真", "a" * 300, ""])
def test_a_scene_s_page_has_a_plain_name(scene: str) -> None:
    assert re.fullmatch(r"scenes/[a-z0-9-]{1,60}-[0-9a-f]{8}\.html", scene_page(scene))


def test_scenes_whose_names_look_alike_have_pages_of_their_own() -> None:
    assert len({scene_page(name) for name in ("a b", "A B", "a-b", "写真", "写", "")}) == 6


@pytest.mark.parametrize("text", ["</script><script>", "<!--", "]]>", "&amp;", EVIL])
def test_data_cannot_end_its_block(text: str) -> None:
    block = as_json({text: [text]})
    assert not set("<>&") & set(block) and json.loads(block) == {text: [text]}


def test_data_is_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_json([float("inf")])


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/work/venv/bin/realbench", "run", "-o", "runs/mine"], "realbench run -o runs/mine"),
        (["realbench", "--scenes", "'/home/alice/my scenes'"], "realbench --scenes my scenes"),
        (["realbench", "precomputed.fills=/secret/fills,~/more"], "realbench precomputed.fills=fills,more"),
        (["realbench", "'C:\\Users\\bob\\scenes'", "../up"], "realbench scenes up"),
        (["realbench", "https://bob:token@host/x?key=1"], "realbench https:…"),
        (["realbench", "--from=https://host/?token=a,/b"], "realbench --from=https:…"),
        (["realbench", "owner/name", "it's", "."], "realbench owner/name it's ."),
    ],
)
def test_commands_tell_no_folder_and_no_address(words: list[str], shown: str) -> None:
    assert command(words) == shown


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_texts_can_be_read_in_both_themes(ink: str, ground: str, theme: int) -> None:
    style = (TEMPLATES / "style.css").read_text()
    colours = {name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)}
    one, other = sorted((luminance(colours[name][theme]) for name in (ink, ground)), reverse=True)
    assert (one + 0.05) / (other + 0.05) >= LEAST_CONTRAST


def luminance(colour: str) -> float:
    """WCAG's relative luminance of #rrggbb."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_figures_have_the_page_s_colours() -> None:
    from realbench.reports._plot import DARK, SERIES

    style = (TEMPLATES / "style.css").read_text()
    pairs = dict(re.findall(r"light-dark\((#\w{6}), (#\w{6})\)", style))
    assert all(pairs[colour] == DARK[colour] for colour in SERIES)


def test_no_template_has_a_handler_or_a_remote_part() -> None:
    for path in Path(TEMPLATES).iterdir():
        text = path.read_text()
        assert not re.search(r"https?://", text), path
        assert not re.search(r"\son[a-z]+=|\sstyle=|javascript:", text), path
