"""The worker's side: requests in, outcomes out. It sees the images it is sent, never the suite or the run folder."""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realbench import plan, registry
from realbench.composite import Feather, composite
from realbench.errors import RealbenchError, Unsupported, WeightsMissing
from realbench.image import decode_png, encode_png
from realbench.machine import environment, peak_memory, reset_peak_memory, resolve_device
from realbench.method import Context, Fill
from realbench.metric import Batch, Score
from realbench.scene import OracleTask, Scene, Task
from realbench.wire import Array, Message, blob, receive, send

REASON = 2000
DETAIL = 4000
"""Longest reason and traceback kept, in characters."""


@dataclass
class Session:
    """One worker's memory between requests: the loaded method, the loaded metrics, what a scene's metrics prepared."""

    threads: int = 1
    methods: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    prepared: dict[tuple[str, str], Any] = field(default_factory=dict)
    scene: str = ""

    def handle(self, request: Message) -> Iterator[Message]:
        """Replies to one request: outcomes, progress, and `end`."""
        stages = {"fill": self._fill, "score": self._score}
        for reply in stages[request.head["stage"]](request):
            yield _with_weights(reply)
        yield Message({"event": "end"})

    def _fill(self, request: Message) -> Iterator[Message]:
        head = request.head
        seeds = [int(item) for item in head["items"]]
        try:
            method = self._method(head)
            context = _context(head, method.card.torch, self.threads)
        except Exception as error:
            yield from (_failure(str(seed), error) for seed in seeds)
            return
        base = {"environment": environment(context.device, context.dtype, self.threads)}
        task = _task(request)
        if method.card.fits:
            fitted = self._fit(method, task, request, context, base)
            yield fitted
            if fitted.head["state"] != "ok":
                reason = f"fit: {fitted.head['reason']}"
                yield from (Message({**fitted.head, "event": "item", "item": str(seed), "reason": reason}) for seed in seeds)
                return
        yield from self._fills(method, task, seeds, context, base, Feather(head["feather"]))

    def _fit(self, method: Any, task: Task, request: Message, context: Context, base: Mapping[str, Any]) -> Message:
        """Fit, or load the state that was sent; the reply carries the state's files after a fit."""
        start = time.perf_counter()
        reset_peak_memory()
        names = request.head["state"]
        try:
            with tempfile.TemporaryDirectory(prefix="realbench-") as folder:
                if names is not None:
                    for name in names:
                        (Path(folder) / name).write_bytes(request.data(f"state/{name}"))
                    method.load(Path(folder))
                    return Message({"event": "fit", "state": "ok", "data": {"loaded": True}})
                method.fit(task, seed=request.head["fit"], context=context)
                seconds = time.perf_counter() - start
                method.save(Path(folder))
                files = {f"state/{path.name}": blob(path.read_bytes()) for path in sorted(Path(folder).iterdir())}
        except Exception as error:
            return _failure("", error, event="fit", data=base)
        data = {**base, "loaded": False, "seconds": seconds, "peak_memory": peak_memory()}
        return Message({"event": "fit", "state": "ok", "data": data}, files)

    def _fills(
        self, method: Any, task: Task, seeds: list[int], context: Context, base: Mapping[str, Any], feather: Feather
    ) -> Iterator[Message]:
        """One reply a seed. An exception costs the seed it happened at; the method is asked again for the rest."""
        left = list(seeds)
        while left:
            start = time.perf_counter()
            reset_peak_memory()
            try:
                for fill in method.fill(task, tuple(left), context=context):
                    if fill.seed not in left:
                        raise RealbenchError(f"the method returned a fill for seed {fill.seed}, which was not asked for (or twice)")
                    data = {**base, "seconds": time.perf_counter() - start, "peak_memory": peak_memory()}
                    left.remove(fill.seed)
                    yield _filled(fill, task, data, feather)
                    start = time.perf_counter()
                if left:
                    raise RealbenchError("the method ended without a fill for this seed")
            except Exception as error:
                yield _failure(str(left.pop(0)), error, data={**base, "seconds": time.perf_counter() - start}) if left else _end(error)

    def _score(self, request: Message) -> Iterator[Message]:
        head = request.head
        if head["scene"] != self.scene:
            self.prepared.clear()
            self.scene = head["scene"]
        scene = _scene(request)
        batch = _batch(request)
        for key in head["items"]:
            start = time.perf_counter()
            spec = head["metrics"][key]
            try:
                metric = self._metric(spec)
                context = _context(head, metric.card.torch, self.threads)
                base = {"environment": environment(context.device, context.dtype, self.threads)}
                scores = self._scores(metric, key, scene, batch, context)
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
            while self.methods:
                self.methods.popitem()[1].close()
            kind = registry.load("methods", head["method"])
            self.methods[key] = kind(plan.validate(kind.Settings, head["settings"], f"method {head['method']}"))
        return self.methods[key]

    def _metric(self, spec: Mapping[str, Any]) -> Any:
        key = repr(spec)
        if key not in self.metrics:
            kind = registry.load("metrics", spec["metric"])
            self.metrics[key] = kind(plan.validate(kind.Config, spec["config"], f"metric {spec['metric']}"))
        return self.metrics[key]


def _with_weights(reply: Message) -> Message:
    """An outcome with the weights this worker has loaded so far."""
    weights = sys.modules.get("realbench.weights")
    used = weights.used() if weights is not None else {}
    if not used or "data" not in reply.head:
        return reply
    return Message({**reply.head, "data": {**reply.head["data"], "weights": used}}, reply.arrays)


def _context(head: Mapping[str, Any], torch: bool, threads: int) -> Context:
    work = Path(head["work"]) if head.get("work") else Path(tempfile.gettempdir())
    return Context(resolve_device(head["device"], torch), head["dtype"], threads, work, _progress)


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


def _batch(request: Message) -> Batch:
    seeds = tuple(range(request.head["fills"]))
    raw, laid = (tuple(decode_png(request.data(f"{name}/{index}")) for index in seeds) for name in ("raw.png", "fill.png"))
    return Batch(seeds, raw, laid)


def _filled(fill: Fill, task: Task, data: Mapping[str, Any], feather: Feather) -> Message:
    try:
        raw = _checked(fill.image, task)
    except Exception as error:
        return _failure(str(fill.seed), error, data=data)
    # Encoded here, not in the driver, so that workers share the cost; both images are written by the driver as they are.
    laid = composite(raw, task.target, task.mask, feather)
    images: dict[str, Array] = {"raw.png": blob(encode_png(raw)), "fill.png": blob(encode_png(laid))}
    extra = {"notes": [str(note) for note in fill.notes], "timings": {name: float(value) for name, value in fill.timings.items()}}
    return Message({"event": "item", "item": str(fill.seed), "data": {**data, **extra}}, images)


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
    value = None if score.value is None else float(score.value)
    return {"state": score.state, "value": value, "reason": score.reason, "artefacts": dict(score.artefacts)}


def _failure(item: str, error: Exception, *, event: str = "item", data: Mapping[str, Any] | None = None) -> Message:
    state = "unsupported" if isinstance(error, Unsupported) else "failed"
    if isinstance(error, RealbenchError):
        reason, detail = str(error), ""
    else:
        kind = "out of memory: " if isinstance(error, MemoryError) or "out of memory" in str(error).lower() else ""
        reason = f"{kind}{type(error).__name__}: {error}".strip(": ")
        detail = "".join(traceback.format_exception(error))[-DETAIL:]
    extra = {**(data or {}), "weights_missing": isinstance(error, WeightsMissing)}
    return Message({"event": event, "item": item, "state": state, "reason": reason[:REASON], "detail": detail, "data": extra})


def _end(error: Exception) -> Message:
    """An exception after the last fill costs no seed, but is not swallowed: it goes to the worker's log."""
    traceback.print_exception(error)
    return Message({"event": "progress", "data": {}})


def main() -> None:
    """Serve requests from stdin until it closes; what plug-ins print goes to the log."""
    global _progress
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    session = Session(int(os.environ.get("OMP_NUM_THREADS", "1")))
    last = 0.0

    def report(done: float, total: float, text: str = "") -> None:
        nonlocal last
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            send(replies, Message({"event": "progress", "data": {"done": done, "total": total, "text": text}}))

    _progress = report
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    with suppress(BrokenPipeError):
        while True:
            for reply in session.handle(requests.get()):
                send(replies, reply)


def _listen(requests: queue.SimpleQueue[Message]) -> None:
    """Read requests; when the driver is gone, so is the reason to work, even in the middle of an hour-long fit."""
    stream = os.fdopen(os.dup(0), "rb")
    while (request := receive(stream)) is not None:
        requests.put(request)
    os._exit(0)


if __name__ == "__main__":
    main()
