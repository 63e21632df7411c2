"""What `matches` can be told: one flat configuration, of which each backend reads the fields that mean something to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from realbench.errors import UsageError

from ._matching_weights import COARSE_SHA256

GEOMETRIES = ("fundamental-magsac", "none")
COMBINERS = ("sum", "max", "mean")
COUNTS = ("matches", "confidence")
VOTERS = ("image", "hole")
FITS = ("stretch", "letterbox")

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sift": {"features": 4096, "ratio": 0.8, "size": 1024, "epipolar": 1.5},
    "xfeat": {"features": 4096, "detection": 0.05, "confidence": 0.82, "size": 1024, "epipolar": 1.5},
    "aliked-lightglue": {"features": 2048, "detection": 0.2, "confidence": 0.1, "size": 1024, "epipolar": 1.5},
    "loftr": {"weights": "outdoor", "sha256": "", "confidence": 0.2, "size": 840, "epipolar": 1.5},
    "loftr-coarse": {"weights": "teacher", "confidence": 0.2, "fit": "stretch", "epipolar": 8.0},
}
"""The fields a backend has beside those that all have, and their values where none is given."""

RESIZED: Mapping[str, Mapping[str, str]] = {
    "sift": {"resize": "area"},
    "xfeat": {"resize": "area/32"},
    "aliked-lightglue": {"resize": "area"},
    "loftr": {"resize": "area/8"},
    "loftr-coarse": {"size": "640x480", "resize": "area+linear"},
}
"""How images are brought to size, as it stands in the signature: filter / multiple that sides are cut to."""


@dataclass(frozen=True)
class Config:
    """Everything the count depends on beside the images; the paper states none of it. A field left out takes its backend's default."""

    backend: str = "sift"
    """`sift`, `xfeat`, `aliked-lightglue`, `loftr` or `loftr-coarse`."""
    weights: str | None = None
    """loftr, loftr-coarse: a file, or a folder with one, in place of the published weights; its content enters the signature."""
    sha256: str | None = None
    """loftr: the SHA-256 that a pickle (.ckpt) named in `weights` must have; not asked for safetensors."""
    features: int | None = None
    """sift, xfeat, aliked-lightglue: most key points an image."""
    detection: float | None = None
    """xfeat, aliked-lightglue: a key point's least value in the detector's map."""
    ratio: float | None = None
    """sift: a pair counts when its distance is below this share of the distance to the second nearest."""
    confidence: float | None = None
    """All but sift: a pair counts when its confidence is above this; xfeat: cosine similarity, 0 takes all; the others: a probability."""
    size: int | None = None
    """All but loftr-coarse: images with a longer side above this are scaled down to it, in pixels."""
    fit: str | None = None
    """loftr-coarse: how an image becomes 640 × 480: `stretch`, or `letterbox` (in proportion, the rest black)."""
    geometry: str = "fundamental-magsac"
    """How pairs are verified: `fundamental-magsac` or `none`."""
    epipolar: float | None = None
    """With a geometry: largest distance from the epipolar line, in pixels of the resized images."""
    vote: str | None = None
    """With a geometry: the pairs that choose it, those of the whole `image` (default) or those that end in the `hole`."""
    inset: float = 0.0
    """A match must end in the hole and farther than this from the known region, in pixels of the target."""
    count: str = "matches"
    """What is added up: `matches` (one each) or their `confidence`."""
    combine: str = "sum"
    """How the references' counts become one: `sum`, `max` or `mean`."""

    def __post_init__(self) -> None:
        _check_words(self)
        values = {**DEFAULTS[self.backend], "vote": "image"}
        if self.geometry == "none":
            values = {name: value for name, value in values.items() if name not in ("epipolar", "vote")}
        for name in OPTIONAL:
            if getattr(self, name) is None:
                object.__setattr__(self, name, values.get(name))
            elif name not in values:
                known = ", ".join([*values, "geometry", "inset", "count", "combine"])
                raise UsageError(f"matches: {self.backend} with geometry {self.geometry} has no {name}; it has {known}")
        _check_numbers(self)

    def signed(self) -> dict[str, Any]:
        """What the signature says: the fields that apply, how images are resized, and weights by content, never by place."""
        found: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if value is not None and name != "sha256":
                found[name] = self._identity() if name == "weights" else value
            if name == "size":
                found |= RESIZED[self.backend]
        return found

    @property
    def own_weights(self) -> bool:
        """Whether `weights` names a file or folder instead of the published ones."""
        return self.weights not in (None, DEFAULTS[self.backend].get("weights"))

    def _identity(self) -> str:
        """The published weights by name, also where a file that is given is just those; any other by content."""
        if not self.own_weights:
            return str(self.weights)
        from realbench import fingerprint

        path = Path(str(self.weights)).expanduser()
        if not path.exists():
            raise UsageError(f"matches: weights {self.weights!r}: expected a file or a folder there, found none")
        digest = fingerprint.of_path(path)
        return "teacher" if digest == COARSE_SHA256 else f"content {digest[:12]}"


OPTIONAL = ("weights", "sha256", "features", "detection", "ratio", "confidence", "size", "fit", "epipolar", "vote")


def _check_words(config: Config) -> None:
    choices = (
        ("backend", tuple(DEFAULTS)),
        ("geometry", GEOMETRIES),
        ("combine", COMBINERS),
        ("count", COUNTS),
        ("vote", (None, *VOTERS)),
        ("fit", (None, *FITS)),
    )
    for name, known in choices:
        if getattr(config, name) not in known:
            listed = ", ".join(sorted(filter(None, known)))
            raise UsageError(f"matches: no {name} {getattr(config, name)!r}; the known ones are {listed}")
    if config.count == "confidence" and config.backend == "sift":
        raise UsageError("matches: sift has no confidence; count=confidence needs another backend")


def _check_numbers(config: Config) -> None:
    """Raises UsageError for a value that can't be meant; NaN fails every comparison."""
    faults = [f"{name} must be positive" for name in ("features", "size", "epipolar") if not _is(config, name, lambda value: value > 0)]
    faults += [f"{name} must lie in 0–1" for name in ("detection", "confidence") if not _is(config, name, lambda value: 0 <= value < 1)]
    faults += ["ratio must lie in 0–1"] if not _is(config, "ratio", lambda value: 0 < value <= 1) else []
    faults += ["inset must not be negative"] if not _is(config, "inset", lambda value: 0 <= value < float("inf")) else []
    if faults:
        raise UsageError(f"matches: {faults[0]}, found {getattr(config, faults[0].split()[0])}")


def _is(config: Config, name: str, right: Any) -> bool:
    value = getattr(config, name)
    return value is None or bool(right(value))
