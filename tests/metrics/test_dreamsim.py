"""DreamSim against dreamsim's own loader, network and preprocessing, on a small release made here."""

from __future__ import annotations

import re
import sys
from functools import partial

import pytest
import torch
from PIL import Image

from realbench.composite import Feather
from realbench.errors import RealbenchError, Unsupported, UsageError, WeightsMissing
from realbench.metrics.dreamsim import MODELS, Config, DreamSim
from tests.metrics.embeddings import TOLERANCE, photograph, randomised, saved, scene, score, values

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning"),
]
"""What dreamsim's own loader says."""
TRUNKS = {
    "ensemble": ("dino_vitb16", "clip_vitb16", "open_clip_vitb16"),
    **{name: (name,) for name in MODELS if name != "ensemble"},
}


@pytest.fixture
def small(monkeypatch):
    """dreamsim with ViTs of width 24 in place of ViT-B; skips where it is not installed."""
    pytest.importorskip("dreamsim")
    from dreamsim.feature_extraction import extractor, load_clip_as_dino, load_open_clip_as_dino, load_synclr_as_dino, vision_transformer

    def vit(patch_size=16, **settings):
        normal = partial(torch.nn.LayerNorm, eps=1e-6)
        return vision_transformer.VisionTransformer(
            patch_size=patch_size, embed_dim=24, depth=12, num_heads=3, qkv_bias=True, norm_layer=normal, **settings
        )

    head = vision_transformer.DINOHead
    monkeypatch.setattr(extractor, "DINOHead", lambda *sizes: head(24, 8, hidden_dim=8, bottleneck_dim=8))
    for module in (vision_transformer, load_clip_as_dino, load_open_clip_as_dino, load_synclr_as_dino):
        monkeypatch.setattr(module, "vit_base", vit)
    return vit


@pytest.fixture
def release(small, tmp_path, monkeypatch):
    """Makes what dreamsim's release holds for one model, and loads it as dreamsim does: returns its network and preprocessing."""
    from dreamsim.model import PerceptualModel, dreamsim, dreamsim_args
    from peft import LoraConfig, get_peft_model

    cache = tmp_path / "cache"
    monkeypatch.setattr(torch.hub, "set_dir", lambda folder: None)
    monkeypatch.setattr(torch.hub, "load", lambda repository, name: randomised(small(16), 1))

    def write(trunk, seed):
        patch = int(trunk.rpartition("vitb")[2])
        model = small(patch)
        if "clip" in trunk:
            model.pos_drop = torch.nn.LayerNorm(24)
        state = randomised(model, seed).state_dict()
        if trunk.startswith("dino"):
            head = {f"module.head.mlp.{layer}.{kind}": torch.zeros(2) for layer in (0, 2, 4) for kind in ("weight", "bias")}
            torch.save({"student": {**head, "module.head.last_layer.weight": torch.zeros(2, 2)}}, cache / f"{trunk}_pretrain.pth")
        elif trunk.startswith("synclr"):
            torch.save({"model": {f"module.visual.{name}": tensor for name, tensor in state.items()}}, cache / "synclr_vit_b_16.pth")
        else:
            projection = torch.randn(24, 512, generator=torch.Generator().manual_seed(seed))
            torch.save({"state_dict": {**state, "proj": projection}}, cache / f"{trunk}_pretrain.pth.tar")

    def make(kind):
        cache.mkdir(exist_ok=True)
        for seed, trunk in enumerate(TRUNKS[kind]):
            write(trunk, seed)
        bare = PerceptualModel(**dreamsim_args["model_config"][kind], device="cpu", load_dir=str(cache), normalize_embeds=True)
        tuned = get_peft_model(bare, LoraConfig(r=4, lora_alpha=2, lora_dropout=0.3, bias="none", target_modules=["qkv"]))
        generator = torch.Generator().manual_seed(9)
        for name, tensor in tuned.named_parameters():
            if "lora_" in name:
                tensor.data = torch.randn(tensor.shape, generator=generator) * 0.3
        tuned.save_pretrained(cache / ("ensemble_lora" if kind == "ensemble" else f"{kind}_single_lora"))
        return dreamsim(pretrained=True, device="cpu", cache_dir=str(cache), dreamsim_type=kind)

    return make


def converted(release, kind, tmp_path, monkeypatch):
    """The file that the documented command makes of this release, where realbench looks for it."""
    import dreamsim

    from realbench.metrics import _dreamsim_convert

    network, preprocess = release(kind)
    folder = tmp_path / "weights" / f"dreamsim-{kind.replace('_', '-')}"
    monkeypatch.setattr(dreamsim, "dreamsim", lambda **asked: release(asked["dreamsim_type"]))
    _dreamsim_convert.main(kind, str(folder))
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(folder.parent))
    return network, preprocess, folder / "model.safetensors"


def own(network, preprocess, one, other):
    """dreamsim's own call."""
    with torch.inference_mode():
        return network(preprocess(Image.fromarray(one)), preprocess(Image.fromarray(other))).item()


@pytest.mark.parametrize("kind", MODELS)
def test_equals_dreamsims_own_call(release, tmp_path, monkeypatch, kind):
    network, preprocess, _ = converted(release, kind, tmp_path, monkeypatch)
    truth, fills = photograph(1, 310, 190), [photograph(seed, 310, 190) for seed in (2, 3)]
    expected = [own(network, preprocess, fill, truth) for fill in fills]
    assert values(score(DreamSim(Config(kind)), scene(truth), *fills)) == pytest.approx(expected, abs=TOLERANCE / 10)
    assert min(expected) > 0.05
    assert abs(expected[0] - expected[1]) > 10 * TOLERANCE


@pytest.mark.parametrize("kind", ["ensemble", "dino_vitb16"])
def test_the_layers_are_dreamsims_to_the_epsilon(release, kind):
    """An epsilon is too small for a score to show it."""
    from realbench.metrics._dreamsim import skeleton

    theirs, _ = release(kind)
    found, expected = (
        [module.eps for module in network.extractor_list.modules() if isinstance(module, torch.nn.LayerNorm)]
        for network in (skeleton(kind, "cpu"), theirs.base_model.model)
    )
    assert found == expected
    assert set(found) == ({1e-5, 1e-6} if kind == "ensemble" else {1e-6})


def test_the_adapters_count(release, tmp_path, monkeypatch):
    """What is compared with has LoRA that changes the distance: without it the test above could pass on the bare trunks."""
    network, preprocess, _ = converted(release, "ensemble", tmp_path, monkeypatch)
    one, other = photograph(1), photograph(2)
    with network.disable_adapter():
        bare = own(network, preprocess, one, other)
    assert abs(bare - own(network, preprocess, one, other)) > 10 * TOLERANCE


def test_a_fill_that_is_the_truth_scores_zero_exactly(release, tmp_path, monkeypatch):
    converted(release, "dino_vitb16", tmp_path, monkeypatch)
    truth = photograph(1)
    found = values(score(DreamSim(Config("dino_vitb16")), scene(truth), photograph(2), truth.copy(), photograph(3)))
    assert found[1] == 0.0
    assert min(found[0], found[2]) > 0.01


def test_a_score_is_the_same_in_any_batch(release, tmp_path, monkeypatch):
    converted(release, "clip_vitb32", tmp_path, monkeypatch)
    truth, fills = photograph(1), [photograph(seed) for seed in range(2, 7)]
    metric = DreamSim(Config("clip_vitb32"))
    together = values(score(metric, scene(truth), *fills))
    assert together == pytest.approx([values(score(metric, scene(truth), fill))[0] for fill in fills], abs=1e-5)


def test_loading_leaves_the_package_as_it_was(release, tmp_path, monkeypatch):
    converted(release, "dino_vitb16", tmp_path, monkeypatch)
    from dreamsim.feature_extraction.extractor import ViTExtractor

    before = ViTExtractor.__dict__["create_model"]
    score(DreamSim(Config("dino_vitb16")), scene(photograph(1)), photograph(2))
    assert ViTExtractor.__dict__["create_model"] is before
    assert isinstance(before, staticmethod)


def test_weights_of_another_model_are_refused(release, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    _, _, file = converted(release, "dino_vitb16", tmp_path, monkeypatch)
    whole = load_file(file)
    renamed = {name.replace("cls_token", "other"): tensor for name, tensor in whole.items()}
    for state in (renamed, {"a": torch.zeros(1)}, {**whole, "more": torch.zeros(1)}):
        saved(state, file)
        with pytest.raises(RealbenchError, match="expected the tensors of DreamSim dino_vitb16"):
            score(DreamSim(Config("dino_vitb16")), scene(photograph(1)), photograph(2))


def test_a_tensor_of_another_shape_is_refused(release, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    _, _, file = converted(release, "dino_vitb16", tmp_path, monkeypatch)
    saved({**load_file(file), "extractor_list.0.model.norm.bias": torch.zeros(1)}, file)
    with pytest.raises(RealbenchError, match=r"others: extractor_list\.0\.model\.norm\.bias"):
        score(DreamSim(Config("dino_vitb16")), scene(photograph(1)), photograph(2))


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    folder = tmp_path / "dreamsim-ensemble"
    saved({"a": torch.zeros(1)}, folder / "model.safetensors")
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(Unsupported, match=r'pip install "realbench\[dreamsim\]"'):
        score(DreamSim(), scene(photograph(1)), photograph(2))


@pytest.mark.parametrize("folder", [None, "elsewhere"])
def test_missing_weights_give_the_recipe_in_full(tmp_path, monkeypatch, folder):
    monkeypatch.delenv("REALBENCH_WEIGHTS", raising=False)
    if folder:
        monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    command = "python -m realbench.metrics._dreamsim_convert open_clip_vitb32 dreamsim-open-clip-vitb32"
    with pytest.raises(WeightsMissing, match=re.escape(command)) as found:
        score(DreamSim(Config("open_clip_vitb32")), scene(photograph(1)), photograph(2))
    assert "$REALBENCH_WEIGHTS" in str(found.value)
    assert len(str(found.value)) < 1000, "workers keep 1000 characters"


def test_an_incomplete_folder_says_what_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "dreamsim-ensemble").mkdir()
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"lacks model\.safetensors"):
        score(DreamSim(), scene(photograph(1)), photograph(2))


def test_unknown_models_are_a_usage_error():
    with pytest.raises(UsageError, match=r"no model 'dinov2_vitb14'.*ensemble"):
        Config("dinov2_vitb14")


def test_signature_names_the_resize():
    head = "dreamsim|region:full|image:composite|feather:4/512|model:ensemble"
    assert DreamSim().signature(Feather(4)) == f"{head}|crop:squash|filter:bicubic|antialias:pillow|size:224|v:1"
    found = DreamSim(Config(crop="centre")).signature(Feather(4))
    assert found == f"{head}|crop:centre|filter:bicubic|antialias:pillow|resize:224|size:224|v:1"


def test_reads_the_composite(release, tmp_path, monkeypatch):
    converted(release, "dino_vitb16", tmp_path, monkeypatch)
    truth = photograph(1)
    assert values(score(DreamSim(Config("dino_vitb16")), scene(truth), truth, raw=[photograph(2)])) == [0.0]
