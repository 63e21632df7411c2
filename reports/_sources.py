"""Where the pictures of a page come from: scenes as they were when they were run, and fills as their records vouch for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from realbench import fingerprint
from realbench.errors import SceneError
from realbench.image import UInt8Image, decode_png
from realbench.records import Manifest, SceneInfo
from realbench.results import Results
from realbench.scene import Scene
from realbench.suite import DEMO, Suite, open_suite

from . import _heat
from ._images import Source
from ._strip import Fill


class Scenes:
    """The scenes of a report's runs; each suite is opened once, and the scene asked for last is held."""

    def __init__(self, results: Results) -> None:
        self._suites: dict[str, Suite | SceneError] = {}
        self._origins = _origins(results)
        self._held: tuple[str, Scene | SceneError] | None = None
        self._lock = threading.Lock()

    def load(self, scene: str) -> Scene:
        """The scene as it was when it was run. Raises SceneError when it is gone or changed."""
        with self._lock:
            if self._held is None or self._held[0] != scene:
                try:
                    self._held = scene, self._load(*self._origins[scene])
                except SceneError as error:
                    self._held = scene, error
            found = self._held[1]
        if isinstance(found, SceneError):
            raise found
        return found

    def _load(self, manifest: Manifest, name: str) -> Scene:
        path = DEMO if manifest.suite == DEMO else manifest.suite_path
        if path not in self._suites:
            try:
                self._suites[path] = open_suite(path)
            except SceneError as error:
                self._suites[path] = error
        suite = self._suites[path]
        if isinstance(suite, SceneError):
            raise suite
        scene = suite.load(name)
        if scene.digests != manifest.scenes[name].digests:
            raise SceneError("the scene's files have changed since the run")
        return scene


def parts(info: SceneInfo, load: Callable[[], Scene]) -> Iterator[tuple[str, str, Source]]:
    """Caption, content hash and source of each of a scene's images: references, target with its hole, ground truth."""
    digests: Mapping[str, str] = info.digests

    def reference(at: int) -> Source:
        return lambda: (load().references[at], None)

    for at in range(info.references):
        yield f"Reference {at + 1}", fingerprint.of_data(["reference", digests["references"], at]), reference(at)
    yield "Target", fingerprint.of_data(["target", digests["task"]]), lambda: (load().task().target, load().mask)
    if info.truth:
        yield "Ground truth", fingerprint.of_data(["truth", digests["truth"]]), lambda: (_truth(load()), None)


def fill(item: Fill) -> Source:
    """The composite of a finished cell. Its source raises SceneError when the file is not what the record vouches for."""
    return lambda: (read_fill(item), None)


def heat(item: Fill, load: Callable[[], Scene]) -> Source:
    """The error map of a finished cell on a scene that has a ground truth."""

    def make() -> tuple[UInt8Image, None]:
        scene, image = load(), read_fill(item)
        if image.shape != _truth(scene).shape:
            raise SceneError("fill.png is not of the target's size")
        return _heat.heat_map(image, _truth(scene), scene.mask), None

    return make


def heat_key(item: Fill, info: SceneInfo) -> str:
    """What an error map is named after."""
    return _heat.key(item.image, info.digests["truth"], info.digests["mask"])


def read_fill(item: Fill) -> UInt8Image:
    """The composite, H×W×3 RGB, 0–255. Raises SceneError when it cannot be read or is another than was recorded."""
    try:
        data = (Path(item.folder) / "fill.png").read_bytes()
    except OSError as error:
        raise SceneError(f"fill.png cannot be read: {error}") from error
    if fingerprint.of_bytes(data) != item.image:
        raise SceneError("fill.png cannot be read: it is not what its record vouches for; score again to withdraw it, then run again")
    return decode_png(data)


def _truth(scene: Scene) -> UInt8Image:
    assert scene.truth is not None, "the digests agree, so there is one"
    return scene.truth


def _origins(results: Results) -> dict[str, tuple[Manifest, str]]:
    """A run's manifest and the scene's id there, by the id that is shown."""
    found: dict[str, tuple[Manifest, str]] = {}
    for run, _, manifest in results.runs:
        for name, info in manifest.scenes.items():
            shown = name if results.scenes.get(name) == info else f"{name} @{run}"
            if shown in results.scenes:
                found[shown] = manifest, name
    return found
