"""One command for the whole recipe: photographs, autoencoder, U-Net, decoder, export, a quick look.

python -m tools.train_tiny --work build/tiny --photos ../shared/photos --debian build/lomiri-wallpapers-16.04

Everything is kept in the work folder; the same command goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import card, evaluate, export, vae
from .data import Library, Pool, Source, sources
from .unet import Plan, Trainer

STEPS = ("unet", "refine", "export", "evaluate")


def main() -> None:
    """Run the steps that were asked for, in order."""
    asked = _parser().parse_args()
    torch.set_num_threads(asked.threads)
    asked.work.mkdir(parents=True, exist_ok=True)
    found = sources(asked.photos, asked.debian)
    library = Library.load(found)
    print(f"{len(library.levels)} photographs, {len(library.names)} classes", flush=True)
    autoencoder = opened(asked.work, library)
    plan = Plan(samples=asked.samples)
    if "unet" in asked.step:
        together(asked, library, vae.linear(autoencoder), plan)
    if "refine" in asked.step:
        vae.refine(autoencoder, Pool(library, 128, 1000, seed=7), asked.refine_minutes * 60, asked.work / "decoder.pt", asked.device)
    if "export" in asked.step:
        exported(asked.work, found, library, autoencoder, plan)
    if "evaluate" in asked.step:
        looked_at(asked)


def opened(work: Path, library: Library) -> Any:
    """The autoencoder: the photographs' PCA, computed once, with the decoder as far as it has been refined."""
    path, decoder = work / "patches.pt", work / "decoder.pt"
    if not path.is_file():
        torch.save(vae.statistics(library, seed=0), path)
    autoencoder = vae.build(*torch.load(path, weights_only=True))
    if decoder.is_file():
        autoencoder.decoder.load_state_dict(torch.load(decoder, weights_only=True))
    return autoencoder


def together(asked: argparse.Namespace, library: Library, encoder: Any, plan: Plan) -> None:
    """Train in this process and in `workers` - 1 others: on busy CPU cores they never wait for each other, as threads would."""
    trainer = Trainer(asked.work, library, encoder, plan, asked.device)
    others: list[Any] = []
    if asked.workers > 1:
        tensors = trainer.shared()
        context = torch.multiprocessing.get_context("spawn")
        others = [
            context.Process(target=_other, args=(rank, asked, encoder, plan, tensors), daemon=True) for rank in range(1, asked.workers)
        ]
        for process in others:
            process.start()
    try:
        trainer.run(asked.hours * 3600)
    finally:
        for process in others:
            process.terminate()
            process.join()


def _other(rank: int, asked: argparse.Namespace, encoder: Any, plan: Plan, tensors: list[torch.Tensor]) -> None:
    torch.set_num_threads(asked.threads)
    library = Library.load(sources(asked.photos, asked.debian))
    trainer = Trainer(asked.work, library, encoder, plan, asked.device, rank)
    trainer.adopt(tensors)
    trainer.run(asked.hours * 3600)


def exported(work: Path, found: list[Source], library: Library, autoencoder: Any, plan: Plan) -> None:
    """Write `export`/inpaint and `export`/example in the work folder, from the averaged weights."""
    trainer = Trainer(work, library, vae.linear(autoencoder), plan)
    nets = trainer.averaged()
    counts = {name: sum(value.numel() for value in net.parameters()) for name, net in {**nets, "autoencoder": autoencoder}.items()}
    rng = np.random.default_rng(11)
    crops = np.stack([library.crop(int(rng.integers(len(found))), 128, rng) for _ in range(64)])
    facts = card.Facts(trainer.done, trainer.step, float(trainer.counts[2]), counts, vae.psnr(autoencoder, crops))
    text, credit = card.write(facts, found, work / "losses.csv")
    export.folders(work / "export", nets, trainer.tokenizer, autoencoder, text, credit)
    print(f"exported after {trainer.done} samples", flush=True)


def looked_at(asked: argparse.Namespace) -> None:
    """Print how the exported model compares with simple fills on photographs that are for evaluation only."""
    for line in evaluate.compare(asked.work / "export" / export.INPAINT, asked.photos, asked.look, asked.work / "evaluation"):
        print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train_tiny", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="where everything is kept")
    parser.add_argument(
        "--photos", type=Path, required=True, help="a folder of photographs, with photos.csv (file, source, licence, class) beside it"
    )
    parser.add_argument("--debian", type=Path, help="an unpacked lomiri-wallpapers-16.04 (dpkg-deb -x)")
    parser.add_argument("--step", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--samples", type=int, default=Plan.samples, help="crops that the U-Net sees in all")
    parser.add_argument("--hours", type=float, default=24.0, help="most time for the U-Net in this run")
    parser.add_argument("--refine-minutes", type=float, default=20.0, help="time for the decoder in this run")
    parser.add_argument("--workers", type=int, default=1, help="processes that train the U-Net together (CPU)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--look", type=int, default=50, help="photographs for the step evaluate")
    return parser


if __name__ == "__main__":
    main()
