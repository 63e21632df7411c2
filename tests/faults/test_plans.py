"""Random fault plans: whatever goes wrong, the run can be shown, resumed, and ends like an undisturbed one."""

from __future__ import annotations

from tests.faults.disturbing import Disturbed, Ground
from tests.faults.planning import drawn


def test_a_disturbed_run_ends_like_an_undisturbed_one(ground: Ground, plan_number: int) -> None:
    """`--plans N` for more of them, `--first-plan N --plans 1` for one; every tenth starts its workers from nothing."""
    Disturbed(ground, ground.root / f"plan-{plan_number}", real=plan_number % 10 == 0).carry_out(drawn(plan_number))
