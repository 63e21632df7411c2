"""The virtual camera: geometry, light and noise against values computed by hand."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import skimage.data
import tomli_w
from scipy.ndimage import map_coordinates

from realbench.camera import FOCAL, Ranges, Shot, draw, homography, overhang, photograph, project, record
from realbench.errors import UsageError

SOURCE_SIZE = (601, 401)
CENTRE = np.array([[300.0, 200.0]])
VIEW_SIZE = (241, 161)
F = FOCAL * 601


def flat(value, size=(120, 90)):
    return np.full((size[1], size[0], 3), value, np.uint8)


def light(level):
    return level / 255 / 12.92 if level / 255 <= 0.04045 else ((level / 255 + 0.055) / 1.055) ** 2.4


def level(amount):
    return 255 * (12.92 * amount if amount <= 0.0031308 else 1.055 * amount ** (1 / 2.4) - 0.055)


# --- geometry ---------------------------------------------------------------------------------------------------------------------

TAN5 = math.tan(math.radians(5))
COS30, SIN30 = math.cos(math.radians(30)), 0.5
GEOMETRY = [
    ("straight ahead", Shot(), CENTRE, (120, 80)),
    ("pan right moves the picture left", Shot(pan=5), CENTRE, (120 - F * TAN5, 80)),
    ("tilt down moves the picture up", Shot(tilt=5), CENTRE, (120, 80 - F * TAN5)),
    ("zoom spreads it", Shot(pan=5, zoom=2), CENTRE, (120 - 2 * F * TAN5, 80)),
    ("zoom about the axis", Shot(zoom=2), CENTRE + np.array([10, -7]), (140, 66)),
    ("roll turns the picture clockwise", Shot(roll=30), CENTRE + np.array([10, 0]), (120 + 10 * COS30, 80 + 10 * SIN30)),
    ("roll leaves the axis where it looks", Shot(tilt=5, roll=30), CENTRE + np.array([0, F * TAN5]), (120, 80)),
    ("a point at 5 degrees is where the panned camera looks", Shot(pan=5), CENTRE + np.array([F * TAN5, 0]), (120, 80)),
]


@pytest.mark.parametrize(("name", "shot", "point", "expected"), GEOMETRY, ids=[row[0] for row in GEOMETRY])
def test_where_a_point_goes(name, shot, point, expected):
    mapped = project(homography(shot, SOURCE_SIZE, VIEW_SIZE), point)
    assert mapped[0] == pytest.approx(expected, abs=1e-9)


def test_a_point_behind_the_camera_is_nowhere():
    matrix = homography(Shot(pan=80), SOURCE_SIZE, VIEW_SIZE)
    assert np.isinf(project(matrix, np.array([[-2e4, 200.0]]))).all()
    assert math.isinf(overhang(Shot(pan=89, zoom=0.05), SOURCE_SIZE, VIEW_SIZE))


def test_straight_ahead_is_the_centre_of_the_source():
    source = skimage.data.coffee()
    view = photograph(source, Shot(), (400, 300))
    np.testing.assert_array_equal(view, source[50:350, 100:500])


@pytest.mark.parametrize(("zoom", "size"), [(1.6, (241, 161)), (0.4, (131, 81))])
def test_pixels_lie_where_the_homography_says(zoom, size):
    """Against an independent resampling of an image too smooth for averaging to matter; a quarter pixel off would show."""
    y, x = np.mgrid[:401, :601]
    waves = [100 + 80 * np.sin(x / 37), 120 + 90 * np.cos(y / 29), 128 + 60 * np.sin((x + 2 * y) / 51)]
    source = np.stack(waves, axis=-1).round().astype(np.uint8)
    shot = Shot(pan=4, tilt=-3, roll=7, zoom=zoom)
    view = photograph(source, shot, size)
    rows, columns = np.mgrid[: size[1], : size[0]]
    back = np.linalg.inv(homography(shot, SOURCE_SIZE, size))
    points = project(back, np.column_stack([columns.ravel(), rows.ravel()]).astype(float))
    expected = np.transpose([map_coordinates(source[..., c].astype(float), points.T[::-1], order=1) for c in range(3)])
    assert view.shape == (size[1], size[0], 3)
    assert np.abs(view.reshape(-1, 3) - expected).max() < 1.02


def test_shrinking_averages_light_instead_of_skipping_pixels():
    """A fine chequerboard at about a quarter is grey of half the light: level 188."""
    board = (np.indices((400, 600)).sum(axis=0) % 2 * 255).astype(np.uint8)
    view = photograph(np.repeat(board[..., None], 3, axis=2), Shot(zoom=0.27), (150, 100)).astype(int)
    assert abs(view - level(0.5)).max() <= 6


BEYOND = [
    ("exactly the source", Shot(), (601, 401), 0.0),
    ("ten columns too wide", Shot(), (611, 401), 5.0),
    ("six rows too high", Shot(), (601, 407), 3.0),
    ("half the zoom sees twice as much", Shot(zoom=0.5), (601, 401), 601 / 2),
    ("well within", Shot(), (401, 301), -50.0),
]


@pytest.mark.parametrize(("name", "shot", "size", "pixels"), BEYOND, ids=[row[0] for row in BEYOND])
def test_overhang(name, shot, size, pixels):
    assert overhang(shot, SOURCE_SIZE, size) == pytest.approx(pixels, abs=1e-9)


def test_a_view_beyond_the_source_is_refused():
    with pytest.raises(UsageError, match=r"130 × 90 pixels reaches 5\.0 pixels beyond the source of 120 × 90"):
        photograph(flat(90), Shot(), (130, 90))
    assert photograph(flat(90), Shot(), (120, 90)).shape == (90, 120, 3)


# --- light ------------------------------------------------------------------------------------------------------------------------

LIGHT = [
    ("as it is", Shot(), (100, 100, 100)),
    ("one stop down", Shot(exposure=-1), (level(light(100) / 2),) * 3),
    ("half a stop up", Shot(exposure=0.5), (level(light(100) * math.sqrt(2)),) * 3),
    ("saturated", Shot(exposure=4), (255, 255, 255)),
    ("dark, on the linear foot", Shot(exposure=-7), (level(light(100) / 128),) * 3),
    ("warm", Shot(red=1.5, blue=0.5), (level(light(100) * 1.5), 100, level(light(100) / 2))),
    ("blur keeps a flat field", Shot(defocus=3), (100, 100, 100)),
]


@pytest.mark.parametrize(("name", "shot", "expected"), LIGHT, ids=[row[0] for row in LIGHT])
def test_exposure_and_white_balance_act_on_linear_light(name, shot, expected):
    view = photograph(flat(100), shot, (60, 40))
    assert np.abs(view - np.array(expected)).max() <= 0.51


def test_defocus_spreads_an_edge_by_its_sigma():
    """In linear light an edge between 0 and ½ becomes the Gaussian's integral: at one sigma, 84.1 % of ½."""
    source = flat(0)
    source[:, 60:] = 188
    view = photograph(source, Shot(defocus=4), (120, 90))
    at_sigma = np.interp(59.5 + 4, np.arange(120), [light(value) for value in view[45, :, 0]]) / light(188)
    assert at_sigma == pytest.approx(0.8413, abs=0.02)


# --- noise ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [30, 188])
def test_noise_grows_with_light(value):
    """Variance noise² · (light + 0.02), in linear light."""
    view = photograph(flat(value, (400, 300)), Shot(noise=0.02, seed=3), (400, 300))
    measured = np.vectorize(light)(view)
    assert measured.mean() == pytest.approx(light(value), rel=0.02)
    assert measured.std() == pytest.approx(0.02 * math.sqrt(light(value) + 0.02), rel=0.05)


def test_noise_differs_between_pixels_channels_and_seeds_but_not_between_calls():
    shot = Shot(noise=0.02, seed=3)
    view = photograph(flat(100), shot, (60, 40))
    assert len(np.unique(view[..., 0])) > 5
    assert (view[..., 0] != view[..., 1]).mean() > 0.5
    assert (view != photograph(flat(100), replace(shot, seed=4), (60, 40))).mean() > 0.5
    assert view.tobytes() == photograph(flat(100), shot, (60, 40)).tobytes()


# --- drawing ----------------------------------------------------------------------------------------------------------------------


def test_draws_lie_in_their_ranges_and_within_the_source():
    ranges = Ranges()
    shots = [draw(seed, SOURCE_SIZE, (400, 280)) for seed in range(200)]
    for shot in shots:
        assert overhang(shot, SOURCE_SIZE, (400, 280)) <= 0
        for part in fields(ranges):
            low, high = getattr(ranges, part.name)
            assert low <= getattr(shot, part.name) <= high
    for part in fields(ranges):
        low, high = getattr(ranges, part.name)
        drawn = [getattr(shot, part.name) for shot in shots]
        assert np.ptp(drawn) > 0.4 * (high - low), part.name
        assert len(set(drawn)) > 50, part.name
    assert [shot.seed for shot in shots] == list(range(200))
    assert shots == [draw(seed, SOURCE_SIZE, (400, 280)) for seed in range(200)]


def test_drawing_says_when_nothing_fits():
    with pytest.raises(UsageError, match=r"seed 7: no view of 601 × 401 .* within a source of 601 × 401"):
        draw(7, SOURCE_SIZE, (601, 401), Ranges(pan=(3, 8)))


def test_a_shot_comes_back_whole_from_toml():
    source = skimage.data.coffee()
    shot = draw(11, (600, 400), (320, 240))
    table = tomllib.loads(tomli_w.dumps(record(shot, (600, 400), (320, 240))))
    np.testing.assert_array_equal(table.pop("homography"), homography(shot, (600, 400), (320, 240)))
    size = tuple(table.pop("size"))
    assert size == (320, 240)
    again = Shot(**table)
    assert again == shot
    assert asdict(again) == table
    assert photograph(source, again, size).tobytes() == photograph(source, shot, (320, 240)).tobytes()


@pytest.mark.parametrize("wrong", [{"zoom": 0}, {"red": -1}, {"blue": 0}, {"defocus": -1}, {"noise": -0.1}, {"pan": 90}, {"tilt": -95}])
def test_impossible_shots_are_refused(wrong):
    with pytest.raises(UsageError, match="found Shot"):
        Shot(**wrong)
