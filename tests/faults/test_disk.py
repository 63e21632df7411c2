"""Disks that are full or cannot be written: real ones (a small tmpfs) where mounting is permitted, emulated ones everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realbench.errors import RealbenchError, UsageError
from tests.faults.disturbing import Disturbed, Ground
from tests.faults.wrapping import Wrapped

Mount = Callable[[Path, str], None]


def permitted(folder: Path) -> bool:
    """Whether this process may mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.which("mount") is None or os.name != "posix":
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", folder], check=True)
    return done.returncode == 0


@pytest.fixture
def mount(ground: Ground) -> Iterator[Mount]:
    """mount(folder, options): a tmpfs there until the test ends; a second call changes its options."""
    if not permitted(ground.root / "try"):
        pytest.skip("mounting is not permitted here; the emulated disks cover the same ground")
    mounted: list[Path] = []

    def at(folder: Path, options: str) -> None:
        again = ["-o", f"remount,{options}"] if folder in mounted else ["-t", "tmpfs", "-o", options]
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *again, "tmpfs", folder], check=True)
        mounted.append(folder)

    yield at
    for folder in dict.fromkeys(mounted):
        subprocess.run(["umount", "-l", folder], check=True)


def ends_calmly(disturbed: Disturbed, before: dict[str, object]) -> None:
    disturbed.kept(before)
    disturbed.shown()
    disturbed.resume()


def finished(disturbed: Disturbed) -> dict[str, object]:
    from tests.faults import observing

    return dict(observing.finished(disturbed.out, disturbed.ground.calm))


@pytest.mark.parametrize("size", ["16k", "48k", "96k", "160k", "192k"])
def test_full_tmpfs(ground: Ground, mount: Mount, size: str) -> None:
    """A file system without room, then with room: what was finished stays, the rest is made."""
    disturbed = Disturbed(ground, ground.root / f"tmpfs-{size}")
    mount(disturbed.out, f"size={size}")
    with pytest.raises(RealbenchError, match=r"cannot be written|No space left on device"):
        ground.run(disturbed.out)
    before = finished(disturbed)
    assert len(before) < 40
    mount(disturbed.out, "size=8m")
    ends_calmly(disturbed, before)


@pytest.mark.parametrize("nth", [1, 4, 9, 20, 33, 47])
@pytest.mark.parametrize("op", ["open", "write", "mkdir"])
def test_full_emulated(ground: Ground, tmp_path: Path, op: str, nth: int) -> None:
    """From the n-th operation on, ENOSPC from a wrapper around the driver's file operations."""
    disturbed = Disturbed(ground, ground.root / f"full-{op}-{nth}")
    fault = {"op": op, "nth": nth, "do": "full", "rest": True}
    with Wrapped(disturbed.out, fault, tmp_path / "struck")(), pytest.raises(RealbenchError, match="No space left on device") as caught:
        ground.run(disturbed.out)
    assert str(disturbed.out) in str(caught.value) and (tmp_path / "struck" / "driver").exists()
    ends_calmly(disturbed, finished(disturbed))


def test_read_only_tmpfs(ground: Ground, mount: Mount) -> None:
    """A whole run on a file system that is then read-only: another run says so and leaves, what is there can be read."""
    disturbed = Disturbed(ground, ground.root / "tmpfs-read-only")
    mount(disturbed.out, "size=8m")
    ground.run(disturbed.out)
    before = finished(disturbed)
    mount(disturbed.out, "ro")
    with pytest.raises(UsageError, match=r"cannot be written .Read-only file system.; give another --out"):
        ground.run(disturbed.out)
    disturbed.kept(before)
    disturbed.shown()
    mount(disturbed.out, "rw")
    ends_calmly(disturbed, before)


@pytest.mark.parametrize("nth", [1, 4, 9, 20, 33])
@pytest.mark.parametrize("op", ["open", "mkdir", "replace"])
def test_read_only_emulated(ground: Ground, tmp_path: Path, op: str, nth: int) -> None:
    """From the n-th operation on, EROFS from a wrapper around the driver's file operations."""
    disturbed = Disturbed(ground, ground.root / f"read-only-{op}-{nth}")
    fault = {"op": op, "nth": nth, "do": "read-only", "rest": True}
    with Wrapped(disturbed.out, fault, tmp_path / "struck")(), pytest.raises(RealbenchError, match="Read-only file system"):
        ground.run(disturbed.out)
    ends_calmly(disturbed, finished(disturbed))


def test_full_temporary_folder_tmpfs(ground: Ground, mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for the folder of temporary files that each worker gets: the run says so."""
    disturbed = Disturbed(ground, ground.root / "tmpfs-temporary")
    mount(ground.root / "temporary", "size=64k,nr_inodes=1")
    monkeypatch.setattr("tempfile.tempdir", str(ground.root / "temporary"))
    with pytest.raises(RealbenchError, match=r"temporary.*: cannot be written .No space left on device"):
        ground.run(disturbed.out)
    monkeypatch.undo()
    ends_calmly(disturbed, finished(disturbed))
