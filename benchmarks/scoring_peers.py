"""What `scoring.py` compares with: each package's own call on one pair of images at a time, and pyiqa's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np

Pair = Callable[[Any, Any], float]
"""The scene's pictures and one fill, to its value."""
PYIQA = {
    "psnr-full": "psnr",
    "ssim-full": "ssim",
    "lpips-full": "lpips",
    "lpips-full:net=vgg": "lpips-vgg",
    "dists": "dists",
}
"""Its names of the metrics that score what ours of the same line scores; it has none inside a hole."""


def plain(text: str, ours: Any, device: str) -> Pair | None:
    """The plain loop's body. `ours` has run once: its models serve here too, through their packages' own calls."""
    name = text.partition(":")[0]
    family = name.partition("-")[0]
    makers = {"psnr": _psnr, "ssim": _ssim, "lpips": _lpips, "dists": _dists, "dreamsim": _dreamsim, "matches": _matches}
    semantic = {"dino": _cosine, "clip": _cosine, "efficientnet": _cosine}
    maker = makers.get(family) or semantic.get(family)
    return maker(name, ours, device) if maker else None


def pyiqa(text: str, ours: Any, device: str) -> Pair | None:
    """pyiqa's call; its networks get random weights, since they are downloaded otherwise. None where it is missing or lacks the metric."""
    if text not in PYIQA:
        return None
    try:
        import pyiqa as package
        from pyiqa.archs import dists_arch, lpips_arch
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
    except ImportError:
        return None
    import torch

    name = PYIQA[text]
    with _untrained_trunks():
        if name in ("psnr", "ssim"):
            metric: Any = package.create_metric(name, device=torch.device(device))
        elif name == "dists":
            metric = dists_arch.DISTS(pretrained=False).to(device).eval()
        else:
            net = DEFAULT_CONFIGS[name]["metric_opts"].get("net", "alex")
            metric = lpips_arch.LPIPS(net=net, pretrained=False, pnet_rand=True).to(device).eval()

    def score(shown: Any, fill: Any) -> float:
        with torch.inference_mode():
            return float(metric(_unit(fill, device), _unit(shown.truth, device)))

    return score


@contextmanager
def _untrained_trunks() -> Iterator[None]:
    """torchvision's networks without their weights, which packages download even where none are asked for."""
    from torchvision.models import VGG, AlexNet
    from torchvision.models._api import WeightsEnum

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(WeightsEnum, "get_state_dict", lambda *_, **__: {}))
        for kind in (VGG, AlexNet):
            stack.enter_context(mock.patch.object(kind, "load_state_dict", lambda *_, **__: None))
        yield


def _unit(image: Any, device: str) -> Any:
    """1×3×H×W, 0–1."""
    import torch

    return torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float() / 255


def _psnr(name: str, ours: Any, device: str) -> Pair:
    from skimage.metrics import peak_signal_noise_ratio

    def score(shown: Any, fill: Any) -> float:
        where = np.ones_like(shown.mask) if name == "psnr-full" else shown.mask
        return float(peak_signal_noise_ratio(shown.truth[where], fill[where], data_range=255))

    return score


def _ssim(name: str, ours: Any, device: str) -> Pair:
    from skimage.metrics import structural_similarity

    def score(shown: Any, fill: Any) -> float:
        options: dict[str, Any] = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        _, found = structural_similarity(shown.truth, fill, data_range=255, full=True, **options)
        return float(found.mean() if name == "ssim-full" else found[shown.mask].mean())

    return score


def _lpips(name: str, ours: Any, device: str) -> Pair:
    import torch

    from realbench.metrics import _torch

    prepared: Any = None

    def score(shown: Any, fill: Any) -> float:
        nonlocal prepared
        prepared = prepared or ours.metric.prepare(shown.scene(), context=ours.context)
        model, view = prepared.model, prepared.truth.view
        model.spatial = name == "lpips"
        with _torch.exact():
            seen = [view(_torch.upload([image], device)) for image in (fill, shown.truth)]
            found = model(*seen)
            where = torch.from_numpy(shown.mask).to(device)
            return float(found[0, 0][where].mean() if name == "lpips" else found)

    return score


def _dists(name: str, ours: Any, device: str) -> Pair:
    import torch
    from torchmetrics.functional.image.dists import DISTSNetwork

    from realbench.metrics import _torch

    with _untrained_trunks():
        network = DISTSNetwork().to(device).eval().to(memory_format=torch.channels_last)  # as ours, and LPIPS' of both
    theirs = {key: value for key, value in network.named_parameters() if value.dim() in (1, 4) and key not in ("alpha", "beta")}
    convolutions = [value for key, value in ours.metric._network(device).features.named_parameters()]
    for mine, other in zip(convolutions, [value for key, value in theirs.items() if key.startswith("stage")], strict=True):
        other.data.copy_(mine)

    def score(shown: Any, fill: Any) -> float:
        with _torch.exact():
            return float(network(_unit(fill, device), _unit(shown.truth, device)))

    return score


def _dreamsim(name: str, ours: Any, device: str) -> Pair:
    from realbench.metrics import _torch

    embedder = ours.metric._embedder(device)
    network: Any = embedder.model.__self__  # its `embed` is what we call

    def score(shown: Any, fill: Any) -> float:
        with _torch.exact():
            pair = [embedder.square.of([image]).to(device) / 255 for image in (shown.truth, fill)]
            return float(network(*pair))

    return score


def _cosine(name: str, ours: Any, device: str) -> Pair:
    import torch

    from realbench.metrics import _torch

    embedder = ours.metric._embedder(device)

    def embedding(image: Any) -> Any:
        return embedder.model(embedder.square.normalised(embedder.square.of([image]).to(device)))

    def score(shown: Any, fill: Any) -> float:
        others = shown.references if name.endswith("-ref") else (shown.truth,)
        with _torch.exact():
            own = embedding(fill)
            return float(np.mean([float(torch.cosine_similarity(own, embedding(other))) for other in others]))

    return score


def _matches(name: str, ours: Any, device: str) -> Pair:
    """One pair of images at a time, all of it anew; verification and counting as ours."""
    from realbench.metrics import _counting
    from realbench.metrics._matching import View, resized

    metric = ours.metric
    backend = metric._backend
    if metric.config.backend == "loftr":
        pair: Callable[[Any, Any], Any] = _loftr(backend, device)
    else:

        def pair(reference: Any, fill: Any) -> Any:
            return backend.pair(backend.describe([reference])[0], backend.describe([fill]))[0]

    prepared: Any = None

    def score(shown: Any, fill: Any) -> float:
        nonlocal prepared
        prepared = prepared or metric.prepare(shown.scene(), context=ours.context)
        total = 0
        for image in shown.references:
            shape = backend.shape(*image.shape[:2])
            scale = np.array([image.shape[1] / shape[1], image.shape[0] / shape[0]])
            pairs = pair(resized(image, shape), resized(fill, shape))
            total += len(_counting._kept(prepared, metric.config, View(None, scale), View(None, scale), pairs))
        return float(total)

    return score


def _loftr(backend: Any, device: str) -> Callable[[Any, Any], Any]:
    """kornia's LoFTR on two images, as its documentation calls it."""
    import cv2
    import torch

    from realbench.metrics import _torch

    model = backend._model

    def pair(reference: Any, fill: Any) -> Any:
        grey = [torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[None, None].to(device) / 255 for image in (reference, fill)]
        with _torch.exact():
            found = model({"image0": grey[0], "image1": grey[1]})
            columns = [found["keypoints0"] - 0.5, found["keypoints1"] - 0.5, found["confidence"][:, None]]
            return torch.cat(columns, dim=1).double().cpu().numpy()

    return pair
