"""The protocol of RealFill, as far as the paper states it, and the numbers it printed."""

from __future__ import annotations

from realbench.protocol import Open, Protocol, PublishedRow

REALFILL = "Tang et al., RealFill, arXiv 2309.16668v2"
TABLE_1 = f"{REALFILL}, Table 1"
TABLE_2 = f"{REALFILL}, Table 2"
HEADINGS = {"psnr": "PSNR ↑", "ssim": "SSIM ↑", "lpips": "LPIPS ↓", "dreamsim": "DreamSim ↓", "dino": "DINO ↑", "clip": "CLIP ↑"}


def _row(label: str, source: str, *values: float) -> PublishedRow:
    return PublishedRow(label, source, dict(zip(HEADINGS, values, strict=True)))


PAPER = Protocol(
    name="paper",
    source=REALFILL,
    methods=("prompt-inpaint:sd2", "paint-by-example:paper", "realfill:paper"),
    metrics=("psnr", "ssim", "lpips", "dreamsim", "dino", "clip", "matches:backend=loftr"),
    seeds="64",
    scenes=tuple(map(str, range(33))),
    data_set="RealBench",
    stated={
        "data": "RealBench: 33 scenes, 23 of them outpainting and 10 inpainting, each with 1 to 5 references",
        "methods": "SD Inpaint, Paint-by-Example RealFill; Generative Fill and TransFill have no adapter here; Paint-by-Example and "
        "TransFill get one random reference per run",
        "RealFill's training": "SD 2 inpainting; LoRA of rank 8 on U-Net and text encoder; 2,000 steps of 16 images; rates 2e-4 and 4e-5; "
        "prompt `a photo of [V]`; prompt, mask and LoRA layers dropped with p = 0.1; random rectangles as masks; the target's loss where "
        "it is known",
        "RealFill's sampling": "DDPM, 200 steps, guidance 1, then the mask is feathered and the fill alpha-composited",
        "seeds": "64 samples a scene; the mean over them, then over scenes",
        "metrics in the hole": "PSNR, SSIM, LPIPS",
        "metrics of the full image": "DreamSim; DINO (v1) and CLIP as cosine similarity with the truth",
        "seed selection": "samples are ranked by the number of correspondences (e.g. LoFTR) between references and the filled region; the "
        "lowest 25, 50 or 75 % are dropped",
    },
    left_open=(
        Open("PSNR: peak and normalisation", metric="psnr"),
        Open("SSIM: window, and how it is restricted to the hole", metric="ssim"),
        Open("LPIPS: net, and how it is restricted to the hole", metric="lpips"),
        Open("DreamSim: which model", metric="dreamsim"),
        Open("DINO: which model, and how images are prepared", metric="dino"),
        Open("CLIP: which model, and how images are prepared", metric="clip"),
        Open("matches: weights, threshold, size, verification, and how references combine", metric="matches"),
        Open("evaluation size", "the target's own; nothing is resized but by a metric whose signature says so"),
        Open(
            "composited or raw",
            "composites of every method, by one rule (image:composite in the signatures); raw fills are kept beside them",
        ),
        Open("which seeds (a fill depends on scene, fit and seed alone)", repeats="seeds"),
        Open("ties and seeds without a match score", "equal counts go to the lower seed; a seed without a count ranks last, and is told"),
        Open("fits", repeats="fits"),
        Open(
            "RealFill: LoRA's layers and alpha (0: the rank), the rates' schedule and warm-up, clipping, crops, sizes of rectangles, size",
            method="realfill",
            settings=("layers", "alpha", "schedule", "warmup", "clip", "crop", "masks", "size"),
        ),
        Open("RealFill: which text stands for [V]", method="realfill", settings=("prompt",)),
        Open(
            "SD Inpaint: prompt (a scene's own goes first), sampling",
            method="prompt-inpaint",
            settings=("prompt", "steps", "guidance", "strength", "size"),
        ),
        Open("Paint-by-Example: sampling", method="paint-by-example", settings=("steps", "guidance", "size")),
        Open(
            "Paint-by-Example: what one run is, with its one random reference (0: every sample draws its own)",
            method="paint-by-example",
            settings=("reference",),
        ),
        Open("where SD 2 inpainting comes from", "the mirror sd2-community/stable-diffusion-2-inpainting: the original was taken down"),
        Open("floating-point type", "each method's own for the device, or --dtype; metrics in float32; recorded with every number"),
    ),
    table=HEADINGS,
    published=(
        PublishedRow("SD Inpaint", TABLE_1, method="prompt-inpaint"),
        _row("Generative Fill", TABLE_1, 10.92, 0.311, 0.598, 0.212, 0.851, 0.898),
        PublishedRow("Paint-by-Example", TABLE_1, method="paint-by-example"),
        _row("TransFill", TABLE_1, 13.28, 0.404, 0.542, 0.192, 0.860, 0.866),
        PublishedRow("RealFill, all seeds", TABLE_1, method="realfill"),
        _row("RealFill, worst 25 % filtered", TABLE_2, 15.01, 0.427, 0.421, 0.066, 0.955, 0.967),
        _row("RealFill, worst 50 % filtered", TABLE_2, 15.05, 0.427, 0.418, 0.063, 0.958, 0.969),
        _row("RealFill, worst 75 % filtered", TABLE_2, 15.10, 0.427, 0.417, 0.060, 0.961, 0.970),
        _row("GeoComplete", "arXiv 2510.03110, protocol not stated", 17.32, 0.578, 0.197, 0.036, 0.986, 0.987),
    ),
    caution="The measured and the published numbers stand in two tables because they do not compare. The paper does not say which net "
    "LPIPS uses nor how it is kept to the hole (RealFill's 0.431 becomes 0.22 to 0.25 where others multiply both images by the mask "
    "and do not renormalise), nor SSIM's window, DINO's and CLIP's variants, the size images are scored at, or whether composites are "
    "scored. Even PSNR in the hole differs by 4.77 dB, or by 10·log10 of the hole's share, between formulas in public use.",
)
