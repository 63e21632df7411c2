"""Finding weights: order, completeness, pinned commits, and a message for each way in which they can be missing."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import save_file

from realbench import huggingface, weightfiles, weights
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.method import Weights
from realbench.weights import Pickled, custom, resolve, status
from tests.conftest import Plugins

PIN = "5f" * 20
OTHER = "ab" * 20
MODEL = Weights("mini", "owner/tiny-model", PIN, "1.5 GB", "MIT", files=("config.json", "*.safetensors"))
GATED = Weights("locked", "owner/locked", PIN, "30 GB", "Non-Commercial", gated=True, files=("config.json", "*.safetensors"))


def model(folder: Path, value: float = 1.0) -> Path:
    """A folder with a configuration and one file of tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    save_file({"w": np.full((2, 3), value, np.float32)}, folder / "model.safetensors")
    return folder


def pipeline(folder: Path) -> Path:
    """A folder in the layout of a diffusers pipeline, with a U-Net in two shards."""
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(
        '{"_class_name": "P", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"], "tokenizer": ["transformers", "T"],'
        ' "scheduler": ["diffusers", "S"], "safety_checker": ["diffusers", "C"], "image_encoder": [null, null]}'
    )
    for part in ("vae", "unet"):
        model(folder / part)
    (folder / "unet" / "model.safetensors").unlink()
    for shard in ("1", "2"):
        save_file({shard: np.zeros(2, np.float32)}, folder / "unet" / f"part-{shard}.safetensors")
    shards = '{"weight_map": {"1": "part-1.safetensors", "2": "part-2.safetensors"}}'
    (folder / "unet" / "part.safetensors.index.json").write_text(shards)
    for part, name in (("tokenizer", "tokenizer_config.json"), ("scheduler", "scheduler_config.json")):
        (folder / part).mkdir()
        (folder / part / name).write_text("{}")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache that the library uses."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture(autouse=True)
def apart(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of this machine, and nothing kept from test to test."""
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(weights, "_used", {})
    monkeypatch.setattr(weights, "_refused", {})
    yield


def put(cache: Path, wanted: Weights, commit: str, *, main: bool = False, value: float = 1.0) -> Path:
    """A complete snapshot in the cache, laid out as the hub's library does it: files are links to blobs named by their SHA-256."""
    root = cache / f"models--{wanted.id.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(snapshot, ignore_errors=True)
    for path in model(snapshot, value).iterdir():
        blob = root / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        path.replace(blob)
        path.symlink_to(Path("../../blobs") / blob.name)
    if main:
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / "main").write_text(commit)
    return snapshot


Hub = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Hub:
    """A hub that is online: hub(answer) makes downloads do `answer` (a snapshot's maker, or an error) and returns their requests."""
    import huggingface_hub
    import huggingface_hub.constants as constants

    requests: list[dict[str, Any]] = []
    real = huggingface_hub.snapshot_download

    def install(answer: Callable[[], Path] | BaseException) -> list[dict[str, Any]]:
        def download(**request: Any) -> str:
            if request.get("local_files_only"):
                return str(real(**request))
            requests.append(request)
            if isinstance(answer, BaseException):
                raise answer
            return str(answer())

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        return requests

    return install


def answered(kind: str, status: int) -> Exception:
    """An error of the hub's library with the response it stands for."""
    import huggingface_hub.errors as errors

    class Response:
        status_code = status
        headers: ClassVar[dict[str, str]] = {}
        request = None

    error = getattr(errors, kind)(f"{status} Client Error", response=Response())
    assert isinstance(error, Exception)
    return error


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def lost(cause: Exception) -> Exception:
    """What the library raises when the hub could not be asked and nothing is in the cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    return caused(LocalEntryNotFoundError("Got: …"), cause)


def no_route() -> Exception:
    import huggingface_hub.errors as errors

    kinds = {kind.__name__: kind for base in errors.HfHubHTTPError.__mro__ for kind in base.__subclasses__()}
    transport = next(kind for kind in kinds["RequestError"].__subclasses__() if kind.__name__ == "TransportError")
    return transport("[Errno -2] Name or service not known")


# --- order and pins -----------------------------------------------------------------------------------------------------------


def test_the_order_is_folder_variable_cache_hub(tmp_path: Path, cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = hub(lambda: put(cache, MODEL, PIN, value=4))
    found = resolve(MODEL)
    assert (found.path, found.origin, found.revision) == (cache / "models--owner--tiny-model" / "snapshots" / PIN, "hub", PIN)
    assert len(requests) == 1 and requests[0]["revision"] == PIN and requests[0]["repo_id"] == "owner/tiny-model"

    assert resolve(MODEL).origin == "hub cache"
    assert len(requests) == 1

    shared = model(tmp_path / "shared" / "mini", 3)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "shared"))
    assert (resolve(MODEL).path, resolve(MODEL).origin) == (shared, "REALBENCH_WEIGHTS")

    own = model(tmp_path / "own", 2)
    assert (resolve(MODEL, own).path, resolve(MODEL, str(own)).origin) == (own, "folder")


@pytest.mark.parametrize("name", ["owner/tiny-model", "owner--tiny-model", "mini"])
def test_a_shared_folder_may_use_three_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    folder = model(tmp_path / name)
    assert resolve(MODEL).path == folder


def test_a_shared_folder_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"REALBENCH_WEIGHTS: expected a folder at .*nowhere"):
        resolve(MODEL)
    with pytest.raises(UsageError, match=r"expected a folder at .*elsewhere"):
        resolve(MODEL, tmp_path / "elsewhere")


def test_another_commit_in_the_cache_is_not_used_and_is_named(cache: Path) -> None:
    put(cache, MODEL, OTHER, main=True)
    with pytest.raises(WeightsMissing, match=f"cache holds another commit .{OTHER[:12]}., which is not used"):
        resolve(MODEL)
    assert status(MODEL).state == "missing" and OTHER[:12] in status(MODEL).note
    put(cache, MODEL, PIN)
    assert resolve(MODEL).revision == PIN


def test_main_is_what_refs_main_says(cache: Path) -> None:
    moving = Weights("mini", MODEL.id, files=MODEL.files)
    put(cache, MODEL, PIN)
    assert status(moving).state == "missing"
    put(cache, MODEL, OTHER, main=True)
    assert resolve(moving).revision == OTHER
    assert weights.used() == {"mini": f"hub cache {OTHER}"}


def test_a_copied_folder_says_its_commit_and_must_be_the_pinned_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hf download --local-dir` leaves a note beside each file."""
    folder = model(tmp_path / "shared" / "owner" / "tiny-model")
    notes = folder / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)

    def note(commit: str) -> None:
        for name in ("config.json", "model.safetensors"):
            (notes / f"{name}.metadata").write_text(f"{commit}\netag\n1.0\n")

    note(PIN)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "shared"))
    assert resolve(MODEL).revision == PIN
    note(OTHER)
    with pytest.raises(WeightsMissing, match=f"holds commit {OTHER[:12]} instead of the pinned {PIN[:12]}"):
        resolve(MODEL)
    assert resolve(MODEL, folder).revision == OTHER  # named in a setting, it is what the user wants
    (notes / "config.json.metadata").write_text(f"{PIN}\netag\n1.0\n")  # some of one commit, some of another
    assert resolve(MODEL).revision.startswith("content ")
    (notes / "config.json.metadata").unlink()
    assert resolve(MODEL).revision.startswith("content ")


def test_a_folder_without_commit_is_recorded_by_its_content(tmp_path: Path) -> None:
    folder = model(tmp_path / "own", 1)
    (folder / "README.md").write_text("not part of the model")
    first = resolve(MODEL, folder).revision
    assert re.fullmatch("content [0-9a-f]{12}", first)
    assert weights.used() == {"mini": f"folder {first}"}
    assert resolve(MODEL, model(tmp_path / "same", 1)).revision == first
    assert resolve(MODEL, model(tmp_path / "changed", 2)).revision != first


# --- what is missing, in words ------------------------------------------------------------------------------------------------


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


SITUATIONS: dict[str, tuple[Callable[[], Exception], list[str], list[str]]] = {
    "no network": (
        lambda: lost(no_route()),
        ["cannot be reached", "realbench weights pull locked", "hf download owner/locked"],
        ["is full"],
    ),
    "a timeout": (lambda: TimeoutError("timed out"), ["cannot be reached"], []),
    "offline after all": (lambda: lost(answered_offline()), ["HF_HUB_OFFLINE is set"], ["cannot be reached"]),
    "gated": (
        lambda: answered("GatedRepoError", 403),
        ["access is gated", "accept the licence at https://huggingface.co/owner/locked", "hf auth login"],
        ["cannot be reached", "removed"],
    ),
    "gone": (lambda: answered("RepositoryNotFoundError", 404), ["no public model owner/locked", "removed, renamed or private"], ["gated:"]),
    "no such revision": (lambda: answered("RevisionNotFoundError", 404), [f"has no revision {PIN}", "/commits/main"], ["removed"]),
    "disabled": (lambda: answered("DisabledRepoError", 403), ["was disabled"], []),
    "a bad token": (lambda: answered("HfHubHTTPError", 401), ["refused your token (401)", "HF_TOKEN"], []),
    "forbidden": (lambda: answered("HfHubHTTPError", 403), ["refused access (403)", "hf auth login"], []),
    "a fault of the hub": (lambda: lost(answered("HfHubHTTPError", 503)), ["answered with an error (503)", "later"], ["no network"]),
    "disk full": (
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        ["disk is full", "GB free", "30 GB needed", "HF_HUB_CACHE"],
        [],
    ),
    "disk full, in other words": (lambda: RuntimeError("io error: No space left on device (os error 28)"), ["disk is full"], []),
    "no permission": (lambda: PermissionError(errno.EACCES, "denied"), ["cannot be written", "HF_HUB_CACHE"], []),
    "anything else": (lambda: ValueError("odd\nlines"), ["download failed (ValueError: odd)", "again"], ["lines"]),
}


def answered_offline() -> Exception:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return OfflineModeIsEnabled("offline")


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_cause_has_its_own_sentence(hub: Hub, name: str) -> None:
    error, expected, unexpected = SITUATIONS[name]
    hub(error())
    with pytest.raises(WeightsMissing) as caught:
        resolve(GATED)
    message = str(caught.value)
    facts = [f"weights locked (owner/locked @ {PIN[:12]}, 30 GB, Non-Commercial, gated)", "are not on this machine"]
    assert [part for part in facts + expected if part not in message] == []
    assert [part for part in unexpected if part in message] == []
    assert len(message) < 950 and "\n" not in message


def test_offline_says_how_to_get_them_here_and_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    with pytest.raises(WeightsMissing) as caught:
        resolve(GATED)
    message = str(caught.value)
    command = f"hf download owner/locked --revision {PIN} --include config.json --include '*.safetensors'"
    for part in ["HF_HUB_OFFLINE is set", "`realbench weights pull locked`", "https://huggingface.co/owner/locked", command]:
        assert part in message
    assert message.endswith("--local-dir weights/owner/locked`, then copy its folder weights here and set REALBENCH_WEIGHTS to it")
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"copy what is in its folder weights to \$REALBENCH_WEIGHTS$"):
        resolve(GATED)


def test_a_source_that_refused_is_not_asked_at_every_cell(hub: Hub) -> None:
    requests = hub(lost(no_route()))
    for _ in range(3):
        with pytest.raises(WeightsMissing, match="cannot be reached"):
            resolve(MODEL)
    assert len(requests) == 1
    with pytest.raises(WeightsMissing):
        weights.pull(MODEL)  # someone asks on purpose
    assert len(requests) == 2


def test_the_library_is_really_offline_here(cache: Path) -> None:
    """No fake: the hub's own library with HF_HUB_OFFLINE=1, in a fresh process."""
    code = "from realbench.method import Weights\nfrom realbench.weights import resolve\nresolve(Weights('x', 'o/x'))"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "WeightsMissing: weights x (o/x @ main) are not on this machine: HF_HUB_OFFLINE is set" in done.stderr


def test_importing_is_light() -> None:
    code = "import sys, realbench.weights, realbench.cli.weights; print([m for m in ('torch', 'huggingface_hub') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# --- completeness -------------------------------------------------------------------------------------------------------------


def test_an_incomplete_snapshot_is_completed_or_reported(cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = put(cache, MODEL, PIN)
    (snapshot / "model.safetensors").unlink()
    assert status(MODEL).state == "incomplete" and status(MODEL).note == "lacks *.safetensors"
    with pytest.raises(WeightsMissing, match=f"cannot be used: HF_HUB_OFFLINE is set.*{PIN} lacks ..safetensors"):
        resolve(MODEL)
    monkeypatch.setattr(weights, "_refused", {})
    requests = hub(lambda: put(cache, MODEL, PIN))
    assert resolve(MODEL).revision == PIN and len(requests) == 1
    requests = hub(lambda: snapshot)
    (snapshot / "config.json").unlink()
    with pytest.raises(WeightsMissing, match=f"{PIN} lacks config.json; the hub has no more of it"):  # the commit itself has no such file
        resolve(MODEL)


def test_an_incomplete_folder_is_not_passed_over(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, MODEL, PIN)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    (model(tmp_path / "mini") / "config.json").unlink()
    with pytest.raises(WeightsMissing, match=r"mini lacks config.json; complete it, or take it away"):
        resolve(MODEL)


def test_a_complete_pipeline_has_no_faults(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    assert weightfiles.faults(folder) == []
    patterns = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors")
    assert weightfiles.faults(folder, patterns) == []
    for spare in ("README.md", "all-in-one.ckpt", "unet/model.fp16.safetensors", ".cache/x.safetensors"):
        (folder / spare).parent.mkdir(exist_ok=True)
        (folder / spare).write_text("not read")
    assert weightfiles.faults(folder) == []
    assert len(weightfiles.needed(folder, (), {})) == 9


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda f: (f / "vae" / "model.safetensors").unlink(), "lacks vae/*.safetensors"),
        (lambda f: (f / "vae" / "model.safetensors").rename(f / "vae" / "model.fp16.safetensors"), "lacks vae/*.safetensors"),
        (lambda f: (f / "vae" / "config.json").unlink(), "lacks vae/config.json"),
        (lambda f: (f / "unet" / "part-2.safetensors").unlink(), "lacks unet/part-2.safetensors"),
        (lambda f: (f / "tokenizer" / "tokenizer_config.json").unlink(), "lacks tokenizer/"),
        (lambda f: (f / "model_index.json").unlink(), "lacks model_index.json or config.json"),
        (lambda f: (f / "model_index.json").write_text("{"), "model_index.json is damaged"),
        (
            lambda f: (f / "model_index.json").write_text('{"../x": ["a", "b"]}'),
            "model_index.json names a part outside of the folder: '../x'",
        ),
        (lambda f: (f / "model_index.json").write_text('{"..": ["a", "b"]}'), "model_index.json names a part outside of the folder: '..'"),
        (lambda f: (f / "unet" / "part.safetensors.index.json").write_text("[]"), "unet/part.safetensors.index.json is damaged"),
        (
            lambda f: (f / "unet" / "part.safetensors.index.json").write_text('{"weight_map": {"1": "../../x.safetensors"}}'),
            "unet/part.safetensors.index.json names a file outside of its folder",
        ),
        (lambda f: os.truncate(f / "vae" / "model.safetensors", 90), "vae/model.safetensors is damaged or cut off"),
        (
            lambda f: (f / "vae" / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"),
            "vae/model.safetensors is damaged or cut off",
        ),
        (lambda f: (f / "vae" / "model.safetensors").write_bytes(b""), "vae/model.safetensors is damaged or cut off"),
        (
            lambda f: (f / "vae" / "model.safetensors").rename(f / "vae" / "model.bin"),
            "vae/model.bin is a pickle without a pinned SHA-256",
        ),
    ],
)
def test_what_a_pipeline_lacks_is_named(tmp_path: Path, harm: Callable[[Path], Any], fault: str) -> None:
    folder = pipeline(tmp_path / "p")
    harm(folder)
    assert weightfiles.faults(folder) == [fault]


def test_patterns_say_which_parts_are_needed(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p")
    (folder / "vae" / "model.safetensors").unlink()
    assert weightfiles.faults(folder, ("model_index.json", "unet/*", "scheduler/*")) == []
    assert weightfiles.faults(folder, ("model_index.json", "*.json", "*.safetensors")) == ["lacks vae/*.safetensors"]
    assert weightfiles.faults(folder, ("unet/*.safetensors", "head/*.safetensors", "*/*.model")) == ["lacks head/*.safetensors"]


def test_real_pipeline_folders_are_complete(tmp_path: Path) -> None:
    from tests import tiny_models

    folder = tiny_models.stable_diffusion(tmp_path / "sd")
    found = resolve(custom(str(folder)))
    assert (found.path, found.origin) == (folder, "folder")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsMissing, match=r"weights .* \(a folder\): .* lacks vae/\*.safetensors"):
        resolve(custom(str(folder)))


# --- pickles ------------------------------------------------------------------------------------------------------------------


def test_a_pickle_needs_its_pinned_hash(tmp_path: Path) -> None:
    folder = model(tmp_path / "p")
    (folder / "model.safetensors").unlink()
    (folder / "model.bin").write_bytes(b"some pickle")
    digest = hashlib.sha256(b"some pickle").hexdigest()
    wanted = Pickled("mini", "owner/tiny", files=("config.json",), sha256=(("model.bin", digest),))
    assert resolve(wanted, folder).path == folder
    (folder / "model.bin").write_bytes(b"another pickle")
    with pytest.raises(RealbenchError, match=f"expected the SHA-256 {digest}, found {hashlib.sha256(b'another pickle').hexdigest()}"):
        resolve(wanted, folder)
    (folder / "model.bin").unlink()
    with pytest.raises(WeightsMissing, match=r"lacks model.bin"):
        resolve(wanted, folder)


def test_only_pinned_pickles_and_no_code_are_downloaded(cache: Path, hub: Hub) -> None:
    requests = hub(lost(no_route()))
    everything = Weights("all", "owner/all", PIN)
    pickled = Pickled("old", "owner/old", PIN, files=("unet/*",), sha256=(("unet/model.bin", "0" * 64),))
    for wanted in (everything, pickled):
        with pytest.raises(WeightsMissing):
            resolve(wanted)
    from huggingface_hub.utils import filter_repo_objects

    files = ["a.safetensors", "c.json", "t.model", "run.py", "b.bin", "unet/model.bin", "unet/x.ckpt", "unet/run.py", "unet/c.json", "u.md"]
    chosen = [
        list(filter_repo_objects(files, allow_patterns=one["allow_patterns"], ignore_patterns=one["ignore_patterns"])) for one in requests
    ]
    assert chosen == [["a.safetensors", "c.json", "t.model", "unet/c.json"], ["unet/model.bin", "unet/c.json"]]


def test_load_state_reads_safetensors_and_pinned_pickles(tmp_path: Path) -> None:
    import torch

    state = {"w": torch.arange(6.0).reshape(2, 3)}
    save_file({"w": state["w"].numpy()}, tmp_path / "m.safetensors")
    torch.save(state, tmp_path / "m.pth")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "nested.ckpt")
    for name in ("m.safetensors", "m.pth", "nested.ckpt"):
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        loaded = weights.load_state(tmp_path / name, digest.upper())
        assert list(loaded) == ["w"] and torch.equal(loaded["w"], state["w"])
        with pytest.raises(RealbenchError, match=f"{name}: expected the SHA-256 {'0' * 64}, found {digest}"):
            weights.load_state(tmp_path / name, "0" * 64)
    assert torch.equal(weights.load_state(tmp_path / "m.safetensors")["w"], state["w"])


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def test_load_state_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save({"w": Evil()}, "evil.pt")
    digest = hashlib.sha256(Path("evil.pt").read_bytes()).hexdigest()
    with pytest.raises(RealbenchError, match=f"only with a pinned SHA-256, and none is given.*{digest}"):
        weights.load_state(Path("evil.pt"))
    with pytest.raises(RealbenchError, match="cannot be read"):
        weights.load_state(Path("evil.pt"), digest)
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("m.safetensors", b"short", "cannot be read"),
        ("m.npz", b"", "found .npz"),
        ("m", b"", "found no ending"),
    ],
)
def test_load_state_refuses_other_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RealbenchError, match=message):
        weights.load_state(tmp_path / name)


def test_load_state_refuses_what_is_no_tensors(tmp_path: Path) -> None:
    import torch

    torch.save([1, 2], tmp_path / "m.pt")
    with pytest.raises(RealbenchError, match="expected tensors by name"):
        weights.load_state(tmp_path / "m.pt", hashlib.sha256((tmp_path / "m.pt").read_bytes()).hexdigest())
    with pytest.raises(RealbenchError, match="found nothing there"):
        weights.load_state(tmp_path / "gone.pt")


# --- words ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    ["../x/y", "x/../y", "owner", "/etc/passwd", "a/b/c", "a//b", "-a/b", "a/-b", "a--b/c", "o/..", "o/.hidden", "o/x\n", "", "ö/x"],
)
def test_ids_cannot_lead_out_of_a_folder(tmp_path: Path, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "inner"))
    (tmp_path / "inner").mkdir()
    assert not huggingface.is_id(bad)
    with pytest.raises(UsageError, match="expected a"):
        resolve(Weights("../x", bad))


@pytest.mark.parametrize("bad", ["../../x", "a/../b", "", "-x", "a b"])
def test_revisions_cannot_either(bad: str) -> None:
    with pytest.raises(UsageError, match="as revision"):
        resolve(Weights("x", "owner/name", bad))


def test_short_names_cannot_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path / "outside")
    (tmp_path / "inner").mkdir()
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "inner"))
    assert status(Weights("../outside", "owner/name")).state == "missing"


def test_settings_are_folders_or_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (custom("owner/name").id, custom("owner/name").revision) == ("owner/name", "main")
    assert (custom("owner/name@v1.0").id, custom("owner/name@v1.0").revision) == ("owner/name", "v1.0")
    assert custom("owner/name", ("a",)).files == ("a",)
    model(tmp_path / "owner" / "name")
    folder = custom("owner/name")  # a folder comes first, and where it lies is no part of a fingerprint
    assert (folder.id, folder.revision) == ("", "")
    assert resolve(folder).origin == "folder"
    for bad in ("./nowhere/at/all", "sd9", "../x/y", "owner/other@../..", ""):
        with pytest.raises(UsageError):
            custom(bad)


# --- the command line ---------------------------------------------------------------------------------------------------------

METHODS = """
    from realbench.method import BaseMethod, MethodCard, Weights

    TINY = Weights("mini", "owner/tiny-model", "{pin}", "1.5 GB", "MIT", files=("config.json", "*.safetensors"))
    LOCKED = Weights("locked", "owner/locked", "{pin}", "30 GB", "Non-Commercial", gated=True)

    class One(BaseMethod):
        card = MethodCard(id="one", title="One", summary="Loads.", weights=(TINY,))
        def complete(self, task, seed, context): ...

    class Two(One):
        card = MethodCard(id="two", title="Two", summary="Loads too.", weights=(TINY, LOCKED))
"""
CLASSES = {"one": "One", "two": "Two", "torn": "NotThere"}


def command(*words: str, site: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    code = "from realbench.cli.weights import app; app()"
    done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def site(plugins: Plugins) -> Path:
    return plugins("methods", CLASSES, METHODS.format(pin=PIN)).parent


def test_the_list_shows_the_state_of_each(site: Path, cache: Path) -> None:
    put(cache, MODEL, PIN)
    done = command(site=site, cache=cache)
    assert done.returncode == 0
    lines = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
    mini = next(line for line in lines if line[0] == "mini")
    assert mini[1:6] == ["present", PIN[:12], "0.0 MB", "MIT", "one, two"] and mini[6].startswith("hub cache")
    locked = next(line for line in lines if line[0] == "locked")
    assert locked[1:] == ["missing", "30 GB", "Non-Commercial (gated)", "two", f"owner/locked @ {PIN[:12]}"]
    assert "realbench weights pull NAME" in done.stdout
    assert "torn" in done.stderr  # a plug-in that cannot be read is said, and hides nothing
    assert command("list", site=site, cache=cache).stdout == done.stdout

    (cache / "models--owner--tiny-model" / "snapshots" / PIN / "model.safetensors").unlink()
    assert re.search(r"mini +incomplete: lacks \*.safetensors", command(site=site, cache=cache).stdout)


def test_pull_ends_with_6_when_something_cannot_be_had(site: Path, cache: Path) -> None:
    put(cache, MODEL, PIN)
    done = command("pull", "mini", site=site, cache=cache)
    assert done.returncode == 0 and f"mini: here already (hub cache, {PIN})" in done.stdout
    done = command("pull", "locked", "mini", site=site, cache=cache)
    assert done.returncode == 6
    assert "error: weights locked (owner/locked @" in done.stderr and "of two are not on this machine: HF_HUB_OFFLINE" in done.stderr
    assert "mini: here already" in done.stdout  # the others are still looked after
    done = command("pull", "minni", site=site, cache=cache)
    assert done.returncode == 2 and "did you mean mini?" in done.stderr


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("minni", "did you mean mini?"),
        ("zzz", "or a hub id owner/name"),
        ("two", "'two' is no weights; it uses locked, mini"),
        ("../x", "unknown weights"),
        ("", "unknown weights ''"),  # those of packages have no id either
        (" ", "unknown weights"),
    ],
)
@pytest.mark.usefixtures("site")
def test_unknown_names_are_explained(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        weights.named([word])


def test_pull_verifies_what_the_cache_holds(cache: Path) -> None:
    snapshot = put(cache, MODEL, PIN)
    assert weights.pull(MODEL).path == snapshot
    blob = (snapshot / "model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1  # one bit of one value
    blob.write_bytes(data)
    with pytest.raises(WeightsMissing, match=f"model.safetensors is damaged: delete .*{blob.name} and pull again"):
        weights.pull(MODEL)


@pytest.mark.usefixtures("site")
def test_names_of_cards() -> None:
    assert weights.named(["mini", "owner/tiny-model", "mini"]) == [MODEL]
    assert weights.named(["o/x@v2"]) == [Weights("o/x@v2", "o/x", "v2")]
    assert {"owner/tiny-model", "owner/locked"} <= {item.id for item in weights.named(["all"])}
