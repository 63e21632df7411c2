"""Looking at the scenes before a run: each is loaded, examined by the doctor and hashed; decoded scenes are kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from realbench.doctor import inspect
from realbench.errors import SceneError
from realbench.records import SceneInfo
from realbench.scene import Scene
from realbench.suite import Suite
from realbench.watch import Watcher


class Scenes:
    """Decoded scenes of a suite, the last few kept in memory so that no stage decodes them again."""

    def __init__(self, suite: Suite, keep_bytes: int = 1 << 30) -> None:
        self.suite = suite
        self._keep = keep_bytes
        self._held: OrderedDict[str, Scene] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, scene: str, digests: Mapping[str, str] | None = None) -> Scene:
        """A scene, decoded at most once while it is held. Raises SceneError, also when it is not what `digests` say it was."""
        with self._lock:
            if scene not in self._held:
                self._held[scene] = self.suite.load(scene)
            if digests is not None and self._held[scene].digests != digests:
                raise SceneError(f"scene {scene}: changed while the run was going on; let it rest and run again")
            self._held.move_to_end(scene)
            while len(self._held) > 1 and sum(map(_bytes, self._held.values())) > self._keep:
                self._held.popitem(last=False)
            return self._held[scene]

    def survey(self, ids: Iterable[str], watch: Watcher, *, strict: bool) -> dict[str, SceneInfo]:
        """What the run must know of each scene; a broken one (with `strict`, also a doubtful one) is refused with the reason."""
        wanted = list(ids)
        infos = {}
        watch.begin("examining scenes", len(wanted))
        for scene in wanted:
            infos[scene] = self._examine(scene, strict)
            watch.step(scene)
        watch.end()
        for scene, info in infos.items():
            for warning in info.warnings:
                watch.say(f"warning: scene {scene}: {warning}")
            if info.refused:
                watch.say(f"refused: scene {scene}: {info.refused}")
        return infos

    def _examine(self, name: str, strict: bool) -> SceneInfo:
        try:
            scene = self.load(name)
        except SceneError as error:
            return SceneInfo(refused=str(error))
        warnings = [*scene.warnings, *(f"{finding.message}; {finding.mend}" for finding in inspect(scene))]
        info = describe(scene)
        info.warnings = warnings
        if strict and warnings:
            info.refused = f"--strict: {warnings[0]}"
        return info


def describe(scene: Scene) -> SceneInfo:
    """What records and reports keep of a scene."""
    return SceneInfo(
        digests=scene.digests,
        title=scene.title,
        licence=scene.licence,
        tags=list(scene.tags),
        size=scene.size,
        references=len(scene.references),
        truth=scene.truth is not None,
        hole_kind=scene.hole_kind,
        hole_share=scene.hole_share,
    )


def _bytes(scene: Scene) -> int:
    images = (*scene.references, scene.target, scene.mask, *(() if scene.truth is None else (scene.truth,)))
    return sum(image.nbytes for image in images)
