"""What a runner keeps of a unit: each item gets exactly one outcome, whatever its worker does."""

from __future__ import annotations

import pytest

from realbench.runner import Ledger, Unit
from realbench.wire import Message

UNIT = Unit("fill", "telea", "a", ("0", "1", "2"), "telea", fits=True)


def item(name: str, **words: object) -> Message:
    return Message({"event": "item", "item": name, **words})


def test_items_are_settled_once() -> None:
    ledger = Ledger(UNIT, fitted=True)
    first = ledger.settle(item("1", state="failed", reason="why"))
    assert first is not None and (first.state, first.reason) == ("failed", "why")
    assert ledger.settle(item("1")) is None
    assert ledger.settle(item("9")) is None
    assert ledger.settle(Message({"event": "dance"})) is None
    assert ledger.left.items == ("0", "2")


def test_a_worker_lost_while_fitting_costs_every_item() -> None:
    outcomes = Ledger(UNIT, fitted=False).fail("timeout", "too slow")
    assert [(one.kind, one.item, one.state, one.reason) for one in outcomes] == [
        ("fit", "", "timeout", "too slow"),
        *(("item", name, "timeout", "fit: too slow") for name in UNIT.items),
    ]


@pytest.mark.parametrize("fitted", [True, False])
def test_a_worker_lost_after_the_fit_costs_the_item_it_was_at(fitted: bool) -> None:
    ledger = Ledger(UNIT, fitted=fitted)
    if not fitted:
        ledger.settle(Message({"event": "fit"}))
    ledger.settle(item("0"))
    outcomes = ledger.fail("failed", "died")
    assert [(one.kind, one.item) for one in outcomes] == [("item", "1")]
    assert ledger.left.items == ("2",)


def test_units_say_what_they_are() -> None:
    assert str(UNIT) == "fill a: telea, fit 0, 3 left"
    assert str(Unit("score", "score", "a", ("k",), cells=(("telea", 0, 0),))) == "score a: 1 fills, 1 left"
