"""The driver dies, or its disk fails, at each of the first operations of a run that goes on: run.json, a fit and a cell are written."""

from __future__ import annotations

import pytest

from tests.faults.disturbing import Disturbed, Ground
from tests.faults.planning import Round

OPERATIONS = [(op, nth) for op in ("open", "write", "fsync", "replace") for nth in range(1, 7)]


@pytest.mark.parametrize("do", ["kill", "broken"])
@pytest.mark.parametrize(("op", "nth"), OPERATIONS)
def test_the_first_operations_of_a_run_that_goes_on(ground: Ground, op: str, nth: int, do: str) -> None:
    disturbed = Disturbed(ground, ground.root / f"moment-{op}-{nth}-{do}")
    begun = {"op": "replace", "nth": 9, "do": "broken", "rest": True}
    disturbed.carry_out([Round((), begun, (), "here", 1), Round((), {"op": op, "nth": nth, "do": do, "rest": False}, (), "forked", 1)])
