"""What `matches` can be told, what of it stands in the signature, and what is refused."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from realbench.composite import Feather
from realbench.errors import UsageError
from realbench.metrics.matches import Config, Matches
from realbench.plan import validate

COMMON = "matches|region:hole|image:composite|feather:4/512"
TAIL = "geometry:fundamental-magsac|epipolar:{}|vote:image|inset:0|count:matches|combine:sum|v:1"
SIGNATURES = [
    ("sift", f"backend:sift|features:4096|ratio:0.8|size:1024|resize:area|{TAIL.format(1.5)}"),
    ("xfeat", f"backend:xfeat|features:4096|detection:0.05|confidence:0.82|size:1024|resize:area/32|{TAIL.format(1.5)}"),
    (
        "aliked-lightglue",
        f"backend:aliked-lightglue|features:2048|detection:0.2|confidence:0.1|size:1024|resize:area|{TAIL.format(1.5)}",
    ),
    ("loftr", f"backend:loftr|weights:outdoor|confidence:0.2|size:840|resize:area/8|{TAIL.format(1.5)}"),
    (
        "loftr-coarse",
        f"backend:loftr-coarse|weights:teacher|confidence:0.2|size:640x480|resize:area+linear|fit:stretch|{TAIL.format(8)}",
    ),
]


@pytest.mark.parametrize(("backend", "signature"), SIGNATURES)
def test_signature_names_what_the_backend_has_and_no_more(backend, signature):
    assert Matches(Config(backend=backend)).signature(Feather()) == f"{COMMON}|{signature}"


def test_without_geometry_nothing_of_it_is_signed():
    signature = Matches(Config(geometry="none")).signature(Feather())
    assert (
        signature
        == f"{COMMON}|backend:sift|features:4096|ratio:0.8|size:1024|resize:area|geometry:none|inset:0|count:matches|combine:sum|v:1"
    )


OTHERS = [
    (
        "sift",
        {"features": 100, "ratio": 0.9, "size": 512, "geometry": "none", "epipolar": 3.0, "vote": "hole", "inset": 2.0, "combine": "mean"},
    ),
    ("xfeat", {"features": 100, "detection": 0.1, "confidence": 0.5, "size": 512, "count": "confidence"}),
    ("aliked-lightglue", {"features": 100, "detection": 0.1, "confidence": 0.5, "size": 512, "count": "confidence"}),
    ("loftr", {"confidence": 0.5, "size": 640, "count": "confidence"}),
    ("loftr-coarse", {"confidence": 0.5, "fit": "letterbox", "count": "confidence"}),
]


def test_every_field_of_every_backend_enters_the_signature():
    seen = {"backend", "weights", "sha256"}  # the last two have a test of their own
    for backend, changes in OTHERS:
        seen |= set(changes)
        signatures = {Matches(Config(backend=backend, **{name: value})).signature(Feather()) for name, value in changes.items()}
        assert len(signatures | {Matches(Config(backend=backend)).signature(Feather())}) == len(changes) + 1
    assert seen == {field.name for field in fields(Config)}


def test_own_weights_are_signed_by_content_not_by_place(tmp_path):
    def signed(path, backend="loftr", **more):
        return Matches(Config(backend=backend, weights=str(path), **more)).signature(Feather())

    one, same, other = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors"))
    for path, text in ((one, "x"), (same, "x"), (other, "y")):
        path.write_text(text)
    assert signed(one) == signed(same) == signed(one, sha256="0" * 64) != signed(other)
    assert "|weights:content " in signed(one)
    assert str(tmp_path) not in signed(one)
    with pytest.raises(UsageError, match="found none"):
        signed(tmp_path / "absent.onnx", "loftr-coarse")


def test_the_command_line_s_texts_and_a_worker_s_values_give_the_same_configuration():
    texts = {"backend": "xfeat", "features": "100", "confidence": "0.5", "inset": "2"}
    config = validate(Config, texts, "metric matches")
    assert config == Config(backend="xfeat", features=100, confidence=0.5, inset=2.0)
    assert validate(Config, asdict(config), "metric matches") == config


def test_weights_that_a_configuration_needs():
    names = {backend: [item.name for item in Matches.weights(Config(backend=backend))] for backend, _ in SIGNATURES}
    assert names == {
        "sift": [],
        "xfeat": ["xfeat"],
        "aliked-lightglue": ["aliked", "aliked-lightglue"],
        "loftr": ["loftr-outdoor"],
        "loftr-coarse": [],
    }
    assert Matches.weights(Config(backend="loftr", weights="folder")) == ()
    assert {item.name for item in Matches.card.weights} == {name for group in names.values() for name in group}


def test_only_backends_on_torch_take_the_device():
    assert [backend for backend, _ in SIGNATURES if Matches(Config(backend=backend)).card.torch] == ["xfeat", "aliked-lightglue", "loftr"]
    assert not Matches.card.torch


WRONG = [
    {"backend": "surf"},
    {"geometry": "affine"},
    {"combine": "median"},
    {"count": "pairs"},
    {"vote": "reference"},
    {"backend": "loftr-coarse", "fit": "crop"},
    {"size": 0},
    {"features": 0},
    {"ratio": 1.5},
    {"ratio": float("nan")},
    {"epipolar": 0.0},
    {"epipolar": float("nan")},
    {"inset": -1.0},
    {"backend": "xfeat", "confidence": 1.0},
    {"backend": "xfeat", "detection": -0.1},
]
NOT_APPLICABLE = [
    {"confidence": 0.5},
    {"count": "confidence"},
    {"backend": "xfeat", "ratio": 0.8},
    {"backend": "loftr", "features": 100},
    {"backend": "loftr-coarse", "size": 640},
    {"backend": "xfeat", "fit": "stretch"},
    {"backend": "xfeat", "weights": "folder"},
    {"geometry": "none", "epipolar": 2.0},
    {"geometry": "none", "vote": "hole"},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_are_refused(wrong):
    name, value = list(wrong.items())[-1]
    with pytest.raises(UsageError, match=f"matches: .*{name}") as error:
        Config(**wrong)
    assert str(value) in str(error.value)


@pytest.mark.parametrize("wrong", NOT_APPLICABLE)
def test_settings_of_another_backend_are_refused_with_those_there_are(wrong):
    with pytest.raises(UsageError, match=r"matches: (loftr-coarse|loftr|xfeat|sift) .*has no"):
        Config(**wrong)
