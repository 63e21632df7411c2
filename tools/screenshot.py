"""Take the README's picture of a report: the first page of a run of the embedded suite, by headless Chromium.

python tools/screenshot.py docs/images/report.png                           # runs CPU methods on the embedded suite first
python tools/screenshot.py docs/images/report.png --run runs/mine [--dark] [--width 1280] [--height 1400]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import realbench

METHODS = ("reference-warp", "patchmatch", "telea", "navier-stokes", "nearest-reference", "mean-color", "ground-truth")
METRICS = ("psnr", "ssim", "psnr-full", "seam", "matches")
SEEDS = 4


def main() -> None:
    """Run what is to be shown, unless there is a run; write its report; look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--method", nargs="+", default=METHODS)
    parser.add_argument("--metric", nargs="+", default=METRICS)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1400)
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium: `apt-get install chromium`")
    with tempfile.TemporaryDirectory() as folder:
        run = asked.run or Path(folder) / "demo"
        if asked.run is None:
            realbench.run(asked.method, metrics=asked.metric, seeds=SEEDS, out=run)
        page = realbench.write_reports(realbench.load_run(run), Path(folder) / "report", ["html"])[0]
        look(chromium, page, asked.out, (asked.width, asked.height), asked.dark)


def look(chromium: str, page: Path, out: Path, size: tuple[int, int], dark: bool) -> None:
    """What a reader sees first, as a small PNG."""
    options = ["--headless=new", "--disable-gpu", "--hide-scrollbars", f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=5000"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    shot = page.with_suffix(".png")
    subprocess.run(
        [chromium, *options, f"--screenshot={shot}", page.absolute().as_uri()], check=True, stderr=subprocess.DEVNULL, timeout=120
    )
    with Image.open(shot) as picture:
        picture.convert("RGB").save(out, optimize=True)


if __name__ == "__main__":
    main()
