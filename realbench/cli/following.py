"""What `realbench run --protocol` adds to a run: methods, metrics and seeds of a paper, said before and recorded after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from realbench import protocol as protocols
from realbench.composite import FEATHER, Feather
from realbench.errors import UsageError
from realbench.plan import parse_seeds, plan_columns, plan_rows
from realbench.protocol import Asked, Protocol
from realbench.records import Manifest
from realbench.store import MANIFEST, RunFolder
from realbench.suite import open_suite
from realbench.watch import Watcher


@dataclass(frozen=True)
class Request:
    """What was typed; None where nothing was, and then the protocol's, or the command's own default, goes."""

    methods: Sequence[str] | None
    metrics: Sequence[str] | None
    seeds: str | None
    scenes: str
    scene: Sequence[str]
    settings: Sequence[str]
    fits: int
    feather: float | None
    out: Path | None

    def completed(self, protocol: Protocol | None) -> Request:
        """With what the protocol says where nothing was typed. Raises UsageError where no method is left."""
        if protocol is None:
            if not self.methods:
                raise UsageError("no method is named: give --method NAME (`realbench methods` lists them), or --protocol paper")
            return replace(self, seeds=self.seeds or "1")
        methods, metrics = self.methods or protocol.methods, self.metrics or protocol.metrics
        return replace(self, methods=methods, metrics=metrics, seeds=self.seeds or protocol.seeds)


@contextmanager
def follow(protocol: Protocol | None, request: Request, watch: Watcher) -> Iterator[None]:
    """Around a run: say what the protocol states, leaves open and is departed from, and record it, however the run ends.

    Takes a completed request. Nothing is recorded in a folder that the run never came to work on.
    """
    if protocol is None:
        yield
        return
    suite = open_suite(request.scenes)
    folder = RunFolder(request.out or Path("runs") / suite.name)
    before = _manifest(folder)
    scenes = [name for name in suite.ids if not request.scene or name in request.scene]
    for line in protocols.explain(protocol, _asked(request, before, suite.name, scenes)):
        watch.say(line)
    try:
        yield
    finally:
        after = _manifest(folder)
        if after is not None and len(after.invocations) > (len(before.invocations) if before else 0):
            after.protocol = protocols.adopt(protocol, after)
            with folder.lock():
                folder.write_manifest(after)


def _asked(request: Request, before: Manifest | None, suite: str, scenes: Sequence[str]) -> Asked:
    feather = request.feather if request.feather is not None else before.feather if before else FEATHER
    rows, columns = plan_rows(request.methods or (), request.settings), plan_columns(request.metrics, Feather(feather))
    return protocols.asked(rows, columns, parse_seeds(request.seeds or "1"), request.fits, feather, suite, scenes)


def _manifest(folder: RunFolder) -> Manifest | None:
    return folder.read_manifest() if (folder.root / MANIFEST).is_file() else None
