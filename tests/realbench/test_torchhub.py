"""Files of torch.hub's cache as weights: verified by the hash in their name, converted like those of packages."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np
import pytest
from safetensors.numpy import load_file

from realbench import weights
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.packages import Checkpoint


def content() -> bytes:
    import torch

    data = io.BytesIO()
    torch.save({"features.0.weight": torch.arange(4.0), "classifier.bias": torch.ones(2)}, data)
    return data.getvalue()


DATA = content()
DIGEST = hashlib.sha256(DATA).hexdigest()
TINY = Checkpoint(
    name="tiny",
    url=f"https://models.example/tiny1_1-{DIGEST[:8]}.pth",
    size="1 MB",
    licence="MIT",
    rename=((r"^classifier\..*", ""), (r"^features\.", "net.")),
)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's cache, empty; nothing of this machine's settings."""
    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(weights, "_used", {})
    monkeypatch.setattr(weights, "_refused", {})
    return tmp_path / "torch" / "hub" / "checkpoints"


def put(kept: Path, data: bytes = DATA) -> Path:
    kept.mkdir(parents=True, exist_ok=True)
    (kept / TINY.file).write_bytes(data)
    return kept / TINY.file


def test_a_file_that_is_there_needs_no_network(kept: Path) -> None:
    path = put(kept)
    found = weights.resolve(TINY)
    assert (found.origin, found.revision) == ("torch hub", f"tiny1_1-{DIGEST[:8]}")
    tensors = load_file(found.path / "model.safetensors")
    assert list(tensors) == ["net.0.weight"] and np.array_equal(tensors["net.0.weight"], np.arange(4.0))
    noted = json.loads((found.path / "provenance.json").read_text())
    assert (noted["url"], noted["member_sha256"], noted["pin"]) == (TINY.url, DIGEST, TINY.pin)
    path.unlink()
    assert weights.resolve(TINY).origin == "torch hub cache"


def test_torch_agrees_where_its_cache_is(kept: Path) -> None:
    import torch

    assert Path(torch.hub.get_dir()) / "checkpoints" == kept


def test_a_file_that_is_not_what_its_name_says_is_refused(kept: Path) -> None:
    path = put(kept, DATA + b"x")
    with pytest.raises(RealbenchError, match=f"begins with {DIGEST[:8]}, as its name says, found another; delete it"):
        weights.resolve(TINY)
    assert path.exists() and weights.status(TINY).state == "missing"


def test_what_is_missing_is_said_and_pulled(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    with pytest.raises(WeightsMissing) as caught:
        weights.resolve(TINY)
    for part in (
        f"weights tiny ({TINY.file}, 1 MB, MIT)",
        "HF_HUB_OFFLINE is set",
        "`realbench weights pull tiny`",
        f"bring {TINY.url} into",
    ):
        assert part in str(caught.value)

    asked: list[str] = []

    def download(url: str, target: str, hash_prefix: str) -> None:
        asked.append(url)
        if len(asked) <= len(FAULTS):
            raise FAULTS[len(asked) - 1]
        assert DIGEST.startswith(hash_prefix) and len(hash_prefix) == 8
        Path(target).write_bytes(DATA)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in FAULTS:
        with pytest.raises(WeightsMissing, match=r"tiny1_1-.*pth cannot be had \("):
            weights.pull(TINY)
    assert weights.pull(TINY).origin == "torch hub"
    assert weights.pull(TINY).origin == "torch hub cache" and asked == [TINY.url] * (len(FAULTS) + 1)


FAULTS = [
    URLError("no route"),
    HTTPError(TINY.url, 404, "Not Found", None, None),  # type: ignore[arg-type]
    RuntimeError('invalid hash value (expected "1", got "2")'),
]


@pytest.mark.parametrize("url", ["http://x.example/a-12345678.pth", "https://x.example/a.pth", "https://x.example/..%2fa-12345678.pth"])
def test_urls_tell_their_hash(url: str) -> None:
    with pytest.raises(UsageError, match="as name"):
        weights.resolve(replace(TINY, name="../tiny"))
    with pytest.raises(UsageError, match="expected a URL like"):
        weights.resolve(replace(TINY, url=url))
