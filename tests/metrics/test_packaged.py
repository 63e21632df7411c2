"""The pinned weights of metrics: well-formed, named as the models name them, and (where an index is reached) what they should be."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realbench import convert, weights
from realbench.errors import WeightsMissing
from realbench.metrics import _packaged
from realbench.packages import Checkpoint, Converted, Packaged

PACKAGED = tuple(value for value in vars(_packaged).values() if isinstance(value, Packaged))
ALL: tuple[Converted, ...] = (*PACKAGED, _packaged.LPIPS_SQUEEZE)
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "weights"
TOLERANCE = 1e-3


def test_pins_are_well_formed() -> None:
    names = [wanted.name for wanted in ALL]
    assert len(set(names)) == len(names)
    for wanted in ALL:
        for source in weights._sources(wanted):
            source.check(wanted)
        assert wanted.licence and wanted.size and wanted.files == ("model.safetensors",)
    sizes = {(one.archive, one.archive_sha256, one.archive_size, one.size) for one in PACKAGED}
    assert len(sizes) == len({one.archive for one in PACKAGED}) == 4


def lpips_model(net: str) -> Any:
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)


def expected(model: Any, *without: str) -> set[str]:
    return {name for name in model.state_dict() if not name.startswith(without)}


def flax(kind: str, layers: int) -> list[str]:
    """Names as the Flax port has them: each convolution's kernel and bias, and five heads."""
    trunk = [f"{kind}_0.Conv_{layer}.{part}" for layer in range(layers) for part in ("kernel", "bias")]
    return [*trunk, *(f"NetLinLayer_{head}.Conv_0.kernel" for head in range(5))]


def renamed(names: list[str], wanted: Converted) -> set[str]:
    found = [convert._renamed(name, wanted) for name in names]
    assert len(set(filter(None, found))) == len(list(filter(None, found)))
    return set(filter(None, found))


def test_names_are_those_of_the_models() -> None:
    import torchvision

    heads = ("lins.", "scaling_layer.")
    assert renamed(flax("AlexNet", 5), _packaged.LPIPS_ALEX) == expected(lpips_model("alex"), *heads)
    assert renamed(flax("VGG16", 13), _packaged.LPIPS_VGG) == expected(lpips_model("vgg"), *heads)
    features = {name for name in torchvision.models.vgg16(weights=None).state_dict() if name.startswith("features.")}
    assert renamed(flax("VGG16", 13), _packaged.VGG16) == features
    squeeze = list(torchvision.models.squeezenet1_1(weights=None).state_dict())
    assert renamed(squeeze, _packaged.LPIPS_SQUEEZE) == expected(lpips_model("squeeze"), "lin", "scaling_layer.")


def lightglue(features: str) -> Any:
    from kornia.feature import LightGlue

    return LightGlue(None, **{key: value for key, value in LightGlue.features[features].items() if key != "weights"})


def efficientnet() -> Any:
    return pytest.importorskip("timm").create_model("tf_efficientnet_lite0", pretrained=False)


def kornia(name: str, *arguments: str) -> Any:
    import kornia.feature

    return getattr(kornia.feature, name)(*arguments)


def vgg16() -> Any:
    import torchvision

    return torchvision.models.vgg16(weights=None)


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "lpips-alex": (lambda: lpips_model("alex"), r"lins\.|scaling_layer\."),
    "lpips-vgg": (lambda: lpips_model("vgg"), r"lins\.|scaling_layer\."),
    "vgg16": (vgg16, r"classifier\."),
    "xfeat": (lambda: kornia("XFeat"), r"$^"),
    "aliked": (lambda: kornia("ALIKED", "aliked-n16"), r"dkd\.hw_grid"),
    "aliked-lightglue": (lambda: lightglue("aliked"), "confidence_thresholds"),
    "efficientnet-lite0": (efficientnet, r"$^"),
}


def pulled(wanted: Packaged | Checkpoint) -> Path:
    """The weights in the user's own cache, so that the archives are downloaded once a machine; skips where no index has them."""
    try:
        return weights.pull(wanted).path / "model.safetensors"
    except WeightsMissing as error:
        pytest.skip(f"no package index in reach: {str(error)[:200]}")


def test_each_is_on_a_card() -> None:
    """Else `realbench weights pull` would not know it."""
    assert set(ALL) <= {entry.weights for entry in weights.catalogue()[0]}


@pytest.mark.parametrize("wanted", PACKAGED, ids=lambda wanted: wanted.name)
def test_network_each_model_takes_its_weights(wanted: Packaged) -> None:
    """Deselect with -k "not test_network": the first time, this downloads 200 MB."""
    make, lacking = MODELS[wanted.name]
    model = make()
    left = model.load_state_dict(weights.load_state(pulled(wanted)), strict=False)
    assert left.unexpected_keys == [] and [name for name in left.missing_keys if not re.match(lacking, name)] == []


def test_network_lpips_gives_the_authors_values() -> None:
    import lpips
    import torch

    if not (SHARED / "ex_ref.png").is_file():
        pytest.skip(f"no images of the authors at {SHARED}")
    model = lpips_model("alex")
    model.load_state_dict(weights.load_state(pulled(_packaged.LPIPS_ALEX)), strict=False)
    truth, first, second = (lpips.im2tensor(lpips.load_image(str(SHARED / f"ex_{name}.png"))) for name in ("ref", "p0", "p1"))
    with torch.inference_mode():
        found = [float(model.eval()(truth, image)) for image in (first, second)]
    assert found == pytest.approx([0.722, 0.138], abs=TOLERANCE)


@pytest.mark.parametrize(
    ("wanted", "file"),
    [(_packaged.LPIPS_ALEX, "lpips_alex_v01.safetensors"), (_packaged.ALIKED, "aliked-n16.pth")],
    ids=["lpips-alex", "aliked"],
)
def test_network_other_copies_are_equal(wanted: Packaged, file: str) -> None:
    import torch

    if not (SHARED / file).is_file():
        pytest.skip(f"no weights at {SHARED}")
    other = torch.load(SHARED / file, weights_only=True) if file.endswith(".pth") else weights.load_state(SHARED / file)
    found = weights.load_state(pulled(wanted))
    layers = {f"conv{number}": f"net.{layer}" for number, layer in enumerate(_packaged._ALEX)}
    for name, tensor in other.items():
        head, _, part = name.partition(".")
        if file.startswith("lpips"):
            name = f"{layers[head]}.{part}" if head in layers else f"{head}.model.1.{part}"
        assert torch.equal(found[name], tensor), name
