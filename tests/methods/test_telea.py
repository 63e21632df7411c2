from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from realbench.errors import Unsupported, UsageError
from realbench.method import Context
from realbench.methods.navier_stokes import NavierStokes
from realbench.methods.telea import Telea

PICTURE = cv2.resize(data.coffee(), (90, 60), interpolation=cv2.INTER_AREA)
BOTH = pytest.mark.parametrize(("method", "flag"), [(Telea, cv2.INPAINT_TELEA), (NavierStokes, cv2.INPAINT_NS)])


def mask_of(*boxes, shape=(60, 90)):
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


@BOTH
@pytest.mark.parametrize("radius", [1.0, 3.0, 7.5])
def test_a_hole_inside_is_filled_as_by_opencv(method, flag, radius, make_task) -> None:
    task = make_task(PICTURE, mask_of(np.s_[20:40, 30:55], np.s_[45, 12]))
    expected = cv2.inpaint(task.target, task.mask.astype(np.uint8), radius, flag)
    image, notes = method(method.Settings(radius=radius)).complete(task, 0, Context())
    assert (image == expected).all() and notes == () and image.flags.writeable
    if radius == 3.0:
        assert (method().complete(task, 0, Context())[0] == expected).all()
    else:
        assert (method().complete(task, 0, Context())[0] != expected).any()


@BOTH
@pytest.mark.parametrize(
    "mask",
    [
        mask_of(np.s_[:, :30]),
        mask_of(np.s_[:, 20:]),
        mask_of(np.s_[:25]),
        ~mask_of(np.s_[20:40, 30:60]),
        mask_of(np.s_[:30, :30], np.s_[1, 70]),
        ~mask_of(np.s_[7, 8]),
    ],
    ids=["left", "right", "top", "around", "corner", "all but one"],
)
def test_what_lies_in_a_hole_at_the_border_never_leaks_out(method, flag, mask, make_task) -> None:
    shown = PICTURE.copy()
    shown[mask] = (255, 0, 90)
    image = method().complete(replace(make_task(PICTURE, mask), target=shown), 0, Context())[0]
    assert (image == method().complete(make_task(PICTURE, mask), 0, Context())[0]).all()
    assert (image[~mask] == PICTURE[~mask]).all()


@BOTH
def test_under_a_full_mask_it_is_unsupported(method, flag, make_task) -> None:
    with pytest.raises(Unsupported, match="nothing is known"):
        method().complete(make_task(PICTURE, mask_of(np.s_[:])), 0, Context())


@BOTH
@pytest.mark.parametrize("radius", [0.0, -3.0, 100.5, float("nan"), float("inf")])
def test_a_radius_that_opencv_would_change_is_refused(method, flag, radius) -> None:
    with pytest.raises(UsageError, match="radius: expected 1 to 100"):
        method.Settings(radius=radius)
