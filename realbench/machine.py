"""What this machine is, for records, and which device a stage gets."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from realbench.errors import UsageError

LIBRARIES = ("realbench", "numpy", "scipy", "opencv-python-headless", "scikit-image", "pillow", "onnxruntime")
TORCH_LIBRARIES = (
    *("torch", "torchvision", "diffusers", "transformers", "peft"),
    *("kornia", "lpips", "torchmetrics", "open_clip_torch", "timm", "dreamsim"),
)


def resolve_device(asked: str, torch_based: bool) -> str:
    """The torch device of a stage: `auto` takes a GPU where there is one; work without torch is on the `cpu`.

    Raises UsageError when the device asked for is not there: nothing falls back silently.
    """
    if not torch_based:
        return "cpu"
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=asked)
    except Exception as error:
        raise UsageError(f"device {asked!r} is not available here ({str(error).splitlines()[0]}); use --device auto or cpu") from error
    return asked


@cache
def _environment(device: str, dtype: str, threads: int, torch_loaded: bool) -> dict[str, Any]:
    libraries = LIBRARIES + TORCH_LIBRARIES if torch_loaded else LIBRARIES
    return {
        "device": device,
        "device_name": _device_name(device),
        "dtype": dtype,
        "threads": threads,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: found for name in libraries if (found := _version(name))},
    }


def environment(device: str, dtype: str, threads: int) -> dict[str, Any]:
    """Where and with what a number was made, as realbench.records.Environment holds it; asked for afterwards, it names what was loaded."""
    return dict(_environment(device, dtype, threads, "torch" in sys.modules))


def peak_memory() -> dict[str, int]:
    """Peak bytes: `host` of this process or of its largest child so far, `device` since reset_peak_memory where a GPU is in use."""
    peaks = {}
    if sys.platform != "win32":
        import resource

        scale = 1 if sys.platform == "darwin" else 1024
        usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        peaks["host"] = max(usages) * scale
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        peaks["device"] = int(torch.cuda.max_memory_allocated())
    return peaks


def reset_peak_memory() -> None:
    """Start a new account of the GPU's memory, where one is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return _processor()


@cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
