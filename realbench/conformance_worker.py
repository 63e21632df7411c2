"""A worker for conformance checks: it also closes and renews its method when told to, and says what of a fill is not as documented."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from realbench.method import Context, Fill
from realbench.scene import Task
from realbench.wire import Message
from realbench.worker import Session, main

SAID = "said"
"""Stands where a seed would, in a reply that brings words and no fill."""


@dataclass
class Examined(Session):
    """A worker's memory between requests, with two more of them."""

    odd: list[str] = field(default_factory=list)

    def handle(self, request: Message) -> Iterator[Message]:
        """Also `close`: call the method's close and keep it. `renew`: forget it, so that the next request makes another instance."""
        if request.head["stage"] == "close":
            yield _said([words for method in self.methods.values() if (words := _closed(method))])
            yield Message({"event": "end"})
        elif request.head["stage"] == "renew":
            self.methods.clear()
            self.fitted = ""
            yield Message({"event": "end"})
        else:
            self.odd.clear()
            for reply in super().handle(request):
                if reply.head["event"] == "end":
                    yield _said(list(dict.fromkeys(self.odd)))
                yield reply

    def _method(self, head: Mapping[str, Any]) -> Any:
        return _Watched(super()._method(head), self.odd)


class _Watched:
    """A method whose fills are looked at before the harness makes plain data of them."""

    def __init__(self, method: Any, odd: list[str]) -> None:
        self._method, self._odd = method, odd

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def fill(self, task: Task, seeds: Sequence[int], *, context: Context) -> Iterator[Fill]:
        for fill in self._method.fill(task, seeds, context=context):
            self._odd += _oddities(fill)
            yield fill


def _oddities(fill: Any) -> Iterator[str]:
    """What of a fill the harness would turn into something that nobody meant."""
    if not isinstance(fill, Fill):
        yield f"fill yielded a {type(fill).__name__}, expected realbench.method.Fill"
        return
    notes: Any = fill.notes
    if isinstance(notes, str) or (len(notes) > 1 and all(isinstance(note, str) and len(note) == 1 for note in notes)):
        yield "the notes are one text, which would be shown letter by letter; return a tuple of texts"
        return
    yield from (f"a note is of type {type(note).__name__}; return texts" for note in notes if not isinstance(note, str))
    timings: Mapping[Any, Any] = fill.timings
    for name, value in timings.items():
        if not isinstance(name, str) or not isinstance(value, Real):
            yield f"timing {name!r} is of type {type(value).__name__}; return seconds by name"


def _said(words: list[str]) -> Message:
    """A reply that is about no seed."""
    return Message({"event": "item", "item": SAID, "data": {"words": words}})


def _closed(method: Any) -> str:
    try:
        method.close()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    main(Examined)
