"""python -m realbench.metrics._dreamsim_convert MODEL FOLDER: lets dreamsim load its weights, and writes them as safetensors.

dreamsim downloads its release from GitHub, unpickles it, and runs code from torch.hub: run this where you accept that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def main(model: str, folder: str) -> None:
    """Convert one of dreamsim's models."""
    from dreamsim import dreamsim

    from ._dreamsim import convert

    with TemporaryDirectory() as cache:
        network, _ = dreamsim(pretrained=True, device="cpu", cache_dir=cache, dreamsim_type=model)
        print(convert(network, Path(folder)))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
