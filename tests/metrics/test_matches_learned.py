"""The trained backends of `matches`: each equals its package's own call; small random models where the weights can't be had."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from kornia.feature import ALIKED, XFeat

from realbench import weights
from realbench.composite import Feather
from realbench.errors import RealbenchError, Unsupported, UsageError, WeightsMissing
from realbench.method import Context
from realbench.metric import Batch
from realbench.metrics import _lightglue, _loftr_coarse, _packaged, _torch, _xfeat
from realbench.metrics._matching_torch import Features
from realbench.metrics.matches import Config, Matches
from realbench.scene import Scene

CONTEXT = Context(work=Path())
COARSE = Path(__file__).parents[2].parent / "shared" / "weights" / "LoFTR_teacher.onnx"
LEARNED = ("xfeat", "aliked-lightglue", "loftr-coarse")


def need(backend):
    """Skip where the true weights are not on this machine."""
    if backend == "loftr-coarse":
        pytest.importorskip("onnxruntime")
        if not COARSE.is_file():
            pytest.skip("the coarse LoFTR is not in ../shared/weights")
    else:
        missing = [item.name for item in Matches.weights(Config(backend=backend)) if weights.status(item).state != "present"]
        if missing:
            pytest.skip(f"weights {', '.join(missing)} are not on this machine: realbench weights pull {' '.join(missing)}")


def config_of(backend, **changes):
    own = {"weights": str(COARSE)} if backend == "loftr-coarse" else {}
    return Config(backend=backend, **own, **changes)


def score(config, scene, *images):
    metric = Matches(config)
    try:
        return metric.score(metric.prepare(scene, context=CONTEXT), Batch(tuple(range(len(images))), images, images))
    finally:
        metric.close()


@pytest.fixture(scope="module")
def stereo():
    """Middlebury's motorcycle, half size: left, right, disparity of the left in pixels, a hole over the engine."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    left, right = (cv2.resize(image, (370, 250), interpolation=cv2.INTER_AREA) for image in (left, right))
    mask = np.zeros((250, 370), bool)
    mask[80:200, 130:280] = True
    return left, right, disparity[::2, ::2] / 2, mask


def scene_of(stereo, *references):
    left, right, _, mask = stereo
    return Scene("s", references or (left,), right.copy(), mask.copy(), right.copy())


def noise_in_the_hole(stereo):
    _, right, _, mask = stereo
    noisy = right.copy()
    noisy[mask] = np.random.default_rng(0).integers(0, 256, (int(mask.sum()), 3))
    return noisy


def photographs(count, height, width):
    """Different textures of one size."""
    found = (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())[:count]
    return [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in found]


def tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


# --- true weights, a real stereo pair ---------------------------------------------------------------------------------------------

GOLDEN = {"xfeat": (229, 3, 3.0, 0.8), "aliked-lightglue": (62, 3, 2.0, 0.8), "loftr-coarse": (114, 3, 6.0, 0.9)}
"""Matches of the truth (another processor may differ by a few), most matches of a noise fill, a distance from the measured disparity, and
the share of matches within it."""


@pytest.mark.parametrize("backend", LEARNED)
def test_true_weights_find_the_measured_disparity(backend, stereo):
    need(backend)
    _, right, disparity, _ = stereo
    truth, noise = score(config_of(backend), scene_of(stereo), right, noise_in_the_hole(stereo))
    matches, most, near, share = GOLDEN[backend]
    lines = np.array(truth.artefacts["lines"])
    column, row = np.rint(lines[:, 1:3]).astype(int).T
    there = disparity[row.clip(0, 249), column.clip(0, 369)]
    known = np.isfinite(there) & (there > 0)
    off = np.hypot(lines[:, 1] - there - lines[:, 3], lines[:, 2] - lines[:, 4])[known]
    assert truth.value == pytest.approx(matches, rel=0.03)
    assert noise.value <= most
    assert (off < near).mean() > share
    assert known.sum() > 50


@pytest.mark.parametrize("backend", LEARNED)
def test_order_and_batch_do_not_matter(backend, stereo):
    need(backend)
    left, right, _, _ = stereo
    scene = scene_of(stereo, left, right)
    config = config_of(backend, **({} if backend == "loftr-coarse" else {"size": 200}))
    fills = (right, noise_in_the_hole(stereo))
    together = score(config, scene, *fills)
    assert score(config, scene, *fills[::-1]) == together[::-1]
    assert score(config, scene, right) == together[:1]
    assert together[0].artefacts["counts"][1] > together[0].artefacts["counts"][0] > 10  # the truth matches itself best


SHAPES = [((1, 1), (64, 64)), ((64, 64), (1, 1)), ((5, 3), (9, 200)), ((31, 33), (40, 24)), ((700, 90), (60, 200)), ((2, 900), (50, 50))]


@pytest.mark.parametrize("backend", LEARNED)
@pytest.mark.parametrize(("reference", "fill"), SHAPES)
def test_tiny_and_long_images_have_a_value(backend, reference, fill):
    need(backend)
    scene = Scene("s", (np.full((*reference, 3), 80, np.uint8),), np.zeros((*fill, 3), np.uint8), np.ones(fill, bool))
    assert score(config_of(backend), scene, np.full((*fill, 3), 80, np.uint8))[0].value == 0


@pytest.mark.parametrize("backend", LEARNED)
def test_one_pixel_hole_full_hole_and_a_large_reference(backend, stereo):
    need(backend)
    left, right, _, mask = stereo
    one = np.zeros_like(mask)
    one[125, 200] = True
    for hole, low, high in ((one, 0, 4), (np.ones_like(mask), 60, 5000)):
        large = cv2.resize(left, (1480, 1000), interpolation=cv2.INTER_CUBIC)
        scene = Scene("s", (large,), right, hole)
        (result,) = score(config_of(backend, **({} if backend == "loftr-coarse" else {"size": 400})), scene, right)
        assert low <= result.value <= high
        if high > 4:
            lines = np.array(result.artefacts["lines"])
            assert lines[:, 1].max() > 800  # in pixels of the original reference
            assert np.median(np.abs(lines[:, 2] / 4 - lines[:, 4])) < 4


# --- equal to the packages' own calls ---------------------------------------------------------------------------------------------


@pytest.fixture
def random_models(monkeypatch):
    """XFeat, ALIKED and LightGlue with random weights: the same on every construction."""

    def untrained(model, wanted):
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape) / max(1, parameter[0].numel()) ** 0.5)
        return model.eval()

    for module in (_xfeat, _lightglue):
        monkeypatch.setattr(module, "loaded", untrained)
    return untrained


@pytest.mark.parametrize("true", [False, True])
@pytest.mark.parametrize("confidence", [0.0, 0.9])
def test_xfeat_equals_its_package(request, true, confidence):
    if true:
        need("xfeat")
        plain = XFeat()
        plain.load_state_dict(weights.load_state(weights.resolve(_packaged.XFEAT).path / "model.safetensors"))
        plain.eval()
    else:
        plain = request.getfixturevalue("random_models")(XFeat(), None)
    detection = 0.05 if true else 0.0
    one, two, three = photographs(3, 96, 128)
    backend = _xfeat.XFeatBackend(500, detection, confidence, 1024, "cpu")
    (reference,), fills = backend.describe([one]), backend.describe([two, three])
    found = backend.pair(reference, fills)
    backend.close()
    plain.detection_threshold = detection
    for fill, pairs in zip((two, three), found, strict=True):
        expected = torch.cat(plain.match_xfeat(tensor(one), tensor(fill), top_k=500, min_cossim=confidence), dim=1)
        assert len(reference.points) > 20
        assert abs(len(pairs) - len(expected)) <= 1
        if len(pairs) == len(expected):
            np.testing.assert_allclose(pairs[:, :4], expected, atol=1e-4)


def test_xfeat_gives_a_point_to_one_of_equal_ones(random_models):
    backend = _xfeat.XFeatBackend(10, 0.5, 0.0, 64, "cpu")
    one, two, other = torch.eye(64)[:3]
    reference = Features(torch.arange(8.0).reshape(4, 2), torch.stack([other, one, one, two]), (64, 64))
    fill = Features(torch.arange(6.0).reshape(3, 2), torch.stack([one, two, one]), (64, 64))
    assert backend.pair(reference, [fill])[0][:, :4].tolist() == [[2, 3, 0, 1], [6, 7, 2, 3]]
    backend.close()


@pytest.mark.parametrize("true", [False, True])
def test_aliked_lightglue_equals_its_package(request, true):
    if true:
        need("aliked-lightglue")
        (aliked_state, glue_state) = (
            weights.load_state(weights.resolve(item).path / "model.safetensors") for item in (_packaged.ALIKED, _packaged.ALIKED_LIGHTGLUE)
        )
        aliked, glue = ALIKED("aliked-n16", 300, 0.2), _lightglue.Glue()
        aliked.load_state_dict(aliked_state, strict=False)
        glue.load_state_dict(glue_state, strict=False)
    else:
        make = request.getfixturevalue("random_models")
        aliked, glue = make(ALIKED("aliked-n16", 300, 0.2), None), make(_lightglue.Glue(), None)
    aliked.eval(), glue.eval()
    left, right, _ = skimage.data.stereo_motorcycle()
    images = [cv2.resize(image, (185, 125), interpolation=cv2.INTER_AREA) for image in (left, right)]
    threshold = 0.1 if true else 0.0
    glue.conf.filter_threshold = threshold
    with torch.inference_mode():
        first, second = (aliked(tensor(image))[0] for image in images)
        size = torch.tensor([[185, 125]])
        asked = [{"keypoints": one.keypoints[None], "descriptors": one.descriptors[None], "image_size": size} for one in (first, second)]
        answer = glue({"image0": asked[0], "image1": asked[1]})
    backend = _lightglue.AlikedLightGlue(300, 0.2, threshold, 1024, "cpu")
    described = backend.describe(images)
    (found,) = backend.pair(described[0], described[1:])
    backend.close()
    ends = answer["matches"][0]
    expected = torch.cat([first.keypoints[ends[:, 0]], second.keypoints[ends[:, 1]], answer["scores"][0][:, None]], dim=1)
    assert len(described[0].points) > 20
    assert len(expected) > (50 if true else 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_key_points_pair_with_nothing(random_models):
    for backend in (_xfeat.XFeatBackend(10, 0.99, 0, 64, "cpu"), _lightglue.AlikedLightGlue(10, 0.99, 0, 64, "cpu")):
        empty = backend.describe([np.zeros((64, 64, 3), np.uint8)])[0]
        empty = type(empty)(empty.points[:0], empty.descriptors[:0], empty.shape)
        full = type(empty)(torch.rand(5, 2), torch.rand(5, empty.descriptors.shape[1]), (64, 64))
        assert [pairs.shape for pairs in (*backend.pair(empty, [full, empty]), *backend.pair(full, [empty]))] == [(0, 5)] * 3
        backend.close()


def test_columns_share_models_and_descriptions(random_models, monkeypatch):
    described = []
    real = XFeat.detectAndCompute
    monkeypatch.setattr(XFeat, "detectAndCompute", lambda self, *args, **more: described.append(1) or real(self, *args, **more))
    one, two, three = photographs(3, 64, 96)
    scene = Scene("s", (one, two), three, np.ones((64, 96), bool))
    batch = Batch((0, 1), (three, two), (three, two))
    results = []
    for combine in ("sum", "max"):
        metric = Matches(Config(backend="xfeat", detection=0.0, combine=combine))
        results.append((metric, metric.score(metric.prepare(scene, context=CONTEXT), batch)))
    for metric, _ in results:
        metric.close()
    assert len(described) == 4
    assert results[0][1][0].artefacts == results[1][1][0].artefacts
    assert not _torch._models


def test_kornia_downloads_nothing(monkeypatch):
    """Without weights the answer says how to get them, and nobody asks another server."""
    import kornia.feature.loftr.loftr as module

    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *args, **more: pytest.fail("download"))

    def missing(wanted, folder=""):
        raise WeightsMissing(wanted.name)

    monkeypatch.setattr(weights, "resolve", missing)
    for backend, name in (("loftr", "loftr-outdoor"), ("xfeat", "xfeat"), ("aliked-lightglue", "aliked")):
        scene = Scene("s", (np.zeros((64, 64, 3), np.uint8),), np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool))
        with pytest.raises(WeightsMissing, match=name):
            Matches(Config(backend=backend)).prepare(scene, context=CONTEXT)


# --- coarse LoFTR -----------------------------------------------------------------------------------------------------------------


class Session:
    """A network that gives the same confidences to every pair."""

    def __init__(self, cells):
        self.confidences = np.zeros((1, 1200, 1200), np.float32)
        for first, second, value in cells:
            self.confidences[0, first, second] = value
        self.seen = []

    def get_inputs(self):
        return [type("Input", (), {"name": name})() for name in ("a", "b")]

    def run(self, outputs, inputs):
        self.seen.append([inputs["a"], inputs["b"]])
        return [self.confidences]


@pytest.fixture
def coarse(monkeypatch):
    def make(cells, fit="stretch"):
        session = Session(cells)
        monkeypatch.setattr(_loftr_coarse, "_file", lambda own: Path(own))
        monkeypatch.setattr(_loftr_coarse, "_session", lambda path, threads: session)
        return _loftr_coarse.CoarseLoFTR(0.2, fit, 1), session

    return make


def test_coarse_cells_that_are_each_other_s_best_pair(coarse):
    """Cell 41 is the second of the second row. Cell 7 prefers 9, which prefers 8; 100 is too weak."""
    backend, _ = coarse([(0, 41, 0.5), (7, 9, 0.6), (8, 9, 0.75), (100, 100, 0.125)])
    one, two = backend.describe([np.zeros((480, 640, 3), np.uint8)] * 2)
    (found,) = backend.pair(one, [two])
    assert found.tolist() == [[0, 0, 16, 16, 0.5], [128, 0, 144, 0, 0.75]]


def test_letterbox_leaves_the_black_out(coarse):
    """A portrait covers 30 × 15 cells at the left: a cell beside it counts on neither side."""
    backend, session = coarse([(0, 1, 0.5), (1, 20, 0.5), (20, 2, 0.5)], "letterbox")
    assert [backend.shape(*shape) for shape in ((1000, 500), (500, 1000), (30, 40), (1, 1000))] == [
        (480, 240),
        (320, 640),
        (480, 640),
        (1, 640),
    ]
    plate = backend.describe([np.full((480, 240, 3), 255, np.uint8)])[0]
    assert [row.tolist() for row in backend.pair(plate, [plate])] == [[[0, 0, 16, 0, 0.5]]]
    given = session.seen[0][0]
    assert given.shape == (1, 1, 480, 640) and given.dtype == np.float32
    assert given[..., :240].min() == 1 and given[..., 240:].max() == 0


def test_coarse_weights_missing_and_onnxruntime_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"LoFTR_teacher\.onnx.*REALBENCH_WEIGHTS"):
        _loftr_coarse._file("")
    (tmp_path / "LoFTR_teacher.onnx").write_bytes(b"other")
    with pytest.raises(RealbenchError, match="SHA-256"):
        _loftr_coarse._file("")
    assert _loftr_coarse._file(str(tmp_path)).name == "LoFTR_teacher.onnx"
    with pytest.raises(UsageError, match="onnx"):
        _loftr_coarse._file(str(tmp_path / "absent.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unsupported, match=r"pip install 'realbench\[onnx\]'"):
        _loftr_coarse._session(tmp_path, 1)


def test_the_published_file_is_signed_as_such_wherever_it_lies():
    need("loftr-coarse")
    named, own = (Matches(config).signature(Feather()) for config in (Config(backend="loftr-coarse"), config_of("loftr-coarse")))
    assert named == own


def test_another_network_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "other.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(RealbenchError, match="cannot read"):
        _loftr_coarse._session(path, 1)
