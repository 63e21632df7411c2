"""Methods in environments of their own: a folder with a method.toml, a lock and a script that reads and writes files."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from realbench.errors import RealbenchError, Unsupported, UsageError
from realbench.method import BaseMethod, Context, Fill, MethodCard

if TYPE_CHECKING:
    from realbench.child import Child
    from realbench.exchange import Exchange, Result
    from realbench.recipe import Recipe
    from realbench.scene import Task
    from realbench.venvs import Environment, Say

MACHINE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SYSTEMROOT")
"""What of this machine a child must know: which GPUs are this worker's (and where Windows is)."""
MOST_LOGGED = 1_000_000
"""Bytes of a child's log, from its end, that go into the worker's."""
PREFIX = "realbench-"


class IsolatedMethod(BaseMethod):
    """A method whose fit and fill are commands in an environment of its own; a subclass names its `folder`, method.toml says the rest.

    A package registers one by entry point: `class LaMa(IsolatedMethod): folder = Path(__file__).parent / "lama"`. Card and settings are
    read from method.toml, where `id` must be the entry point's name. The folder's content is a part of the row's fingerprint.
    """

    folder: ClassVar[Path]
    recipe: ClassVar[Recipe]

    def __init_subclass__(cls, **words: Any) -> None:
        """Read the recipe. Raises UsageError for one that is not in order."""
        super().__init_subclass__(**words)
        if "folder" in vars(cls):
            from realbench import recipe

            cls.recipe = recipe.read(cls.folder)
            cls.card = cls.recipe.card(cls._id())
            cls.Settings = make_dataclass("Settings", [*cls._own_settings(), *_settings(cls.recipe)], frozen=True)

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._state: tempfile.TemporaryDirectory[str] | None = None
        self._environment: Environment | None = None
        self._failure: RealbenchError | None = None

    @classmethod
    def _id(cls) -> str:
        if not cls.recipe.id:
            raise UsageError(f"{cls.folder}: method.toml has no id; a registered method needs it, equal to its entry point's name")
        return cls.recipe.id

    @classmethod
    def _own_settings(cls) -> list[tuple[str, type, Any]]:
        """Settings beside the recipe's."""
        return []

    @classmethod
    def content(cls, settings: Any) -> Mapping[str, Any]:
        """Hashes of the folder's files and of the further files that method.toml names, for the row's fingerprint."""
        from realbench import recipe

        return recipe.content(cls.folder, cls.recipe)

    @classmethod
    def prepare(cls, settings: Any, say: Say) -> None:
        """Build the environment where it is missing, once for all runs on this machine. Raises RealbenchError."""
        from realbench import locks, venvs

        venvs.ensure(locks.read(cls.folder / cls.recipe.lock), cls.recipe.python, say)

    def fit(self, task: Task, *, seed: int, context: Context) -> None:
        """Run the fit's command; what it leaves in `state` is the fitted state, what it leaves in `checkpoints` survives a crash.

        Raises Unsupported where the script says so, TimedOut past timeout_s, RealbenchError with the end of its log otherwise.
        """
        from realbench.exchange import STATE, Exchange, pack

        if self.recipe.fit is None:
            return
        exchange = Exchange(context.work.absolute() / "isolated", f"the fit of {self.recipe.title}", task)
        exchange.write("fit", seed, self._given(fitting=True), self._files(), context)
        with self._child(exchange, self.recipe.fit, self.recipe.timeout_s, context) as child:
            for seconds in child.wait():
                context.progress(round(seconds), self.recipe.timeout_s or round(seconds) + 1, f"{child.last_line()}; seconds")
            context.log(child.tail())
        _accept(exchange.result(needed=False))
        pack(exchange.folder / STATE, self._fresh(), self.recipe.keep, exchange.name)

    def fill(self, task: Task, seeds: Sequence[int], *, context: Context) -> Iterator[Fill]:
        """Run the fill's command for all seeds; a fill is taken as soon as the result names it, whatever becomes of the others.

        Raises what `fit` raises.
        """
        from realbench.exchange import STATE, Exchange, unpack

        limit = self.recipe.timeout_s and self.recipe.timeout_s * len(seeds)
        with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as place:
            exchange = Exchange(Path(place), f"the fill of {self.recipe.title}", task, tuple(seeds))
            exchange.write("fill", None, self._given(), self._files(), context)
            if self._state is not None:
                unpack(Path(self._state.name), exchange.folder / STATE)
            with self._child(exchange, self.recipe.fill, limit, context) as child:
                try:
                    for _ in child.wait():
                        context.progress(len(seeds) - len(exchange.left), len(seeds), child.last_line())
                        context.log(child.tail())
                        yield from self._early(exchange)
                except RealbenchError:
                    yield from self._early(exchange)
                    raise
                finally:
                    context.log(child.tail())
            result = exchange.result(needed=True)
            _accept(result)
            yield from self._noted(exchange.fills(result))

    def save(self, folder: Path) -> None:
        """The fitted state as files and an index of their names."""
        if self._state is not None:
            shutil.copytree(self._state.name, folder, dirs_exist_ok=True)

    def load(self, folder: Path) -> None:
        """Take a saved state."""
        shutil.copytree(folder, self._fresh(), dirs_exist_ok=True)

    def close(self) -> None:
        """Remove the fitted state's files."""
        if self._state is not None:
            self._state.cleanup()
            self._state = None

    def _fresh(self) -> Path:
        """An empty place for a fitted state; the last one is forgotten."""
        self.close()
        self._state = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        return Path(self._state.name)

    def _given(self, *, fitting: bool = False) -> dict[str, Any]:
        """The recipe's settings as this row has them."""
        hidden = self.recipe.fill_settings if fitting else ()
        return {name: value for name, value in asdict(self.settings).items() if name in self.recipe.settings and name not in hidden}

    def _files(self) -> Mapping[str, Path]:
        from realbench import recipe

        return recipe.files(self.folder, self.recipe)

    def _early(self, exchange: Exchange) -> Iterator[Fill]:
        """Fills of a result that is perhaps half-written; what is wrong with it counts at the end."""
        with suppress(RealbenchError):
            yield from self._noted(exchange.fills(exchange.result(needed=False)))

    def _noted(self, fills: Iterator[Fill]) -> Iterator[Fill]:
        """Fills with what the environment's builder had to say."""
        notes = self._environment.notes if self._environment else ()
        return (replace(one, notes=(*one.notes, *notes)) for one in fills)

    @contextmanager
    def _child(self, exchange: Exchange, command: Sequence[str], seconds: float | None, context: Context) -> Iterator[Child]:
        """The command at work in its folder; at the end it is gone, and what it printed is in this worker's log."""
        from realbench import recipe
        from realbench.child import Child, Limits
        from realbench.exchange import REQUEST

        environment = self._ready(context)
        words = recipe.command(self.folder, command, REQUEST)
        with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as scratch:
            variables = self._variables(environment, exchange.folder, scratch, context)
            words[0] = shutil.which(words[0], path=variables["PATH"]) or words[0]
            limits = Limits(seconds, self.recipe.memory_gb)
            with Child(words, name=exchange.name, folder=exchange.folder, environment=variables, limits=limits) as child:
                try:
                    yield child
                finally:
                    print(f"--- {exchange.name} on {exchange.task.id}:\n{child.tail(MOST_LOGGED)}", file=sys.stderr, flush=True)

    def _ready(self, context: Context) -> Environment:
        """The environment, built first where it is missing; what failed once is not tried again by this process."""
        from realbench import locks, venvs

        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._environment is None:
            try:
                lock = locks.read(self.folder / self.recipe.lock)
                self._environment = venvs.ensure(lock, self.recipe.python, lambda text: context.progress(0, 1, text))
            except RealbenchError as error:
                self._failure = error
                raise
        return self._environment

    def _variables(self, environment: Environment, folder: Path, scratch: str, context: Context) -> dict[str, str]:
        """All that the child's environment holds."""
        from realbench import recipe
        from realbench.process import POOLS

        (folder / "home").mkdir(exist_ok=True)
        own = {
            "PATH": os.pathsep.join([str(environment.programs), os.defpath]),
            "HOME": str(folder / "home"),
            "TMPDIR": scratch,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
            **dict.fromkeys(POOLS, str(context.threads)),
        }
        machine = {name: os.environ[name] for name in MACHINE if name in os.environ}
        return machine | own | recipe.variables(self.recipe)


def _folder_field() -> Any:
    return field(default="", metadata={"path": "content", "help": "folder of the method: method.toml, its lock, its script"})


class Isolated(IsolatedMethod):
    """The method in any folder: `--method isolated=LABEL --set isolated.method=FOLDER`."""

    card = MethodCard(
        id="isolated",
        title="Isolated method",
        summary="Runs the method in a folder (method.toml, lock, script) in an environment of its own; name the row with isolated=LABEL.",
        licence="that of the method",
        fits=True,
        stochastic=True,
    )

    @dataclass(frozen=True)
    class Settings:
        """Which method; its own settings come from its method.toml."""

        method: str = _folder_field()

        def __post_init__(self) -> None:
            """Raises UsageError where no folder is named."""
            _named(self.method)

    @classmethod
    def variant(cls, settings: Mapping[str, Any]) -> type[IsolatedMethod]:
        """The method in the folder that the settings name. Raises UsageError where there is none, or one that is not in order."""
        folder = Path(_named(settings.get("method", ""))).expanduser()
        return type("Isolated", (Isolated,), {"folder": folder, "__module__": __name__, "__doc__": cls.__doc__})

    @classmethod
    def _id(cls) -> str:
        return "isolated"

    @classmethod
    def _own_settings(cls) -> list[tuple[str, type, Any]]:
        return [("method", str, _folder_field())]


def _named(folder: str) -> str:
    if not folder:
        raise UsageError("no method is named; add --set isolated.method=FOLDER (a folder with a method.toml, see docs/methods.md)")
    return folder


def _settings(recipe: Recipe) -> Iterator[tuple[str, type, Any]]:
    """The recipe's settings as fields of a dataclass."""
    for name, default in recipe.settings.items():
        metadata = {"stage": "fill"} if name in recipe.fill_settings else {}
        yield name, type(default), field(default=default, metadata=metadata)


def _accept(result: Result) -> None:
    """Raises Unsupported where a result says that the scene cannot be done."""
    if result.unsupported is not None:
        raise Unsupported(result.unsupported or "the method gives no reason")
