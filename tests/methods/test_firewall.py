"""While a method runs, its process opens no file below the suite: watched by an audit hook in the real worker processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from realbench import bench, registry
from realbench.results import load_run
from tests.conftest import Plugins, photograph
from tests.isolating import write_method

HOOK = """
import os, sys
if "realbench.worker" in sys.orig_argv:
    log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, b"started\\n")
    def hook(event, args):
        if event in ("open", "os.listdir", "os.scandir", "shutil.copyfile", "os.rename") and args and isinstance(args[0], (str, bytes)):
            name = os.path.abspath(os.fsdecode(args[0]))
            if name.startswith({suite!r}):
                os.write(log, (name + "\\n").encode())
    sys.addaudithook(hook)
"""


@pytest.fixture
def opened(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of what worker processes open below the suite, after a line for each worker."""
    folder = tmp_path / "hook"
    folder.mkdir()
    log = tmp_path / "opened"
    (folder / "sitecustomize.py").write_text(HOOK.format(log=str(log), suite=str(suite)))
    monkeypatch.syspath_prepend(folder)
    return log


@pytest.mark.parametrize("name", [name for name in registry.names("methods") if not registry.load("methods", name).card.weights])
def test_no_built_in_opens_the_suite(name: str, suite: Path, opened: Path, tmp_path: Path) -> None:
    fills = tmp_path / "fills" / "a"
    fills.mkdir(parents=True)
    Image.fromarray(photograph(1)).save(fills / "0.png")
    settings = {"precomputed": [f"precomputed.fills={fills.parent}"]}
    if name == "isolated":
        settings[name] = [f"isolated.method={write_method(tmp_path / 'method')}"]
    bench.run([name], scenes=suite, scene=["a"], metrics=["psnr", "matches"], settings=settings.get(name, []), out=tmp_path / "run")
    assert list(load_run(tmp_path / "run").cells()["state"]) == ["ok"]
    assert opened.read_text().splitlines() == ["started", "started"]  # the method's worker and the metrics' worker


def test_the_hook_would_notice(suite: Path, opened: Path, plugins: Plugins, tmp_path: Path) -> None:
    source = f"""
    from realbench.method import BaseMethod, MethodCard
    class Thief(BaseMethod):
        card = MethodCard("thief", "Thief", "Peeks.")
        def complete(self, task, seed, context):
            open({str(suite / "a" / "target" / "gt.png")!r}).close()
            return task.target, ()
    """
    plugins("methods", {"thief": "Thief"}, source)
    bench.run(["thief"], scenes=suite, scene=["a"], metrics=["drift"], out=tmp_path / "run")
    assert str(suite / "a" / "target" / "gt.png") in opened.read_text()


def test_the_oracle_gets_its_truth_in_memory(suite: Path, opened: Path, tmp_path: Path) -> None:
    bench.run(["ground-truth"], scenes=suite, metrics=["psnr", "ssim"], out=tmp_path / "run")
    scores = load_run(tmp_path / "run").scores().query("state == 'ok'")
    assert (scores.query("metric == 'psnr'")["value"] == float("inf")).all() and len(scores) == 4
    assert (scores.query("metric == 'ssim'")["value"] >= 0.9995).all()
    assert set(opened.read_text().splitlines()) == {"started"}
