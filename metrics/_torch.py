"""What the metrics on torch share: images uploaded once, models loaded once, answers remembered, portions that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from realbench.metric import Batch, Source
from realbench.portion import Portion

if TYPE_CHECKING:
    from realbench.image import UInt8Image

T = TypeVar("T")

_memory: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()
_models: dict[Hashable, tuple[Any, int]] = {}


def remembered(owner: object, key: Hashable, work: Callable[[], T]) -> T:
    """The result of `work`, computed once for as long as `owner` (a Batch, a Scene) lives: what one metric computes serves the others."""
    known = _memory.setdefault(owner, {})
    if key not in known:
        known[key] = work()
    found: T = known[key]
    return found


def upload(images: Sequence[UInt8Image], device: str) -> torch.Tensor:
    """N images of one size, each H×W×3, as uint8 N×3×H×W on the device."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.to(device).permute(0, 3, 1, 2).contiguous()


def fills(batch: Batch, source: Source, device: str) -> torch.Tensor:
    """The batch's images as uint8 N×3×H×W on the device; not to be changed."""
    return remembered(batch, ("fills", source, device), lambda: upload(batch.images(source), device))


def one(owner: object, name: str, image: UInt8Image, device: str) -> torch.Tensor:
    """One image of a scene, `name` (`truth`, `reference 0`), as uint8 1×3×H×W on the device; not to be changed."""
    return remembered(owner, ("image", name, device), lambda: upload([image], device))


def borrow(key: Hashable, load: Callable[[], T]) -> T:
    """A model that several metrics share, loaded by the first; each borrower gives it back once."""
    model, users = _models[key] if key in _models else (load(), 0)
    _models[key] = model, users + 1
    found: T = model
    return found


def give_back(key: Hashable) -> None:
    """The last borrower frees the model's memory."""
    model, users = _models.pop(key)
    if users > 1:
        _models[key] = model, users - 1
    elif torch.cuda.is_available():
        del model
        torch.cuda.empty_cache()


@contextmanager
def exact() -> Iterator[None]:
    """No gradients, and float32 that is float32 everywhere: no TF32 or bfloat16 inside products, no search for the fastest kernel.

    Whatever other code of this process has set is set again afterwards.
    """
    with torch.inference_mode(), ExitStack() as stack:
        for owner, name, value in _settings():
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def _settings() -> list[tuple[Any, str, Any]]:
    backends: Any = torch.backends
    found = [(backends.cudnn, "benchmark", False), (backends.cudnn, "deterministic", True)]
    if hasattr(backends.cuda.matmul, "fp32_precision"):
        kernels = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
        return found + [(kernel, "fp32_precision", "ieee") for kernel in kernels]
    return [*found, (backends.cuda.matmul, "allow_tf32", False), (backends.cudnn, "allow_tf32", False)]


def portion(what: str, pixels_of_one: int, pixels_at_a_time: int) -> Portion:
    """As many images as `pixels_at_a_time` allows, at least one; halved when a GPU runs out of memory."""
    return Portion(max(1, pixels_at_a_time // max(1, pixels_of_one)), what)


def in_portions(work: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, size: Portion) -> torch.Tensor:
    """`work` on N images, a portion at a time; the answers joined along the first axis."""

    def run() -> torch.Tensor:
        return torch.cat([work(images[part]) for part in size.parts(len(images))])

    return size.attempt(run)
