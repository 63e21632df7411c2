"""Is it an inpainter? Photographs that are for evaluation only, under thick random masks, as a suite of scenes; filled and scored."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from .masks import rectangles, strokes

SIDE = 256
THICK = (0.2, 0.4)
"""Least and most of an image that a thick mask covers."""


def photographs(photos: Path, count: int, out: Path, seed: int = 0) -> Path:
    """A suite of photographs whose licence in `photos`.csv says evaluation: their middle 256 px under a thick random mask.

    The reference that the layout asks for is another of them; the methods measured here read none. What exists is kept.
    """
    with photos.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "evaluation" in row["licence"]]
    rng = np.random.default_rng(seed)
    chosen = [photos / rows[index]["file"] for index in np.sort(rng.permutation(len(rows))[:count])]
    for path, other in zip(chosen, [*chosen[1:], chosen[0]], strict=True):
        mask = thick(rng)
        scene = out / path.stem
        if scene.is_dir():
            continue
        new = out / f".{path.stem}"
        shutil.rmtree(new, ignore_errors=True)
        (new / "target").mkdir(parents=True)
        (new / "ref").mkdir()
        Image.fromarray(mask).save(new / "target" / "mask.png")
        shutil.copyfile(other, new / "ref" / f"0{other.suffix}")
        middle = _middle(path)
        middle.save(new / "target" / "target.png")
        middle.save(new / "target" / "gt.png")
        new.rename(scene)
    return out


def compare(backbone: Path, photos: Path, count: int, out: Path) -> list[str]:
    """The model in a folder beside simple fills: one line a row with its mean of each metric."""
    import realbench

    suite = photographs(photos, count, out / f"photographs-{count}")
    methods, settings = ("prompt-inpaint", "telea", "mean-color"), [f"prompt-inpaint.backbone={backbone}"]
    realbench.run(methods, scenes=suite, metrics=("psnr", "lpips", "lpips-full"), settings=settings, out=out / "run")
    means = realbench.load_run(out / "run").scores().groupby(["label", "metric"], sort=False)["value"].mean()
    labels = dict.fromkeys(label for label, _ in means.index)
    return [f"{label:24s} " + ", ".join(f"{metric} {value:.4f}" for metric, value in means[label].items()) for label in labels]


def thick(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A thick random mask over 20–40 % of the image."""
    while True:
        mask = (rectangles, strokes)[rng.integers(2)](SIDE, rng)
        if THICK[0] <= mask.mean() <= THICK[1]:
            return mask


def _middle(path: Path) -> Image.Image:
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    left, top = (rgb.width - SIDE) // 2, (rgb.height - SIDE) // 2
    return rgb.crop((left, top, left + SIDE, top + SIDE))
