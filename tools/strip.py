"""Draw the README's picture: one scene of the embedded suite, filled by some methods.

python tools/strip.py docs/images/strip.png [--scene coffee] [--method reference-warp …]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import realbench
from realbench.store import RunFolder, finished

METHODS = ("mean-color", "telea", "patchmatch", "reference-warp")


def main() -> None:
    """Run the methods on one scene and draw reference, target, fills and truth side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scene", default="coffee")
    parser.add_argument("--method", nargs="+", default=METHODS)
    asked = parser.parse_args()
    scene = realbench.open_suite("demo").load(asked.scene)
    assert scene.truth is not None
    with tempfile.TemporaryDirectory() as folder:
        realbench.run(asked.method, scene=[asked.scene], metrics=["psnr"], out=folder)
        results = realbench.load_run(folder)
        psnr = results.scores().set_index("label")["value"]
        run = RunFolder(Path(folder))
        fills = {cell.label: np.asarray(Image.open(run.cell(cell) / "fill.png")) for cell, _ in finished(run, run.read_manifest())}
    target = np.where(scene.mask[..., None], np.uint8(255), scene.target)
    pictures = {"reference": scene.references[0], "target": target}
    pictures |= {f"{label}\n{psnr[label]:.1f} dB": fill for label, fill in fills.items()} | {"truth": scene.truth}
    draw(pictures, asked.out)


def draw(pictures: dict[str, np.ndarray], out: Path) -> None:
    """One row of titled pictures."""
    ratios = [picture.shape[1] / picture.shape[0] for picture in pictures.values()]
    figure, axes = plt.subplots(1, len(pictures), figsize=(1.9 * sum(ratios), 2.5), width_ratios=ratios, layout="constrained")
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=9, va="bottom")
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(out, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
