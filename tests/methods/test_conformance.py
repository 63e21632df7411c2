"""Every built-in passes the conformance kit, as a plug-in must: what holds for all methods is tested here, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from realbench import conformance, registry, scaffold
from realbench.conformance_asking import SEEDS
from realbench.conformance_scenes import first, turned, variants
from realbench.errors import Exit
from tests.conftest import photograph

FEW = {
    "paint-by-example": ["steps=2"],
    "patchmatch": ["levels=2", "iterations=1"],
    "prompt-inpaint": ["steps=2"],
    "realfill": ["steps=2", "warmup=0", "batch=1", "pool=4", "refresh=1", "size=64", "inference_steps=2"],
}
"""Settings that keep it short."""
HEAVY = ("flux-kontext", "flux2-klein", "qwen-edit")
"""No machine that tests has their weights."""
BUILT_IN = [name for name in registry.names("methods") if not registry.third_party("methods", name)]


def settings(name: str, folder: Path) -> list[str]:
    """What a method is checked with; two need files of somebody's."""
    if name == "precomputed":
        for number, scene in enumerate([first(), turned(first()), *variants(first()).values()]):
            (folder / scene.id).mkdir(parents=True)
            for seed in SEEDS:
                Image.fromarray(photograph(9 * number + seed, *scene.size)).save(folder / scene.id / f"{seed}.png")
        return [f"fills={folder}"]
    if name == "isolated":
        return [f"method={scaffold.new('script', folder, isolated=True) / 'src' / 'realbench_script' / 'isolated'}"]
    return FEW.get(name, [])


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in HEAVY])
def test_a_built_in_conforms(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    found = conformance.check(name, settings=settings(name, tmp_path / "files"), device="cpu")
    assert [str(one) for one in found if one.state == "failed"] == []
    spared = {"truth", "no truth"} if name == "ground-truth" else set()
    assert {one.check for one in found if one.state == "not checked"} == spared
    assert conformance.exit_code(found) == Exit.DONE
    assert ("load" in {one.check for one in found}) == (name == "realfill")


@pytest.mark.parametrize("name", HEAVY)
def test_without_weights_the_rest_is_checked(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = conformance.check(name, device="cpu")
    assert [(one.check, one.state) for one in found] == [
        ("import", "ok"), ("card", "ok"), ("settings", "ok"), ("weights", "not checked"), ("fill", "not checked")
    ]  # fmt: skip
    assert "realbench weights pull" in found[-2].message
    assert conformance.exit_code(found) == Exit.WEIGHTS_MISSING
