"""The trained models of `matches` that no package carries; those of packages are in _packaged.py."""

from __future__ import annotations

from realbench.method import Weights

LOFTR = Weights(
    name="loftr-outdoor",
    id="kornia/loftr",
    size="46 MB",
    licence="Apache-2.0",
    files=("*.safetensors",),
)
"""LoFTR, outdoor, dual softmax. The hub's file is a pickle without a published SHA-256, so it is not read (docs/metrics.md)."""

COARSE_FILE = "LoFTR_teacher.onnx"
COARSE_SHA256 = "12bd1d845542e6ee4b54d9a5a9e5a8b0f0a499995f3fc8913c29a1cbc65e1134"
COARSE_URL = "https://github.com/Kolkir/Coarse_LoFTR_TRT/raw/7fd2a10cf92b015f5761004aeb1cae99372a5d46/weights/LoFTR_teacher.onnx"
"""1.8 MB. Nothing here downloads it: it is in no index and no hub."""
