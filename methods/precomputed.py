"""Fills made elsewhere, read from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from realbench.errors import RealbenchError, UsageError
from realbench.method import BaseMethod, Context, MethodCard

if TYPE_CHECKING:
    from realbench.image import UInt8Image
    from realbench.scene import Task

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class PrecomputedSettings:
    """Where the fills lie."""

    fills: str = field(default="", metadata={"path": True, "help": "folder of fills: <folder>/<scene>/<seed>.png"})
    """Folder of fills: `<folder>/<scene>/<seed>.png`, each of its target's size. PNG only, because JPEG would change the scores."""

    def __post_init__(self) -> None:
        """Raises UsageError where no folder is named."""
        if not self.fills:
            raise UsageError("no folder of fills is named; add --set precomputed.fills=FOLDER (fills in FOLDER/<scene>/<seed>.png)")


class Precomputed(BaseMethod):
    """Scores a folder of fills made elsewhere, composited like any other method's."""

    card = MethodCard(
        id="precomputed",
        title="Precomputed fills",
        summary="Reads fills made elsewhere from <fills>/<scene>/<seed>.png (PNG only); name the row with precomputed=LABEL.",
        licence="that of whatever made the fills",
        stochastic=True,
    )
    Settings = PrecomputedSettings

    def complete(self, task: Task, seed: int, context: Context) -> tuple[UInt8Image, Sequence[str]]:
        """The fill as it lies in the folder.

        Raises UsageError for a folder or scene id that cannot be used, and RealbenchError where there is no file for this scene and
        seed or one that is no PNG of the target's size.
        """
        from realbench.image import read_rgb

        path = locate(self.settings.fills, task.id, seed)
        image, warnings = read_rgb(path)
        _require_png(path)
        height, width = image.shape[:2]
        if (width, height) != task.size:
            expected = "×".join(map(str, task.size))
            raise RealbenchError(f"{path}: expected a fill of the target's size, {expected}, found {width}×{height}; export it unscaled")
        return image, [f"{path.name} {warning}" for warning in warnings]


def locate(fills: str, scene: str, seed: int) -> Path:
    """The existing file of one fill, below the folder of fills even after following links.

    Raises UsageError or RealbenchError, as `Precomputed.complete` does.
    """
    root = Path(fills).expanduser()
    if not root.is_dir():
        raise UsageError(f"{root}: expected a folder of fills, found none; check --set precomputed.fills=FOLDER")
    if scene in ("", ".", "..") or any(character in scene for character in "/\\:\0"):
        raise UsageError(f"scene {scene!r}: its id is no plain folder name, so its fills are not read; rename the scene")
    path = root / scene / f"{seed}.png"
    if not path.is_file():
        raise RealbenchError(f"{path}: no such file; put this scene's fill for seed {seed} there, as PNG (no other format is read)")
    if not path.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path}: leads outside the folder of fills, so it is not read; copy the file to its place")
    return path


def _require_png(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(len(PNG_SIGNATURE))
    if start != PNG_SIGNATURE:
        raise RealbenchError(f"{path}: expected PNG data, found something else; export it as PNG (a lossy format changes the scores)")
