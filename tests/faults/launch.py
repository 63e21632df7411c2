"""The real command line with faults planted in its process: `python -m tests.faults.launch run …`, the plan in FAULT_PLAN."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from unittest import mock

from tests.faults.nursery import Nursery, popen
from tests.faults.wrapping import Wrapped


def main() -> None:
    """What `realbench` does, under the plan."""
    from realbench.cli import main as real

    plan = Path(os.environ["FAULT_PLAN"])
    fault = json.loads(plan.read_text()).get("driver")
    nursery = os.environ.get("NURSERY")
    if nursery:
        mock.patch("realbench.process.subprocess.Popen", popen).start()

    def second() -> None:
        calm = plan.with_suffix(".calm")
        calm.write_text('{"faults": []}')
        code = Nursery(os.environ["NURSERY"]).run(sys.argv[1:], {**os.environ, "FAULT_PLAN": str(calm)}, plan.with_suffix(".second"))
        (plan.with_suffix(".struck") / "second").write_text(str(code))

    if fault is None:
        real()
        return
    root = Path(sys.argv[sys.argv.index("--out") + 1])
    with Wrapped(root, fault, plan.with_suffix(".struck"), second)():
        real()


if __name__ == "__main__":
    main()
