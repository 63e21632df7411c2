"""Each check of the conformance kit fails on a method that was planted to fail it, and on no check before."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from realbench import conformance
from realbench.conformance import Finding, _file_faults, exit_code
from realbench.conformance_asking import difference
from realbench.conformance_card import card_faults, settings_faults
from realbench.conformance_scenes import PROMPT, first, lay, noise, turned, variants
from realbench.errors import UsageError
from realbench.method import BaseMethod, MethodCard, Published
from realbench.suite import _CONTROL, open_suite
from tests.conftest import Plugins

HEAD = """
import itertools, json, os, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from realbench.errors import RealbenchError, Unsupported, WeightsMissing
from realbench.method import BaseMethod, Fill, MethodCard, Weights

def painted(task, value):
    image = task.target.copy()
    image[task.mask] = value
    return image

def mean(task):
    return task.target[~task.mask].mean(axis=0)

class Sound(BaseMethod):
    def complete(self, task, seed, context):
        return painted(task, mean(task)), ("a note",)

made = itertools.count()
"""


class Bad(NamedTuple):
    """A class body after `class Plugin(Sound)`, and the finding it leads to."""

    body: str
    check: str
    says: str
    card: str = ""
    state: str = "failed"
    timeout: float = 120


COMPLETE = "    def complete(self, task, seed, context):\n        "
FILL = "    def fill(self, task, seeds, *, context):\n        "
FITTING = "    def fit(self, task, *, seed, context): pass\n    def load(self, folder): pass\n"
NEEDY = "weights=(Weights('mine', 'nobody/mine'),)"
PLANTED = {
    "raises": Bad(COMPLETE + "return {}['x'], ()", "fill", r"KeyError: 'x' \(planted\.py:\d+\)"),
    "wrong size": Bad(COMPLETE + "return task.target[:-1], ()", "fill", r"shape \(63, 96, 3\), expected \(64, 96, 3\)"),
    "wrong type": Bad(COMPLETE + "return task.target.astype(int), ()", "fill", "int64 values, expected uint8"),
    "wrong range": Bad(COMPLETE + "return task.target * 1.0, ()", "fill", "floating values from .* expected 0–1"),
    "not a number": Bad(COMPLETE + "return np.full(task.target.shape, np.nan), ()", "fill", "NaN"),
    "a seed left out": Bad(FILL + "yield Fill(seeds[0], task.target)", "fill", "ended without a fill for this seed"),
    "seeds one by one": Bad(
        FILL + "if len(seeds) > 1: raise ValueError('one, please')\n        yield Fill(seeds[0], painted(task, 0))",
        "fill", "fails when it is asked for several seeds at once .*one, please",
    ),
    "writes into the task": Bad(COMPLETE + "task.target[:] = 0; return task.target, ()", "fill", "write into a copy"),
    "asks for the truth": Bad(COMPLETE + "return task.truth, ()", "fill", "a task holds no truth"),
    "dies": Bad(COMPLETE + "os._exit(7)", "fill", r"ended by itself \(exit code 7\)"),
    "hangs": Bad(COMPLETE + "time.sleep(600)", "fill", "took longer than 5 s", timeout=5),
    "an unsupported scene": Bad(COMPLETE + "raise Unsupported('it rains')", "fill", "it rains.*--scene", state="not checked"),
    "nested state": Bad(
        FITTING + "    def save(self, folder): (folder / 'deep').mkdir()",
        "fill", "saved 'deep'; expected files only", "fits=True",
    ),
    "a text for notes": Bad(COMPLETE + "return painted(task, 0), 'all well'", "notes", "letter by letter"),
    "a number for a note": Bad(COMPLETE + "return painted(task, 0), (3,)", "notes", "a note is of type int"),
    "says stochastic": Bad("", "seeds", "set stochastic=False", "stochastic=True"),
    "says nothing of seeds": Bad(COMPLETE + "return painted(task, seed), ()", "seeds", "set stochastic=True"),
    "one generator for all": Bad(
        "    rng = np.random.default_rng(0)\n" + COMPLETE + "return painted(task, self.rng.integers(0, 256, 3)), ()",
        "repeat", "make a new generator", "stochastic=True",
    ),
    "the first seed leads": Bad(
        FILL + "for seed in seeds: yield Fill(seed, painted(task, 9 * seeds[0] + seed))", "order", "the order", "stochastic=True"
    ),
    "company counts": Bad(FILL + "for seed in seeds: yield Fill(seed, painted(task, 9 * len(seeds)))", "batch", "own generator"),
    "company counts a little": Bad(
        FILL + "for seed in seeds: yield Fill(seed, painted(task, 9 + len(seeds)))", "batch", "within 2 levels on 99%", state="ok"
    ),
    "company counts at few pixels": Bad(
        FILL + "for seed in seeds:\n            image = painted(task, 9); image[0, :50] = len(seeds) * 20; yield Fill(seed, image)",
        "batch", "within 2 levels on 99%", state="ok",
    ),
    "broken by close": Bad(
        "    where = 0\n    def close(self): self.where = None\n" + COMPLETE + "return painted(task, self.where + 1), ()",
        "close", "TypeError",
    ),
    "other after close": Bad(
        "    where = 0\n    def close(self): self.where = 9\n" + COMPLETE + "return painted(task, self.where), ()",
        "close", "changes no result",
    ),
    "close fails": Bad("    def close(self): raise ValueError('stuck')", "close", "close raised ValueError: stuck"),
    "refuses after close": Bad(
        "    shut = False\n    def close(self): self.shut = True\n" + COMPLETE
        + "if self.shut: raise RealbenchError('closed: make another')\n        return painted(task, 0), ()",
        "close", "refuses: closed: make another", state="ok",
    ),
    "another each time": Bad(
        "    def __init__(self, settings=None): super().__init__(settings); self.number = next(made)\n" + COMPLETE
        + "return painted(task, self.number), ()",
        "new instance", "settings, scene, fit and seed alone",
    ),
    "saves a pickle": Bad(
        FITTING + "    def save(self, folder): __import__('pickle').dump({1: 2}, (folder / 'a.bin').open('wb'))",
        "state", "a.bin: files of this ending are pickles", "fits=True",
    ),
    "saves nothing": Bad(
        "    colour = 0\n    def fit(self, task, *, seed, context): self.colour = mean(task)\n    def save(self, folder): pass\n"
        "    def load(self, folder): pass\n" + COMPLETE + "return painted(task, self.colour), ()",
        "load", "save all that fill reads", "fits=True",
    ),
    "looks below the hole": Bad(COMPLETE + "return painted(task, task.target.mean()), ()", "hole", "task.mask is False"),
    "fills nothing": Bad(COMPLETE + "return task.target, ()", "hole", "or leaves it there"),
    "a thief": Bad(
        "    def fit(self, task, *, seed, context):\n"
        "        from PIL import Image\n"
        "        suite = Path(json.loads((context.work.parents[3] / 'run.json').read_text())['suite_path'])\n"
        "        where = suite / task.id / 'target' / 'gt.png'\n"
        "        self.image = np.asarray(Image.open(where)) if where.exists() else task.target\n"
        "    def save(self, folder): np.save(folder / 'image.npy', self.image)\n"
        "    def load(self, folder): self.image = np.load(folder / 'image.npy')\n" + COMPLETE + "return self.image, ()",
        "truth", "reads files of the suite", "fits=True",
    ),
    "another in each process": Bad(COMPLETE + "return painted(task, os.getpid() % 251), ()", "new process", "no process id"),
    "remembers": Bad(
        "    colour = None\n" + COMPLETE
        + "self.colour = mean(task) if self.colour is None else self.colour\n        return painted(task, self.colour), ()",
        "next scene", "forget the scene before",
    ),
    "keeps the other fit": Bad(
        "    colour = None\n    def fit(self, task, *, seed, context): self.colour = mean(task)\n"
        "    def save(self, folder): np.save(folder / 'c.npy', self.colour)\n"
        "    def load(self, folder): self.colour = np.load(folder / 'c.npy') if self.colour is None else self.colour\n"
        + COMPLETE + "return painted(task, self.colour), ()",
        "next scene", "load replaces all", "fits=True",
    ),
    "portraits": Bad(COMPLETE + "assert task.size[0] >= task.size[1]; return painted(task, 0), ()", "turned", "AssertionError"),
    "odd sides": Bad(COMPLETE + "assert task.size[0] % 2 == 0, 'odd'; return painted(task, 0), ()", "odd sides", "odd"),
    "large holes": Bad(COMPLETE + "assert task.mask.mean() < 0.7, 'large'; return painted(task, 0), ()", "all but a border", "large"),
    "small holes": Bad(COMPLETE + "assert task.mask.sum() > 1, 'small'; return painted(task, 0), ()", "a hole of one pixel", "small"),
    "one reference": Bad(COMPLETE + "return painted(task, task.references[1][0, 0, 0]), ()", "one reference", "raise Unsupported where"),
    "one reference, said": Bad(
        COMPLETE + "if len(task.references) < 2: raise Unsupported('two, please')\n        return painted(task, 0), ()",
        "one reference", "unsupported: two, please", state="not checked",
    ),
    "prompts": Bad(COMPLETE + "(task.prompt or '') % (); return painted(task, 0), ()", "a hostile prompt", "TypeError: not enough"),
    "weights of its own": Bad(
        COMPLETE + "open('/none/such')", "weights", "load them by realbench.weights.resolve.*FileNotFoundError", NEEDY
    ),
    "weights, badly said": Bad(
        COMPLETE + "raise WeightsMissing('no weights')", "weights", "this says how to get them", NEEDY
    ),
    "weights, well said": Bad(
        COMPLETE + "from realbench.weights import resolve; resolve(self.card.weights[0])",
        "weights", "realbench weights pull mine", NEEDY, "not checked",
    ),
}  # fmt: skip


def findings(name: str, timeout: float = 120) -> Any:
    return conformance.findings(name, None, (), conformance.Conditions(first(), "cpu", "auto", 1, timeout))


@pytest.mark.parametrize("which", PLANTED)
def test_a_planted_fault_is_found(which: str, plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    bad = PLANTED[which]
    card = f"    card = MethodCard('planted', 'Planted', 'Fills.', licence='MIT', {bad.card})\n"
    plugins("methods", {"planted": "Plugin"}, f"{HEAD}\nclass Plugin(Sound):\n{card}{bad.body}\n")
    before = []
    for one in findings("planted", bad.timeout):
        if one.check == bad.check:
            break
        before.append(one)
    assert (one.check, one.state) == (bad.check, bad.state), "\n".join(map(str, [*before, one]))
    assert re.search(bad.says, one.message), one.message
    assert {finding.state for finding in before} == {"ok"}, before


def test_a_sound_method_passes_all_checks(plugins: Plugins) -> None:
    body = """
class Plugin(Sound):
    card = MethodCard('planted', 'Planted', 'Fills.', licence='MIT', fits=True, stochastic=True)
    def fit(self, task, *, seed, context):
        (context.work / "checkpoint").write_text("x")
        self.colour = mean(task)
    def save(self, folder): np.save(folder / "colour.npy", self.colour)
    def load(self, folder): self.colour = np.load(folder / "colour.npy")
    def complete(self, task, seed, context):
        return painted(task, self.colour + np.random.default_rng(seed).integers(0, 20, 3)), ()
"""
    plugins("methods", {"planted": "Plugin"}, HEAD + body)
    found = conformance.check("planted", timeout=120)
    assert {one.state for one in found} == {"ok"}, found
    names = [one.check for one in found]
    assert names == list(dict.fromkeys(names)) and len(names) == 23
    page = (Path(__file__).resolve().parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert [name for name in [*names, "weights", "truth"] if f"`{name}`" not in page] == []
    assert exit_code(found) == 0


def test_what_fails_again_and_again_ends_the_check(plugins: Plugins) -> None:
    body = "class Plugin(Sound):\n    card = MethodCard('planted', 'Planted', 'Fills.', licence='MIT')\n" + COMPLETE
    plugins("methods", {"planted": "Plugin"}, f"{HEAD}\n{body}return painted(task, next(made) // 2), ()\n")
    *_, repeat, rest = findings("planted")
    assert (repeat.check, repeat.state) == ("repeat", "failed")
    assert (rest.check, rest.state) == ("the rest", "not checked")
    assert exit_code([repeat, rest]) == 3


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import cv2", "imports cv2.*inside functions"),
        ("import no_such_module", "cannot be imported .*no_such_module"),
        ("raise SystemExit(4)", "ends Python with the exit code 4"),
        ("import time; time.sleep(60)", "takes more than 5 s"),
    ],
)
def test_imports_are_looked_at_in_a_process_of_their_own(source: str, says: str, plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    if "sleep" in source:
        monkeypatch.setattr("realbench.conformance_card.LONGEST", 5.0)
    body = "class Plugin(Sound):\n    card = MethodCard('planted', 'Planted', 'Fills.', licence='MIT')\n"
    plugins("methods", {"planted": "Plugin"}, f"{source}\n{HEAD}\n{body}", module="heavy")
    one = next(findings("planted"))
    assert (one.check, one.state) == ("import", "failed")
    assert re.search(says, one.message), one.message


def test_a_faulty_card_ends_the_check(plugins: Plugins) -> None:
    body = "class Plugin(Sound):\n    card = MethodCard('planted', '', 'Fills', licence='MIT')\n"
    plugins("methods", {"planted": "Plugin"}, HEAD + body)
    found = list(findings("planted"))
    assert [(one.check, one.state) for one in found] == [
        ("import", "ok"), ("card", "failed"), ("card", "failed"), ("settings", "ok"), ("fill", "not checked")
    ]  # fmt: skip


def test_what_is_asked_for_must_exist() -> None:
    for asked, says in (({"name": "telae"}, "did you mean telea"), ({"name": "telea", "preset": "x"}, "no preset 'x'")):
        with pytest.raises(UsageError, match=says):
            conformance.check(**asked)
    with pytest.raises(UsageError, match="no method of this run has it"):
        conformance.check("telea", settings=["colour=red"])


SOUND = {"id": "x", "title": "X", "summary": "It fills.", "licence": "MIT"}


def plugin(card: Mapping[str, Any] | None = None, base: type = BaseMethod, **members: Any) -> Any:
    return type("Plugin", (base,), {"card": MethodCard(**{**SOUND, **(card or {})}), "complete": lambda self: None, **members})


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (plugin({"title": " "}), "title is ' '; write one line"),
        (plugin({"licence": ""}), "licence is ''"),
        (plugin({"summary": "It fills.\nWell."}), "write one line"),
        (plugin({"summary": "It fills"}), "end it with a full stop"),
        (plugin({"paper": None}), "paper is None"),
        (plugin({"stochastic": 1}), "stochastic is 1; write True or False"),
        (plugin({"needs": "gpu"}), "needs is 'gpu'; write a tuple of str"),
        (plugin({"weights": ("sd2",)}), "write a tuple of Weights"),
        (plugin({"published": (Published("psnr", float("nan"), "Table 1"),)}), "published psnr is nan"),
        (plugin({"presets": ["fast"]}), "presets is a list"),
        (plugin({"default_preset": "fast"}), r"default_preset is 'fast', which is none of the presets \(there are none\)"),
        (plugin({"presets": {"a": {}}, "paper_preset": "b"}), r"paper_preset is 'b', which is none of the presets \(a\)"),
        (plugin({"fits": True}), "fits=True, but fit, save, load is not implemented"),
        (plugin(fit=lambda self: None), "set fits=True"),
        (plugin(complete=BaseMethod.complete), "neither complete nor fill"),
        (plugin(base=object), "the class has no method fit; derive it"),
        (type("Plugin", (BaseMethod,), {"card": dict(SOUND)}), "card is a dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_of_cards(method: Any, says: str) -> None:
    found = list(card_faults(method))
    assert re.search(says, found[0]), found
    assert len(found) == (1 if "no method" not in says else 5)


def test_a_sound_card_and_the_bare_protocol_have_no_faults() -> None:
    steps = dict.fromkeys(("fit", "fill", "save", "load", "close"), lambda self: None)
    for method in (plugin(), plugin(base=object, **steps), plugin({"fits": True}, **dict.fromkeys(("fit", "save", "load"), print))):
        assert list(card_faults(method)) == []


@dataclass
class Thawed:
    steps: int = 3


@dataclass(frozen=True)
class Lacking:
    steps: int


@dataclass(frozen=True)
class Set:
    names: set = field(default_factory=lambda: {"a"})  # type: ignore[type-arg]


@dataclass(frozen=True)
class Numbers:
    rate: float = float("nan")


@dataclass(frozen=True)
class Refusing:
    steps: int = 0

    def __post_init__(self) -> None:
        if not self.steps:
            raise UsageError("no steps")


@dataclass(frozen=True)
class Asking:
    fills: str = ""

    def __post_init__(self) -> None:
        if not self.fills:
            raise UsageError("no folder; add --set x.fills=FOLDER")


@dataclass(frozen=True)
class Good:
    steps: int = 3
    where: Path = Path("x")
    scales: tuple[float, ...] = (1.0, 0.5)


@pytest.mark.parametrize(
    ("kind", "presets", "says"),
    [
        (Good, {"fast": {"steps": 1}}, None),
        (Asking, {}, None),
        (int, {}, "no dataclass"),
        (Thawed, {}, "not frozen"),
        (Lacking, {}, "without a default: steps"),
        (Set, {}, "the defaults: "),
        (Numbers, {}, "rate is another value after it was written as JSON"),
        (Refusing, {"some": {"steps": 1}}, "the defaults: method x: no steps"),
        (Good, {"fast": {"steps": "few"}}, "preset fast: method x, setting steps"),
        (Good, {"fast": {"stepz": 1}}, "preset fast: stepz is no setting; known: steps, where, scales"),
    ],
)
def test_faults_of_settings(kind: type, presets: dict[str, Any], says: str | None) -> None:
    found = list(settings_faults(plugin({"presets": presets}, Settings=kind), "x"))
    assert found == [] if says is None else re.search(says, found[0]), found


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def numpy_file(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "bad"),
    [
        ("a.pt", b"", True),
        ("a.pkl", b"", True),
        ("weights", pickle.dumps({"a": 1}, 4), True),
        ("weights", pickle.dumps({"a": 1}, 0), True),
        ("weights", archive(**{"model/data": pickle.dumps([1])}), True),
        ("weights", archive(**{"model/data.pkl": b""}), True),
        ("a.npy", numpy_file(np.array([None])), True),
        ("a.npy", numpy_file(np.arange(4)), False),
        ("a.npz", archive(**{"x.npy": numpy_file(np.arange(4))}), False),
        ("a.json", b'{"notes": []}', False),
        ("a.txt", b".", False),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0{}", False),
        ("empty", b"", False),
    ],
)
def test_files_that_could_run_code(name: str, data: bytes, bad: bool) -> None:
    assert bool(list(_file_faults({name: data}))) == bad


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({"fill": "ok", "hole": "failed"}, 3),
        ({"weights": "not checked", "fill": "not checked"}, 6),
        ({"weights": "failed", "fill": "not checked"}, 3),
        ({"card": "ok", "fill": "not checked"}, 5),
        ({"fill": "ok", "one reference": "not checked"}, 0),
    ],
)
def test_exit_codes(states: dict[str, Any], code: int) -> None:
    assert exit_code(Finding(check, state, "") for check, state in states.items()) == code


def test_the_scenes_are_what_they_are_called(tmp_path: Path) -> None:
    scene = first()
    made = variants(scene)
    ids = {scene.id, turned(scene).id, *(other.id for other in made.values())}
    assert len(ids) == len(made) + 2
    assert scene.size == (96, 64) and turned(scene).size == (64, 96) and turned(scene).hole_kind == "outpainting"
    assert made["odd sides"].size == (95, 63) and made["odd sides"].mask.any()
    assert made["a hole of one pixel"].mask.sum() == 1 and len(made["one reference"].references) == 1
    known = ~made["all but a border"].mask
    assert known[0].all() and known[:, 0].all() and known[-1].all() and known[:, -1].all() and known.mean() < 0.25
    assert not _CONTROL.search(PROMPT) and made["a hostile prompt"].prompt == PROMPT
    assert (noise(scene, 1) != noise(scene, 2))[scene.mask].mean() > 0.9
    assert (noise(scene, 1) == scene.target)[~scene.mask].all()
    for seed in (1, 5):
        lay(scene, tmp_path, seed)
        loaded = open_suite(tmp_path).load(scene.id)
        assert loaded.truth is not None and (loaded.truth == noise(scene, seed + 1)).all() and loaded.task().id == scene.id
        assert all((one == other).all() for one, other in zip(loaded.references, scene.references, strict=True))


def test_square_scenes_become_non_square_and_lost_holes_come_back() -> None:
    from dataclasses import replace

    whole = first()
    corner = np.zeros((64, 64), bool)
    corner[-1, -1] = True
    square = replace(whole, target=whole.target[:, :64].copy(), truth=None, mask=corner)
    odd = variants(square)["odd sides"]
    assert odd.size == (61, 63) and odd.mask.sum() == 1


def test_differences_are_said_in_numbers() -> None:
    one = np.zeros((2, 2, 3), np.uint8)
    other = one.copy()
    other[0, 0, 1] = 7
    assert difference(one, other) == "up to 7 of 255 levels apart, 25.0% of the pixels differ"
    assert [item.name for item in fields(Finding)] == ["check", "state", "message"]
    assert str(Finding("hole", "failed", "x")) == "failed: hole: x" and not Finding("hole", "not checked", "").ok
