"""The worker's side: requests in, outcomes out. It sees the images it is sent, never the suite or the run folder."""

from __future__ import annotations

import json
import os
import queue
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from realbench import plan, registry
from realbench.composite import Feather, composite
from realbench.errors import RealbenchError, TimedOut, Unsupported, WeightsMissing
from realbench.image import decode_png, encode_png
from realbench.machine import environment, peak_memory, reset_peak_memory, resolve_device
from realbench.method import Context, Fill
from realbench.metric import WRITTEN, Batch, Score
from realbench.process import PREPARING, leave
from realbench.scene import OracleTask, Scene, Task
from realbench.specs import settings_class
from realbench.wire import Array, Message, blob, receive, send

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")
REASON = 2000
DETAIL = 4000
"""Longest reason and traceback kept, in characters."""
NOTE = 300
"""Most of an error that a note tells."""
ALONE = "asked for alone:"
"""How the note on a seed begins that was filled by itself because its company failed."""


@dataclass
class Session:
    """One worker's memory between requests: the loaded method, the loaded metrics, what a scene's metrics prepared."""

    threads: int = 1
    methods: dict[str, Any] = field(default_factory=dict)
    ready: dict[str, Exception | None] = field(default_factory=dict)
    """Methods that were prepared here, and why where one could not be."""
    metrics: dict[str, Any] = field(default_factory=dict)
    prepared: dict[tuple[str, str], Any] = field(default_factory=dict)
    scene: str = ""
    fitted: str = ""
    """Which fit the loaded method holds, as the driver names it."""

    def handle(self, request: Message) -> Iterator[Message]:
        """Replies to one request: outcomes, progress, and `end`."""
        stages = {"fill": self._fill, "score": self._score}
        with tempfile.TemporaryDirectory(prefix="realbench-") as scratch:
            asked = Message({**request.head, "work": request.head.get("work") or scratch}, request.arrays)
            for reply in stages[request.head["stage"]](asked):
                yield _with_weights(reply)
        yield Message({"event": "end"})

    def _fill(self, request: Message) -> Iterator[Message]:
        head = request.head
        seeds = [int(item) for item in head["items"]]
        words = _Heard()
        try:
            yield from self._prepare(head)
            method = self._method(head)
            context = replace(_context(head, method.card.torch, self.threads), log=words.hear)
        except Exception as error:
            yield from (_failure(str(seed), error) for seed in seeds)
            return
        base = {"environment": environment(context.device, context.dtype, self.threads)}
        task = _task(request)
        if method.card.fits:
            fitted = words.kept_in(self._fit(method, task, request, context, base))
            yield fitted
            words.hear("")
            if fitted.head["state"] != "ok":
                reason = f"fit: {fitted.head['reason']}"
                yield from (Message({**fitted.head, "event": "item", "item": str(seed), "reason": reason}) for seed in seeds)
                return
        yield from map(words.kept_in, self._fills(method, task, seeds, context, base, Feather(head["feather"])))

    def _prepare(self, head: Mapping[str, Any]) -> Iterator[Message]:
        """Where the driver did not: let the method do what it does once on a machine. What failed is raised again each time."""
        key = repr([head["method"], head["settings"]])
        if head.get("prepare") and key not in self.ready and hasattr(registry.method(head["method"], head["settings"]), "prepare"):
            yield Message({"event": PREPARING})
            try:
                plan.prepare_method(head["method"], head["settings"], lambda text: _progress(0, 1, text))
                self.ready[key] = None
            except Exception as error:
                self.ready[key] = error
            yield Message({"event": "prepared"})
        failure = self.ready.get(key)
        if failure is not None:
            raise failure.with_traceback(None)  # or it would keep every request that met it

    def _fit(self, method: Any, task: Task, request: Message, context: Context, base: Mapping[str, Any]) -> Message:
        """Fit, or load the state that was sent, or keep the fit at hand; the reply carries the state's files after a fit."""
        start = time.perf_counter()
        reset_peak_memory()
        names, name = request.head["state"], request.head.get("fitted", "")
        loaded = Message({"event": "fit", "state": "ok", "data": {"loaded": True}})
        if name and name == self.fitted:
            return loaded
        self.fitted = ""
        try:
            with tempfile.TemporaryDirectory(prefix="realbench-") as folder:
                if names is not None:
                    for file in names:
                        (Path(folder) / file).write_bytes(request.data(f"state/{file}"))
                    method.load(Path(folder))
                    self.fitted = name
                    return loaded
                method.fit(task, seed=request.head["fit"], context=context)
                seconds = time.perf_counter() - start
                method.save(Path(folder))
                _check_names(Path(folder))
                files = {f"state/{path.name}": blob(path.read_bytes()) for path in sorted(Path(folder).iterdir())}
        except Exception as error:
            return _failure("", error, event="fit", data=base)
        self.fitted = name
        data = {**base, "loaded": False, "seconds": seconds, "peak_memory": peak_memory()}
        return Message({"event": "fit", "state": "ok", "data": data}, files)

    def _fills(
        self, method: Any, task: Task, seeds: list[int], context: Context, base: Mapping[str, Any], feather: Feather
    ) -> Iterator[Message]:
        """One reply a seed. After an exception with several seeds to go they are asked for one by one; it costs the seed it then hits."""
        left = list(seeds)
        together = True
        again: tuple[str, ...] = ()
        while left:
            start = time.perf_counter()
            reset_peak_memory()
            asked = tuple(left) if together else (left[0],)
            try:
                for fill in method.fill(task, asked, context=context):
                    if fill.seed not in left or fill.seed not in asked:
                        raise RealbenchError(f"the method returned a fill for seed {fill.seed}, which was not asked for (or twice)")
                    data = {**base, "seconds": time.perf_counter() - start, "peak_memory": peak_memory()}
                    reply = _filled(fill, task, data, feather, again)
                    left.remove(fill.seed)
                    yield reply
                    start = time.perf_counter()
                if set(asked) & set(left):
                    raise RealbenchError("the method ended without a fill for this seed")
            except Exception as error:
                pending = [seed for seed in asked if seed in left]
                if not pending:
                    traceback.print_exception(error)  # after its fills were delivered: no seed's fault, but not swallowed
                elif len(pending) > 1:
                    together, again = False, (f"{ALONE} with other seeds, {_words(error)[:NOTE]}",)
                else:
                    left.remove(pending[0])
                    yield _failure(str(pending[0]), error, data={**base, "seconds": time.perf_counter() - start})

    def _score(self, request: Message) -> Iterator[Message]:
        head = request.head
        if head["scene"] != self.scene:
            self.prepared.clear()
            self.scene = head["scene"]
        scenes = _Shown(_scene(request))
        batch = _batch(request)
        for key in head["items"]:
            start = time.perf_counter()
            spec = head["metrics"][key]
            try:
                metric = self._metric(spec)
                context = _context(head, metric.card.torch, self.threads)
                scores = self._scores(metric, key, scenes.to(metric.card.reads), batch, context)
                base = {"environment": environment(context.device, context.dtype, self.threads)}
            except Exception as error:
                yield _failure(key, error)
                continue
            yield Message({"event": "item", "item": key, "data": {**base, "scores": scores, "seconds": time.perf_counter() - start}})

    def _scores(self, metric: Any, key: str, scene: Scene, batch: Batch, context: Context) -> list[dict[str, Any]]:
        if (self.scene, key) not in self.prepared:
            self.prepared[self.scene, key] = metric.prepare(scene, context=context)
        scores: Sequence[Score] = metric.score(self.prepared[self.scene, key], batch)
        if len(scores) != len(batch):
            raise RealbenchError(f"the metric returned {len(scores)} scores for {len(batch)} fills")
        return [_plain_score(score) for score in scores]

    def _method(self, head: Mapping[str, Any]) -> Any:
        """The method, loaded once; another method or other settings take its place."""
        key = repr([head["method"], head["settings"]])
        if key not in self.methods:
            self.fitted = ""
            while self.methods:
                self.methods.popitem()[1].close()
            kind = registry.method(head["method"], head["settings"])
            values = plan.validate(settings_class(kind), head["settings"], f"method {head['method']}")
            self.methods[key] = kind(values) if hasattr(kind, "Settings") else kind()
        return self.methods[key]

    def _metric(self, spec: Mapping[str, Any]) -> Any:
        key = repr(spec)
        if key not in self.metrics:
            kind = registry.load("metrics", spec["metric"])
            self.metrics[key] = kind(plan.validate(kind.Config, spec["config"], f"metric {spec['metric']}"))
        return self.metrics[key]


class _Heard:
    """What a stage has printed, as its method tells it."""

    def __init__(self) -> None:
        self._text = ""

    def hear(self, text: str) -> None:
        self._text = str(text)[-DETAIL:]

    def kept_in(self, reply: Message) -> Message:
        """An outcome with its detail: that of a failure, else what was heard."""
        return Message({**reply.head, "detail": reply.head.get("detail") or self._text}, reply.arrays)


def _with_weights(reply: Message) -> Message:
    """An outcome with the weights this worker has loaded so far."""
    weights = sys.modules.get("realbench.weights")
    used = weights.used() if weights is not None else {}
    if not used or "data" not in reply.head:
        return reply
    return Message({**reply.head, "data": {**reply.head["data"], "weights": used}}, reply.arrays)


def _context(head: Mapping[str, Any], torch: bool, threads: int) -> Context:
    return Context(resolve_device(head["device"], torch), head["dtype"], threads, Path(head["work"]), _progress)


def _progress(done: float, total: float, text: str = "") -> None:
    """Replaced by main() with a report to the driver; in a session within this process nobody watches."""


def _task(request: Message) -> Task:
    head, arrays = request.head, request.arrays
    references = tuple(arrays[f"reference/{index}"] for index in range(head["references"]))
    parts = (head["scene_id"], head["prompt"], references, arrays["target"], arrays["mask"])
    return OracleTask(*parts, truth=arrays.get("truth")) if head["oracle"] else Task(*parts)


def _scene(request: Message) -> Scene:
    head, arrays = request.head, request.arrays
    references = tuple(arrays[f"reference/{index}"] for index in range(head["references"]))
    return Scene(head["scene_id"], references, arrays["target"], arrays["mask"], arrays.get("truth"), prompt=head["prompt"])


class _Shown:
    """A scene as each metric may see it: without the truth, and its target's hole blanked, unless the card says that it reads them."""

    def __init__(self, whole: Scene) -> None:
        self._whole = whole
        self._made: dict[tuple[bool, bool], Scene] = {(True, True): whole}

    def to(self, reads: Sequence[str]) -> Scene:
        """The same object for equal parts, so that metrics share what they compute of it."""
        key = "truth" in reads, "target" in reads
        if key not in self._made:
            truth = self._whole.truth if key[0] else None
            target = self._whole.target if key[1] else self._whole.task().target
            self._made[key] = replace(self._whole, truth=truth, target=target)
        return self._made[key]


def _batch(request: Message) -> Batch:
    seeds = tuple(range(request.head["fills"]))
    raw, laid = (tuple(decode_png(request.data(f"{name}/{index}")) for index in seeds) for name in ("raw.png", "fill.png"))
    return Batch(seeds, raw, laid)


def _filled(fill: Fill, task: Task, data: Mapping[str, Any], feather: Feather, notes: Sequence[str]) -> Message:
    """The outcome of a fill, with notes of the harness's own. Raises where the method's answer is not what it should be."""
    raw = _checked(fill.image, task)
    # Encoded here, not in the driver, so that workers share the cost; both images are written by the driver as they are.
    laid = composite(raw, task.target, task.mask, feather)
    images: dict[str, Array] = {"raw.png": blob(encode_png(raw)), "fill.png": blob(encode_png(laid))}
    timings = {str(name): float(value) for name, value in fill.timings.items() if np.isfinite(value)}
    extra = {"notes": [*map(str, fill.notes), *notes], "timings": timings}
    return Message({"event": "item", "item": str(fill.seed), "data": {**data, **extra}}, images)


def _check_names(folder: Path) -> None:
    """Raises RealbenchError for a fitted state that is more than plainly named files."""
    for path in folder.iterdir():
        if not path.is_file() or path.is_symlink() or not FILE_NAME.fullmatch(path.name):
            raise RealbenchError(f"the method saved {path.name!r}; expected files only, named in letters, digits, '.', '_' and '-'")


def _checked(image: Any, task: Task) -> Any:
    """The raw fill as uint8. Raises RealbenchError for a wrong size, type or value."""
    image = np.asarray(image)
    expected = task.target.shape
    if image.shape != expected:
        raise RealbenchError(f"the method returned an image of shape {image.shape}, expected {expected} (height, width, RGB)")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise RealbenchError(f"the method returned {image.dtype} values, expected uint8 0–255 or floating 0–1")
    if not np.isfinite(image).all():
        raise RealbenchError(f"the method returned {int((~np.isfinite(image)).sum())} values that are NaN or infinite")
    if image.min() < -0.01 or image.max() > 1.01:
        raise RealbenchError(f"the method returned floating values from {image.min():.3g} to {image.max():.3g}, expected 0–1")
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)


def _plain_score(score: Score) -> dict[str, Any]:
    if score.state == "ok" and (score.value is None or np.isnan(score.value)):
        return {"state": "failed", "value": None, "reason": "the metric returned no number (NaN)", "artefacts": {}}
    if score.state not in WRITTEN:
        raise RealbenchError(f"the metric returned the state {score.state!r}, expected one of {', '.join(WRITTEN)}")
    value = None if score.value is None else float(score.value)
    artefacts = json.loads(json.dumps(dict(score.artefacts), default=_plain))  # numpy values become numbers and lists
    return {"state": score.state, "value": value, "reason": str(score.reason), "artefacts": artefacts}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _failure(item: str, error: Exception, *, event: str = "item", data: Mapping[str, Any] | None = None) -> Message:
    state = "unsupported" if isinstance(error, Unsupported) else "timeout" if isinstance(error, TimedOut) else "failed"
    detail = error.detail if isinstance(error, RealbenchError) else "".join(traceback.format_exception(error))
    extra = {**(data or {}), "weights_missing": isinstance(error, WeightsMissing)}
    words = {"state": state, "reason": _words(error)[:REASON], "detail": detail[-DETAIL:]}
    return Message({"event": event, "item": item, **words, "data": extra})


def _words(error: Exception) -> str:
    """What went wrong, for a reader."""
    if isinstance(error, RealbenchError):
        return str(error)
    kind = "out of memory: " if isinstance(error, MemoryError) or "out of memory" in str(error).lower() else ""
    return f"{kind}{type(error).__name__}: {error}".strip(": ")


def main(kind: type[Session] = Session) -> None:
    """Serve requests from stdin until it closes; what plug-ins print goes to the log."""
    global _progress
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    source = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a method that reads stdin finds its end, not the driver's requests
    session = kind(int(os.environ.get("OMP_NUM_THREADS", "1")))
    sending = threading.Lock()
    last = 0.0

    def reply(message: Message) -> None:
        with sending:  # progress may come from any thread
            send(replies, message)

    def report(done: float, total: float, text: str = "") -> None:
        nonlocal last
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            reply(Message({"event": "progress", "data": {"done": float(done), "total": float(total), "text": str(text)}}))

    _progress = report
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, requests), daemon=True).start()
    with suppress(BrokenPipeError):
        while True:
            for message in session.handle(requests.get()):
                reply(message)
    leave()


def _listen(source: int, requests: queue.SimpleQueue[Message]) -> None:
    """Read requests; when the driver is gone, so is the reason to work, even in the middle of an hour-long fit."""
    stream = os.fdopen(source, "rb")
    while (request := receive(stream)) is not None:
        requests.put(request)
    leave()


if __name__ == "__main__":
    main()
