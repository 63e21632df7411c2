"""The worked example of docs/methods.md, run as it stands there, with stand-ins for the public code's two scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realbench import bench
from realbench.results import load_run
from tests.isolating import PYTHON

ROOT = Path(__file__).resolve().parents[2]
LINES = 30

TRAIN = """
import argparse, json
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("pretrained_model_name_or_path", "train_data_dir"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--output_dir", default="realfill-model")
for name in ("seed", "max_train_steps", "train_batch_size", "lora_rank", "lora_alpha"):
    parser.add_argument(f"--{name}", type=int)
parser.add_argument("--lora_dropout", type=float, default=0.0)
words = parser.parse_args()
data = Path(words.train_data_dir)
assert (data / "target" / "target.png").exists() and (data / "target" / "mask.png").exists()
learned = {"references": len(list((data / "ref").iterdir())), **vars(words)}
for part in ("unet", "text_encoder", "vae", "checkpoint-500"):
    (Path(words.output_dir) / part).mkdir(parents=True)
    (Path(words.output_dir) / part / "model.json").write_text(json.dumps(learned))
"""
INFER = """
import argparse, json, os, struct, zlib
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("model_path", "validation_image", "validation_mask"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--output_dir", default="./test-infer/")
parser.add_argument("--seed", type=int, default=None)
words = parser.parse_args()
learned = json.loads((Path(words.model_path) / "unet" / "model.json").read_text())
assert (Path(words.model_path) / "text_encoder").exists() and Path(words.validation_mask).exists()
assert not (Path(words.model_path) / "vae").exists() and not (Path(words.model_path) / "checkpoint-500").exists()
width, height = struct.unpack(">II", Path(words.validation_image).read_bytes()[16:24])
os.makedirs(words.output_dir, exist_ok=True)
for number in range(16):
    colour = bytes([words.seed, number, 10 * learned["seed"] + learned["references"]])
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head, rows = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), (b"\\\\0" + colour * width) * height
    image = b"\\\\x89PNG\\\\r\\\\n\\\\x1a\\\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    Path(words.output_dir, f"{number}.png").write_bytes(image)
""".replace("\\\\", "\\")


def shown(name: str) -> str:
    """The block of docs/methods.md that is marked as an example's file."""
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    found = re.findall(rf"<!-- example {re.escape(name)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_example_is_short() -> None:
    commands = 2
    assert sum(len(list(filter(None, shown(name).splitlines()))) for name in ("method.toml", "run.py")) + commands <= LINES


def test_the_example_gets_a_row(tmp_path: Path, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "realfill"
    folder.mkdir()
    recipe = shown("method.toml")
    assert recipe.count('python = "3.10"') == 1
    (folder / "method.toml").write_text(recipe.replace('python = "3.10"', f'python = "{PYTHON}"'))
    (folder / "run.py").write_text(shown("run.py"))
    for name, text in (("train_realfill.py", TRAIN), ("infer.py", INFER), ("requirements.txt", "")):
        (folder / name).write_text(text)
    words = ["isolated.method=" + str(folder), "RealFill-public.steps=3"]
    out = tmp_path / "run"
    summary = bench.run(
        ["isolated=RealFill-public"], scenes=suite, scene=["a"], metrics=["psnr"], settings=words, seeds="14-17", fits=2, out=out
    )
    assert summary.exit_code == 0 and summary.fills["ok"] == 8
    cells = load_run(out).cells()
    assert set(cells["label"]) == {"RealFill-public"} and set(cells["seed"]) == {14, 15, 16, 17} and set(cells["fit"]) == {0, 1}
    for fit in (0, 1):
        (state,) = out.glob(f"RealFill-public-*/a/fit-{fit}/state/file-00001")
        learned = json.loads(state.read_text())
        assert (learned["references"], learned["seed"], learned["max_train_steps"], learned["lora_rank"]) == (2, fit, 3, 8)
        for seed in (14, 15, 16, 17):
            (path,) = out.glob(f"RealFill-public-*/a/fit-{fit}/seed-{seed:05d}/raw.png")
            assert tuple(np.asarray(Image.open(path))[0, 0]) == (seed // 16, seed % 16, 10 * fit + 2)
    assert load_run(out).scores()["value"].notna().sum() == 8
