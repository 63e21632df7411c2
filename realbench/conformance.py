"""Whether a method keeps what a run relies on: checks of its card, and fills that must not depend on what they must not depend on.

`check` returns what was found of one method, each finding in words that its author can act on. It needs no suite: the scenes are made up,
and the method is asked in worker processes, as a run asks it.
"""

from __future__ import annotations

import io
import pickletools
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from realbench import conformance_scenes as scenes
from realbench import registry, weights
from realbench.conformance_asking import SEEDS, Answer, Asker, alike, difference
from realbench.conformance_card import card_faults, heavy_imports, settings_faults
from realbench.errors import Exit, RealbenchError
from realbench.plan import Row, plan_rows, prepare, validate
from realbench.records import Manifest
from realbench.scene import Scene
from realbench.specs import needed, settings_class
from realbench.store import RunFolder
from realbench.weightfiles import PICKLES
from realbench.worker import ALONE

State = Literal["ok", "failed", "not checked"]
LEVELS = 2
SHARE = 0.99
"""Across batch sizes a fill is equal within this many levels (of 255) on this share of the pixels, in float32 on the CPU."""
TIMEOUT = 600.0
"""Seconds that one fit or fill may take, unless said otherwise."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    """The check's name."""
    state: State
    message: str
    """What was found and, where it failed, what to do."""

    @property
    def ok(self) -> bool:
        """Whether it was checked and holds."""
        return self.state == "ok"

    def __str__(self) -> str:
        return f"{self.state}: {self.check}: {self.message}"


@dataclass(frozen=True)
class Conditions:
    """Where and on what a method is checked."""

    scene: Scene
    device: str
    dtype: str
    threads: int
    timeout: float


def check(
    name: str,
    *,
    preset: str | None = None,
    settings: Sequence[str] = (),
    scene: Scene | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int = 1,
    timeout: float = TIMEOUT,
) -> list[Finding]:
    """Check one method, found by its entry point; a dozen small fits and fills.

    Args:
        preset: one of the card's; None means its default.
        settings: `key=value` texts, for example fewer steps.
        scene: what the method is shown, turned, cut and covered; None means a made-up scene of 96 × 64 pixels with two references.
        timeout: seconds that any one fit or fill may take.

    Raises UsageError for an unknown method, preset or setting.
    """
    return list(findings(name, preset, settings, Conditions(scene or scenes.first(), device, dtype, threads, timeout)))


def exit_code(found: Iterable[Finding]) -> Exit:
    """What `realbench methods check` ends with."""
    states = {(one.check, one.state) for one in found}
    if any(state == "failed" for _, state in states):
        return Exit.FAILED_CELLS
    if ("weights", "not checked") in states:
        return Exit.WEIGHTS_MISSING
    return Exit.DONE if ("fill", "ok") in states else Exit.NOTHING_MEASURED


def findings(name: str, preset: str | None, settings: Sequence[str], on: Conditions) -> Iterator[Finding]:
    """The findings of `check`, each as soon as it is there."""
    if name not in registry.names("methods"):
        registry.load("methods", name)  # says which there are
    try:
        heavy = heavy_imports(name)  # in a process of its own first: an import may do anything
        method = registry.load("methods", name)
    except RealbenchError as error:
        yield Finding("import", "failed", str(error))
        return
    said = f"importing the card imports {', '.join(heavy)}, which makes every command slow; import them inside functions"
    yield Finding("import", "failed" if heavy else "ok", said if heavy else "nothing heavy is imported with the card")
    yield from (found := list(_stated(method, name)))
    if not any(one.state == "failed" for one in found):
        (row,) = plan_rows([f"{name}:{preset}" if preset else name], settings)
        if (variant := registry.method(name, row.settings)) is not method:
            yield from (found := list(_stated(variant, name)))
    if any(one.state == "failed" for one in found):
        yield Finding("fill", "not checked", "what is wrong with card or settings comes first")
        return
    prepare([row], _silent)
    with tempfile.TemporaryDirectory(prefix="realbench-", ignore_cleanup_errors=True) as folder:
        yield from _Examination(row, on, Path(folder)).findings()


def _silent(_: str) -> None:
    """What cannot be prepared is said by the first fill."""


def _stated(method: Any, name: str) -> Iterator[Finding]:
    """What card and settings say."""
    yield from _listed("card", card_faults(method), "complete, and the class has what it promises")
    yield from _listed("settings", settings_faults(method, name), "a frozen dataclass with defaults; presets are valid")


def _listed(name: str, faults: Iterable[str], well: str) -> Iterator[Finding]:
    found = list(faults)
    yield from (Finding(name, "failed", fault) for fault in found)
    if not found:
        yield Finding(name, "ok", well)


class _Examination:
    """One method with settings, asked again and again: what must stay the same, does."""

    def __init__(self, row: Row, on: Conditions, folder: Path) -> None:
        self.row, self.on, self.folder = row, on, folder
        self.scene, self.other = on.scene, scenes.turned(on.scene)
        self.asker = Asker(row, folder, on.device, on.dtype, on.threads, on.timeout)

    def findings(self) -> Iterator[Finding]:
        """A run's first fill; the same in the same worker; then in another, and other scenes."""
        try:
            self._lay(seed=10)
            first = self.asker.ask(self.scene)
            yield from self._first(first)
            if first.bad:
                return
            yield from self._seeds(first)
            again = _same("repeat", first, self.asker.ask(self.scene), AGAIN, "a second time the same")
            yield again
            if not again.ok:
                yield Finding("the rest", "not checked", "as long as the same request gives other fills, nothing can be compared")
                return
            yield from self._order(first)
            yield from self._after_close(first)
            yield from self._renewed(first)
            yield from self._elsewhere(first)
            yield from self._variants()
        finally:
            self.asker.stop()

    def _lay(self, seed: int) -> None:
        """A run folder and its suite on disk: a method that looks for the truth finds noise, other noise for another seed."""
        scenes.lay(self.scene, self.folder / "suite", seed)
        (self.folder / "run").mkdir(exist_ok=True)
        RunFolder(self.folder / "run").write_manifest(Manifest(suite="suite", suite_path=str(self.folder / "suite"), feather=0))

    def _first(self, first: Answer) -> Iterator[Finding]:
        """Whether there is a fill at all; if there is none for lack of weights, that this is said well."""
        absent = ", ".join(self._absent())
        if first.weights_missing:
            said = "realbench weights" in first.bad
            words = "this machine lacks them, and the method says so" if said else f"{RESOLVE}; this says how to get them. Said was"
            yield Finding("weights", "not checked" if said else "failed", f"{words}: {first.bad}")
            yield Finding("fill", "not checked", f"needs its weights ({absent}); get them and check again")
        elif first.unsupported:
            yield Finding("fill", "not checked", f"unsupported on this scene ({first.bad}); give another one with --scene")
        elif first.bad and absent and not first.lost:
            yield Finding("weights", "failed", f"{absent}: not on this machine; {RESOLVE}. Said was: {first.bad}")
        elif first.bad:
            yield Finding("fill", "failed", first.bad + _hint(first.bad))
        else:
            alone = [note for notes in first.notes.values() for note in notes if note.startswith(ALONE)]
            words = f"fill fails when it is asked for several seeds at once ({alone[0]})" if alone else ""
            yield from _listed("fill", filter(None, [words]), "one for each seed, of the target's size, uint8 or floating 0–1")
            yield from _listed("notes", first.odd, "plain texts")

    def _absent(self) -> list[str]:
        """Names of the weights that these settings need and this machine has not."""
        method = registry.method(self.row.method, self.row.settings)
        values = validate(settings_class(method), self.row.settings, f"method {self.row.method}")
        return [item.name for item in needed(method, values) if weights.status(item).state != "present"]

    def _seeds(self, first: Answer) -> Iterator[Finding]:
        """Whether the card's word on seeds is true."""
        one, other = (first.image(seed) for seed in SEEDS)
        apart = bool((one != other).any())
        if apart == self.row.card.stochastic:
            yield Finding("seeds", "ok", "different seeds, different fills" if apart else "the same fill for all seeds, as the card says")
        elif apart:
            yield Finding(
                "seeds",
                "failed",
                f"seeds 3 and 1 give different fills ({difference(one, other)}), but the card says stochastic=False: "
                "a run would make one fill for all; set stochastic=True",
            )
        else:
            yield Finding(
                "seeds",
                "failed",
                "seeds 3 and 1 give the same fill, but the card says stochastic=True; "
                "draw every random number from a generator seeded with the seed, or set stochastic=False",
            )

    def _order(self, first: Answer) -> Iterator[Finding]:
        """Seeds asked for in another order, and alone."""
        turned = self.asker.ask(self.scene, SEEDS[::-1], state=first.state)
        yield _same("order", first, turned, ORDER, "seeds in another order, the same fills")
        alone = Answer()
        for seed in SEEDS:
            answer = self.asker.ask(self.scene, (seed,), state=first.state)
            alone.fills |= answer.fills
            alone.bad = alone.bad or answer.bad
        exact = _same("batch", first, alone, BATCH, "a seed alone, the same fill")
        if exact.ok or alone.bad:
            yield exact
        elif all(alike(first.image(seed), alone.image(seed), LEVELS, SHARE) for seed in SEEDS):
            yield Finding("batch", "ok", f"a seed alone is within {LEVELS} levels on {SHARE:.0%} of the pixels")
        elif first.device != "cpu" or self.on.dtype not in ("auto", "float32"):
            yield Finding("batch", "not checked", f"it is asked for in float32 on the CPU only; here: {exact.message}")
        else:
            yield exact

    def _after_close(self, first: Answer) -> Iterator[Finding]:
        """After `close` a method fills as before, or says that it does not."""
        trouble = self.asker.close()
        after = self.asker.ask(self.scene, state=first.state)
        if trouble:
            yield Finding("close", "failed", f"close raised {trouble}; it only gives memory back, and may be called at any time")
        elif after.bad and not after.crude:
            yield Finding("close", "ok", f"a closed method refuses: {after.bad}")
        else:
            yield _same("close", first, after, CLOSED, "usable after close")

    def _renewed(self, first: Answer) -> Iterator[Finding]:
        """Other instances in the same process: alone, from a stored fit, with other bytes below the hole, beside another truth."""
        self.asker.renew()
        fresh = _same("new instance", first, self.asker.ask(self.scene), INSTANCE, "another instance, the same fills")
        yield fresh
        if not fresh.ok:
            return
        if self.row.card.fits:
            yield from _listed("state", _file_faults(first.state or {}), f"{len(first.state or {})} plain files, none that can hold code")
            self.asker.renew()
            yield _same(
                "load", first, self.asker.ask(self.scene, state=first.state), LOADED, "a new instance fills the same from what was saved"
            )
        self.asker.renew()
        yield _same(
            "hole", first, self.asker.ask(self.scene, target=scenes.noise(self.scene, 77)), HOLE, "what stands below the hole plays no part"
        )
        if self.row.card.oracle:
            bare = self.asker.ask(replace(self.scene, truth=None))
            yield Finding("truth", "not checked", "the card says oracle=True: the method is given the truth, and never ranked")
            yield _served("no truth", bare)
        else:
            self._lay(seed=20)
            self.asker.renew()
            yield _same("truth", first, self.asker.ask(self.scene), TRUTH, "the task holds none, and the one on disk plays no part")

    def _elsewhere(self, first: Answer) -> Iterator[Finding]:
        """In another process; and a scene that comes second is filled as if it came first."""
        second = self.asker.ask(self.other)
        back = self.asker.ask(self.scene, state=first.state)
        self.asker.stop()
        alone = self.asker.ask(self.other)
        self.asker.renew()
        there = _same("new process", first, self.asker.ask(self.scene), PROCESS, "another process, the same fills")
        yield there
        served = _served("turned", alone)
        yield served
        if served.ok and there.ok:
            after = _same("next scene", alone, second, NEXT, "nothing is left of the scene before")
            yield after if not after.ok else _same("next scene", first, back, BACK, after.message)

    def _variants(self) -> Iterator[Finding]:
        for word, scene in scenes.variants(self.scene).items():
            yield _served(word, self.asker.ask(scene, SEEDS[:1]))


RESOLVE = "load them by realbench.weights.resolve, which raises WeightsMissing"
AGAIN = "the same request twice gives different fills; make a new generator from the seed for each fill, and keep nothing between fills"
ORDER = "a fill depends on the order in which seeds are asked for; make a new generator from the seed for each fill"
BATCH = (
    f"a seed alone gives another fill than beside others (more than {LEVELS} levels on {1 - SHARE:.0%}); give each seed its own generator"
)
CLOSED = "after close the fills are others; close gives memory back and changes no result"
INSTANCE = "another instance gives other fills; let them depend on settings, scene, fit and seed alone"
LOADED = "a new instance that loads what was saved gives other fills; save all that fill reads, losslessly"
HOLE = (
    "the fill changes with what stands below the hole, or leaves it there; a run blanks it: read the target only where task.mask is False"
)
TRUTH = "the fill changes with the ground truth that lies on disk: the method reads files of the suite; only the task may be read"
PROCESS = "another process gives other fills; use no hash() of texts, no clock, no process id, no unseeded generator"
BACK = "a scene is filled differently when another one came between; load replaces all that the fit of another scene left"
NEXT = "a scene is filled differently after another scene; forget the scene before in fit (or keep nothing between calls)"


def _same(name: str, first: Answer, second: Answer, blame: str, well: str) -> Finding:
    if second.bad:
        return Finding(name, "failed", f"the method filled the scene once, but not here: {second.bad}")
    differing = [seed for seed in first.fills if first.fills[seed] != second.fills.get(seed, first.fills[seed])]
    if not differing:
        return Finding(name, "ok", well)
    seed = differing[0]
    return Finding(name, "failed", f"{blame} (seed {seed}: {difference(first.image(seed), second.image(seed))})")


def _served(name: str, answer: Answer) -> Finding:
    """Whether an unusual scene is filled."""
    if answer.unsupported:
        return Finding(name, "not checked", f"unsupported: {answer.bad}")
    if answer.bad:
        mend = "" if answer.lost else "; raise Unsupported where the method cannot fill such a scene by nature"
        return Finding(name, "failed", f"{answer.bad}{_hint(answer.bad)}{mend}")
    return Finding(name, "ok", "filled")


def _hint(reason: str) -> str:
    if "'truth'" in reason:
        return " (a task holds no truth; only a method whose card says oracle=True is given it)"
    if "read-only" in reason:
        return " (the task's arrays are shared and read-only; write into a copy)"
    return ""


def _file_faults(state: dict[str, bytes]) -> Iterator[str]:
    """Which files of a saved fit could run code when they are read."""
    for name, data in state.items():
        if name.endswith(PICKLES):
            yield f"{name}: files of this ending are pickles, which can run code when they are read; save safetensors, JSON or PNG"
        elif _is_pickle(data):
            yield f"{name} holds a pickle, which can run code when it is read; save safetensors, JSON, PNG or numpy arrays without objects"


def _is_pickle(data: bytes) -> bool:
    """Whether bytes are a pickle, an archive with one inside (torch.save), or numpy arrays of objects."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.endswith(PICKLES) or _is_pickle(archive.read(name)) for name in archive.namelist())
    if data.startswith(b"\x93NUMPY"):
        return b"'|O'" in data[:256]
    try:
        return sum(1 for _ in pickletools.genops(data)) > 1
    except Exception:
        return False
