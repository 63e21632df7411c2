"""Write a small random diffusers folder, to see the diffusion methods' machinery work without weights (it shows nothing about quality).

python tools/random_backbone.py stable_diffusion FOLDER
realbench run --method realfill --set realfill.backbone=FOLDER --set steps=4 --set inference_steps=4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import tiny_models


def main() -> None:
    """Build one of the architectures that the tests use."""
    kinds = [name for name in ("stable_diffusion", "stable_diffusion_xl", "paint_by_example") if hasattr(tiny_models, name)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    print(getattr(tiny_models, asked.kind)(asked.folder))


if __name__ == "__main__":
    main()
