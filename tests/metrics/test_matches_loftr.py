"""The LoFTR backend of `matches`: equal to kornia's own call, on a random model; its own weights are checked before they are read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from kornia.feature import LoFTR
from safetensors.torch import save_file

from realbench.errors import RealbenchError, UsageError
from realbench.fingerprint import of_file
from realbench.method import Context
from realbench.metric import Batch
from realbench.metrics import _loftr
from realbench.metrics.matches import Config, Matches
from realbench.scene import Scene

SHAPES = [((1, 1), (64, 64)), ((64, 64), (1, 1)), ((5, 3), (9, 200)), ((31, 33), (40, 24)), ((700, 90), (60, 200)), ((2, 900), (50, 50))]


@pytest.fixture(scope="module")
def random_loftr(tmp_path_factory):
    """kornia's LoFTR with random weights, and the file that holds them."""
    torch.manual_seed(0)
    model = LoFTR(None).eval()
    path = tmp_path_factory.mktemp("loftr") / "loftr_outdoor.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return model, path


def photograph():
    return cv2.resize(skimage.data.astronaut(), (160, 160), interpolation=cv2.INTER_AREA)


def plain_loftr(model, reference, fill, confidence):
    """kornia's forward of one pair, in its own frame."""
    model.coarse_matching.thr = confidence
    grey = [torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[None, None].float() / 255 for image in (reference, fill)]
    with torch.inference_mode():
        found = model({"image0": grey[0], "image1": grey[1]})
    return torch.cat([found["keypoints0"], found["keypoints1"], found["confidence"][:, None]], dim=1).numpy()


def test_loftr_with_kept_features_equals_the_plain_call(random_loftr):
    model, path = random_loftr
    whole = photograph()
    one, two, three = whole[:72, :104], whole[8:80, 16:120], whole[:72, 8:112]
    reference = whole[:88, :112]  # another size than the fills'
    backend = _loftr.LoFTRBackend(0.0, 840, "cpu", str(path))
    for image in (reference, one):
        (described,) = backend.describe([image])
        together = backend.pair(described, backend.describe([two, three]))
        for fill, pairs in zip((two, three), together, strict=True):
            expected = plain_loftr(model, image, fill, 0.0)
            expected[:, :4] -= 0.5
            assert len(expected) > 0
            np.testing.assert_allclose(pairs, expected, atol=1e-3)
            np.testing.assert_allclose(backend.pair(described, backend.describe([fill]))[0], expected, atol=1e-3)
    backend.close()


def test_loftr_takes_the_confidence_that_each_column_asks_for(random_loftr):
    model, path = random_loftr
    one, two = (photograph()[:72, start : start + 104].copy() for start in (0, 8))
    value = np.median(plain_loftr(model, one, two, 0.0)[:, 4])
    low, high = (_loftr.LoFTRBackend(float(least), 840, "cpu", str(path)) for least in (0.0, value))
    pairs = {backend: backend.pair(backend.describe([one])[0], backend.describe([two]))[0] for backend in (low, high, low)}
    assert 0 < len(pairs[high]) < len(pairs[low])
    assert (pairs[high][:, 4] > value).all()
    low.close(), high.close()


@pytest.mark.parametrize(("reference", "fill"), SHAPES)
def test_loftr_gives_every_shape_a_value(random_loftr, reference, fill):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*shape, 3), np.uint8) for shape in (reference, fill)]
    scene = Scene("s", (images[0],), images[1], np.ones(fill, bool))
    metric = Matches(Config(backend="loftr", weights=str(random_loftr[1]), confidence=0.0, size=120))
    prepared = metric.prepare(scene, context=Context(work=Path()))
    (result,) = metric.score(prepared, Batch((0,), (images[1],), (images[1],)))
    metric.close()
    assert result.value >= 0


def test_loftr_sizes_are_multiples_of_eight(random_loftr):
    backend = _loftr.LoFTRBackend(0.2, 840, "cpu", str(random_loftr[1]))
    assert [backend.shape(*shape) for shape in ((1024, 1024), (500, 741), (3000, 2000), (3, 700))] == [
        (840, 840),
        (496, 736),
        (840, 560),
        (8, 696),
    ]
    backend.close()


def test_loftr_s_own_file_is_checked(random_loftr, tmp_path):
    model, path = random_loftr
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    pickled = tmp_path / "folder" / "loftr_outdoor.ckpt"
    pickled.parent.mkdir()
    torch.save({"state_dict": {f"matcher.{name}": value for name, value in state.items()}}, pickled)

    def load(own, sha256=""):
        _loftr.LoFTRBackend(0.2, 840, "cpu", str(own), sha256).close()

    load(path.parent)
    load(pickled.parent, of_file(pickled))
    with pytest.raises(RealbenchError, match="SHA-256"):
        load(pickled)
    with pytest.raises(RealbenchError, match="SHA-256"):
        load(pickled, "0" * 64)
    with pytest.raises(UsageError, match="safetensors"):
        load(tmp_path)
    for broken in ({**state, "more": torch.zeros(1)}, {"more": torch.zeros(1)}, {**state, "backbone.conv1.weight": torch.zeros(1)}):
        save_file(broken, tmp_path / "broken.safetensors")
        with pytest.raises(RealbenchError, match="another model"):
            load(tmp_path / "broken.safetensors")


def test_which_of_several_files_is_not_guessed(random_loftr, tmp_path, monkeypatch):
    path = random_loftr[1]
    shared, own = tmp_path / "kornia" / "loftr", tmp_path / "own"
    for folder in (shared, own):
        folder.mkdir(parents=True)
        (folder / "._loftr_outdoor.safetensors").write_bytes(b"macOS")
        (folder / "loftr_outdoor.safetensors").symlink_to(path)
        (folder / "loftr_outdoor.ckpt").write_bytes(b"passed over beside safetensors")
    monkeypatch.setenv("REALBENCH_WEIGHTS", str(tmp_path))
    assert _loftr._file("", "") == (shared / "loftr_outdoor.safetensors", None)
    assert _loftr._file(str(own), "") == (own / "loftr_outdoor.safetensors", None)
    for folder in (shared, own):
        (folder / "loftr_indoor.safetensors").symlink_to(path)
    for where in ("", str(own)):
        with pytest.raises(UsageError, match=r"found loftr_indoor.safetensors, loftr_outdoor.safetensors; .* leave one"):
            _loftr._file(where, "")
    for file in own.glob("*.safetensors"):
        file.unlink()
    assert _loftr._file(str(own), "0" * 64) == (own / "loftr_outdoor.ckpt", "0" * 64)
    (own / "loftr_indoor.pth").write_bytes(b"")
    with pytest.raises(UsageError, match=r"found loftr_indoor.pth, loftr_outdoor.ckpt"):
        _loftr._file(str(own), "0" * 64)
