"""What is in a worker's memory while a method runs: no truth, no content of the hole, no path to the suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from realbench import bench
from realbench.errors import Exit
from realbench.results import load_run
from tests.conftest import Plugins


def test_a_method_never_learns_where_the_suite_is(suite: Path, plugins: Plugins, tmp_path: Path) -> None:
    """The worker's memory, arguments and environment hold no path to the suite (the truth's path in particular)."""
    source = """
    import gc, os, sys
    from pathlib import Path
    from realbench.errors import Unsupported
    from realbench.method import BaseMethod, MethodCard
    class Spy(BaseMethod):
        card = MethodCard("spy", "Spy", "Looks around.")
        def complete(self, task, seed, context):
            needle = "/" + "suite"
            texts = [value for value in gc.get_objects() if isinstance(value, (str, Path))]
            texts += [str(value) for value in vars(task).values() if not hasattr(value, "shape")] + sys.argv + list(os.environ.values())
            texts += [str(path) for path in Path("/proc/self/fd").iterdir() for path in [os.path.realpath(path)]]
            found = [text for text in map(str, texts) if text.endswith(needle) or needle + "/" in text]
            if found or hasattr(task, "truth"): raise RuntimeError(found[:3])
            return task.target, ()
    """
    plugins("methods", {"spy": "Spy"}, source)
    assert bench.run(["spy"], scenes=suite, metrics=["drift"], out=tmp_path / "run").exit_code == Exit.DONE


def test_a_method_sees_neither_truth_nor_the_hole(suite: Path, plugins: Plugins, tmp_path: Path) -> None:
    """Even where the released target still shows the truth, and after an oracle ran: no array of the process holds a hole pixel."""
    truth = np.asarray(Image.open(suite / "a" / "target" / "gt.png"))
    mask = np.asarray(Image.open(suite / "a" / "target" / "mask.png")) > 0
    Image.fromarray(truth).save(suite / "a" / "target" / "target.png")
    np.save(tmp_path / "hole.npy", truth[mask])
    np.save(tmp_path / "mask.npy", mask)
    source = f"""
    import sys
    import numpy as np
    from realbench.method import BaseMethod, MethodCard

    def reachable():
        frame, waiting, seen = sys._getframe(), [], set()
        while frame:
            waiting += list(frame.f_locals.values())
            frame = frame.f_back
        while waiting:
            one = waiting.pop()
            if id(one) in seen: continue
            seen.add(id(one))
            if isinstance(one, np.ndarray):
                yield one
            elif isinstance(one, dict):
                waiting += list(one.values())
            elif isinstance(one, (list, tuple, set)):
                waiting += list(one)
            elif type(one).__module__.startswith("realbench"):
                waiting += list(vars(one).values()) if hasattr(one, "__dict__") else []

    class Spy(BaseMethod):
        card = MethodCard("spy", "Spy", "Looks around.")
        def complete(self, task, seed, context):
            if hasattr(task, "truth"): raise RuntimeError("has a truth")
            if len(set(task.target[task.mask].ravel().tolist())) != 1: raise RuntimeError("the hole is not blank")
            arrays = [value for value in reachable() if value.shape == task.target.shape]
            hole = np.load({str(tmp_path / "hole.npy")!r})
            if any(np.array_equal(value[task.mask], hole) for value in arrays): raise RuntimeError("the truth is here")
            return task.target, ("looked at " + str(len(arrays) > 0),)
    """
    plugins("methods", {"spy": "Spy"}, source)
    bench.run(["ground-truth", "spy"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run")
    cells = load_run(tmp_path / "run").cells().set_index("label")
    assert cells.loc["spy", "state"] == "ok", cells.loc["spy", "reason"]
    assert cells.loc["spy", "notes"] == "looked at True"


def test_requests_hold_the_truth_for_oracles_and_metrics_only(suite: Path, tmp_path: Path, monkeypatch: object) -> None:
    sent = []
    execute = bench.Machine.execute

    def watched(self: bench.Machine, units, supply, emit, log, say) -> None:  # type: ignore[no-untyped-def]
        sent.extend((unit, supply(unit)) for unit in units)
        execute(self, units, supply, emit, log, say)

    monkeypatch.setattr(bench.Machine, "execute", watched)  # type: ignore[attr-defined]
    bench.run(["telea", "ground-truth"], scenes=suite, scene=["a"], metrics=["psnr"], out=tmp_path / "run")
    holders = {(unit.stage, unit.label) for unit, request in sent if "truth" in request.arrays}
    assert holders == {("fill", "ground-truth"), ("score", "")}
    assert len(sent) == 3
