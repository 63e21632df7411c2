"""Asking a method for fills as a run does, in a worker of its own, and what it answered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from realbench.composite import FEATHER
from realbench.conformance_worker import SAID
from realbench.fills import fill_request
from realbench.image import UInt8Image, decode_png
from realbench.plan import Row
from realbench.process import WorkerLost, WorkerProcess
from realbench.runner import Unit
from realbench.scene import Scene
from realbench.wire import Message

SEEDS = (3, 1)


@dataclass
class Answer:
    """What became of one request."""

    fills: dict[int, bytes] = field(default_factory=dict)
    """Raw fills by seed, as PNG."""
    notes: dict[int, list[str]] = field(default_factory=dict)
    state: dict[str, bytes] | None = None
    """Files of the fitted state, after a fit."""
    bad: str = ""
    """Why there is no fill, or not for every seed."""
    unsupported: bool = False
    weights_missing: bool = False
    crude: bool = False
    """`bad` is no RealbenchError: the method did not mean to say it."""
    lost: bool = False
    """The worker died or was killed."""
    odd: list[str] = field(default_factory=list)
    """What of its fills is not as documented, though the harness can make do."""
    device: str = ""

    def image(self, seed: int) -> UInt8Image:
        """One fill, decoded."""
        return decode_png(self.fills[seed])


@dataclass
class Asker:
    """Requests for one row; its worker is started when it is needed, and anew after one was lost."""

    row: Row
    folder: Path
    """A scratch folder; work folders of fits lie in it."""
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 1
    timeout: float | None = None
    _worker: WorkerProcess | None = None
    _count: int = 0

    def ask(
        self, scene: Scene, seeds: Sequence[int] = SEEDS, *, state: dict[str, bytes] | None = None, target: UInt8Image | None = None
    ) -> Answer:
        """Fills of a scene, from a fitted state where one is given; `target` stands in the place of the blanked one."""
        fits = self.row.card.fits
        unit = Unit("fill", self.row.label, scene.id, tuple(map(str, seeds)), self.row.label, fits=fits)
        work = self._work() if fits and state is None else None
        words = {"feather": FEATHER, "device": self.device, "dtype": self.dtype}
        request = fill_request(self.row, scene, unit, state if fits else None, work, **words)  # type: ignore[arg-type]
        if target is not None:
            request = replace(request, arrays={**request.arrays, "target": target})
        answer = Answer(state=state)
        try:
            for reply in self._exchange(request):
                _enter(answer, reply)
        except WorkerLost as error:
            answer.bad, answer.crude, answer.lost = f"{error}{_last_line(error.log)}", True, True
        if not answer.bad and set(answer.fills) != set(seeds):
            answer.bad = f"fills came for the seeds {sorted(answer.fills)}, asked for were {sorted(seeds)}"
        return answer

    def close(self) -> str:
        """Call the method's `close`, and keep the method; what went wrong in it."""
        try:
            return "; ".join(word for reply in self._exchange(Message({"stage": "close"})) for word in reply.head["data"]["words"])
        except WorkerLost as error:
            return str(error)

    def renew(self) -> None:
        """Let the next request make another instance of the method."""
        with suppress(WorkerLost):
            list(self._exchange(Message({"stage": "renew"})))

    def stop(self) -> None:
        """End the worker; the next request starts another process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _exchange(self, request: Message) -> Iterator[Message]:
        if self._worker is None:
            self._worker = WorkerProcess(threads=self.threads, log=self.folder / "log", module="realbench.conformance_worker")
        try:
            yield from self._worker.ask(request, self.timeout)
        except WorkerLost:
            self.stop()
            raise

    def _work(self) -> Path:
        self._count += 1
        folder = self.folder / "run" / "row" / "scene" / "fit-0" / f"work-{self._count}"
        folder.mkdir(parents=True)
        return folder


def difference(first: UInt8Image, second: UInt8Image) -> str:
    """How far two fills are apart, in words."""
    apart = np.abs(first.astype(np.int16) - second).max(axis=2)
    return f"up to {apart.max()} of 255 levels apart, {(apart > 0).mean():.1%} of the pixels differ"


def alike(first: UInt8Image, second: UInt8Image, levels: int, share: float) -> bool:
    """Whether this share of the pixels is within so many levels."""
    return bool((np.abs(first.astype(np.int16) - second).max(axis=2) <= levels).mean() >= share)


def _enter(answer: Answer, reply: Message) -> None:
    head = reply.head
    kind: Literal["fit", "item", "progress"] = head["event"]
    data = head.get("data", {})
    answer.device = data.get("environment", {}).get("device", answer.device)
    if head.get("item") == SAID:
        answer.odd = list(data["words"])
    elif head.get("state", "ok") != "ok":
        answer.unsupported |= head["state"] == "unsupported"
        answer.weights_missing |= bool(data.get("weights_missing"))
        detail = head.get("detail", "")
        crude = detail.rstrip().endswith(head["reason"].removeprefix("out of memory: "))  # a traceback of what was raised, not a log
        answer.crude |= crude
        answer.bad = answer.bad or head["reason"] + (_where(detail) if crude else "")
    elif kind == "fit" and not data["loaded"]:
        answer.state = {name.removeprefix("state/"): array.tobytes() for name, array in reply.arrays.items()}
    elif kind == "item":
        answer.fills[int(head["item"])] = reply.data("raw.png")
        answer.notes[int(head["item"])] = data["notes"]


def _where(detail: str) -> str:
    """The line of a traceback that raised, as `file:line`."""
    places = re.findall(r'File "([^"\n]+)", line (\d+)', detail)
    return f" ({Path(places[-1][0]).name}:{places[-1][1]})" if places else ""


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return f" ({lines[-1].strip()})" if lines else ""
