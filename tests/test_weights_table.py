"""docs/weights.md says of the methods' models what their cards say."""

from __future__ import annotations

import re
from pathlib import Path

from realbench import weights
from realbench.registry import load, names

TABLE = re.compile(r"\| `([^`/]+/[^`]+)`[^|]*\| `(\w+)` \| [^|]+ \| ([^|]+) \| (yes|no) \|")


def test_the_table_of_models_is_the_cards() -> None:
    text = (Path(__file__).parent.parent / "docs" / "weights.md").read_text()
    shown = {(id_, revision, licence.strip(), gated == "yes") for id_, revision, licence, gated in TABLE.findall(text)}
    cards = {item for name in names("methods") for item in load("methods", name).card.weights if item.id}
    assert shown == {(item.id, item.revision, item.licence, item.gated) for item in cards}


def test_every_weight_has_a_licence_and_a_size() -> None:
    entries, broken = weights.catalogue()
    assert not broken
    assert [entry.weights.name for entry in entries if not (entry.weights.licence and entry.weights.size)] == []
