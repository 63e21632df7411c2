"""Matches: how much of the hole's content corresponds to the references; needs no truth, so it can select seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from realbench.errors import Unsupported
from realbench.method import Weights
from realbench.metric import BaseMetric, Batch, Context, MetricCard, Score, _plain

from ._matches_config import Config as Config
from ._matching_weights import LOFTR
from ._packaged import ALIKED, ALIKED_LIGHTGLUE, XFEAT

if TYPE_CHECKING:
    from realbench.composite import Feather
    from realbench.scene import Scene

    from ._counting import Prepared
    from ._matching import Backend

WEIGHTS: Mapping[str, tuple[Weights, ...]] = {"xfeat": (XFEAT,), "aliked-lightglue": (ALIKED, ALIKED_LIGHTGLUE), "loftr": (LOFTR,)}
"""By backend; one that is not named here needs none from the hub or the index."""


class Matches(BaseMetric):
    """Number of verified point matches between references and composite whose composite end lies in the hole."""

    card = MetricCard(
        id="matches",
        title="Matches",
        summary="Point matches with the references that agree on one epipolar geometry and end in the hole; needs no truth.",
        direction="higher",
        region="hole",
        image="composite",
        reads=("references",),
        unit="matches",
        digits=0,
        weights=tuple(one for group in WEIGHTS.values() for one in group),
        paper="RealFill, arXiv 2309.16668, seed selection; SIFT: Lowe 2004; MAGSAC++: arXiv 1912.05909; LoFTR: arXiv 2104.00680; "
        "XFeat: arXiv 2404.19174; ALIKED: arXiv 2304.03608; LightGlue: arXiv 2306.13643; coarse LoFTR: arXiv 2202.00770",
    )
    Config: ClassVar[type] = Config

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._backend: Backend | None = None
        self.card = replace(type(self).card, torch=self.config.backend in WEIGHTS)  # type: ignore[misc]

    @classmethod
    def weights(cls, config: Any) -> Sequence[Weights]:
        """The published weights that a configuration loads; none for `sift`, and none where it names its own."""
        return () if config.own_weights else WEIGHTS.get(config.backend, ())

    def signature(self, feather: Feather) -> str:
        """As every metric's, but with the fields that the backend has, and weights by content."""
        *parts, version = super().signature(feather).split("|")
        common = parts[: len(parts) - len(fields(self.config))]
        return "|".join([*common, *(f"{name}:{_plain(value)}" for name, value in self.config.signed().items()), version])

    def prepare(self, scene: Scene, *, context: Context) -> Prepared:
        """Describe the references. Raises Unsupported where there is none, WeightsMissing where the backend's weights are out of reach."""
        from ._counting import prepare

        if not scene.references:
            raise Unsupported(f"scene {scene.id} has no reference to match with")
        if self._backend is None:
            self._backend = BACKENDS[self.config.backend](self.config, context)
        return prepare(self._backend, scene, self.config.inset)

    def score(self, prepared: Prepared, batch: Batch) -> list[Score]:
        """Matches ≥ 0; too few pairs for a geometry count as 0. Artefacts: `counts` a reference, and `lines` (see docs/metrics.md)."""
        from ._counting import scores

        portion = prepared.backend.portion(*prepared.mask.shape)

        def run() -> list[Score]:
            return [score for part in portion.parts(len(batch)) for score in scores(prepared, self.config, batch, part)]

        return portion.attempt(run) if self.card.torch else run()

    def close(self) -> None:
        """Free the backend's model."""
        if self._backend is not None:
            self._backend.close()
        self._backend = None


def _sift(config: Any, context: Context) -> Backend:
    from ._sift import Sift

    return Sift(config.features, config.ratio, config.size)


def _xfeat(config: Any, context: Context) -> Backend:
    from ._xfeat import XFeatBackend

    return XFeatBackend(config.features, config.detection, config.confidence, config.size, context.device)


def _aliked_lightglue(config: Any, context: Context) -> Backend:
    from ._lightglue import AlikedLightGlue

    return AlikedLightGlue(config.features, config.detection, config.confidence, config.size, context.device)


def _loftr(config: Any, context: Context) -> Backend:
    from ._loftr import LoFTRBackend

    return LoFTRBackend(config.confidence, config.size, context.device, config.weights if config.own_weights else "", config.sha256)


def _loftr_coarse(config: Any, context: Context) -> Backend:
    from ._loftr_coarse import CoarseLoFTR

    return CoarseLoFTR(config.confidence, config.fit, context.threads, config.weights if config.own_weights else "")


BACKENDS: Mapping[str, Callable[[Any, Context], Backend]] = {
    "sift": _sift,
    "xfeat": _xfeat,
    "aliked-lightglue": _aliked_lightglue,
    "loftr": _loftr,
    "loftr-coarse": _loftr_coarse,
}
