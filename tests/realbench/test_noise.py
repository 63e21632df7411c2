"""Noise of a scene's score, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from realbench import noise
from realbench.baseline import Noise
from realbench.noise import NONE, UNKNOWN, Sample, Variance


def sample(*fits: list[float]) -> Sample:
    return Sample.of({str(fit): {str(seed): value for seed, value in enumerate(seeds)} for fit, seeds in enumerate(fits)})


def test_a_scene_counts_its_fits_alike() -> None:
    found = Sample.of({"0": {"0": 1.0, "7": 3.0}, "1": {"0": 6.0, "1": None}, "2": {"0": None}})
    assert found.mean == 4.0 and len(found.fits) == 2
    assert found.seeds == pytest.approx(2 / (1 / 2 + 1 / 1))
    assert math.isnan(Sample.of({}).mean) and math.isnan(sample([math.inf], [-math.inf]).mean)


def test_one_scene_of_two_fits_each() -> None:
    """Fits' means 10, 12 and 9, 9: a sum of squares of 2 with 2 degrees of freedom; a difference of means of two has that variance."""
    before, after = sample([9.0, 11.0], [11.0, 13.0]), sample([8.0, 10.0], [9.0, 9.0])
    (found,) = noise.differences({"a": before}, {"a": after}, {}, "fits").values()
    assert (found.value, found.freedom) == (1.0, 2)
    assert noise.p_value(2.0, found) == pytest.approx(t.sf(2.0, 2))
    assert noise.p_value(-2.0, found) == pytest.approx(1 - t.sf(2.0, 2))


def test_scenes_lend_each_other_four_degrees_of_freedom() -> None:
    before = {"loud": sample([0.0], [math.sqrt(8)]), "calm": sample([5.0], [5.0 + math.sqrt(2)])}
    after = {"loud": sample([0.0], [math.sqrt(8)]), "calm": sample([5.0], [5.0 + math.sqrt(2)])}
    found = noise.differences(before, after, {}, "fits")
    # Own variances 4 and 1 with 2 degrees each, together 2.5 with 4: (2·4 + 4·2.5) / 6 and (2·1 + 4·2.5) / 6.
    assert found["loud"].value == pytest.approx(18 / 6) and found["calm"].value == pytest.approx(12 / 6)
    assert found["loud"].freedom == found["calm"].freedom == found["calm"].shared == 4


def test_seeds_alone() -> None:
    """(1, 3) and (2, 2, 5): sums of squares 2 and 6 over 1 + 2 degrees of freedom; means of two and of three."""
    (found,) = noise.differences({"a": sample([1.0, 3.0])}, {"a": sample([2.0, 2.0, 5.0])}, {}, "seeds").values()
    assert found.value == pytest.approx(8 / 3 * (1 / 2 + 1 / 3)) and found.freedom == 3


def test_a_method_that_never_varies_has_no_noise() -> None:
    found = noise.differences({"a": sample([1.0])}, {"a": sample([0.99])}, {}, "nothing")
    assert found == {"a": NONE}
    assert noise.p_value(0.01, NONE) == 0.0 and noise.p_value(0.0, NONE) == 1.0 and noise.p_value(-0.01, NONE) == 1.0


def test_without_repeats_nothing_is_known() -> None:
    found = noise.differences({"a": sample([1.0, 2.0])}, {"a": sample([3.0, 4.0])}, {}, "fits")
    assert found == {"a": UNKNOWN} and noise.p_value(3.0, UNKNOWN) is None


@pytest.mark.parametrize(("seeds", "unit"), [(4, 0.3), (1, 0.6), (2, 0.4), (8, 0.3)])
def test_a_calibration_counts_for_other_numbers_of_seeds(seeds: int, unit: float) -> None:
    """0.3 between fits of 4 seeds; of fewer seeds more, by at most 0.4 (1 / seeds − 1 / 4); of more seeds not surely less."""
    one = {"a": sample([0.0] * seeds)}
    calibrated = {"a": Noise(fit=0.3, fit_freedom=7, seed=0.4, seed_freedom=24, seeds=4)}
    (found,) = noise.differences(one, one, calibrated, "fits").values()
    assert found.value == pytest.approx(2 * unit) and found.freedom == 7


def test_fits_may_be_steadier_than_their_seeds() -> None:
    """All fits have the same seeds: what these differ by is not between the fits."""
    calibrated = {"a": Noise(fit=0.05, fit_freedom=7, seed=4.0, seed_freedom=24, seeds=4)}
    (found,) = noise.differences({"a": sample([0.0] * 4)}, {"a": sample([0.0] * 4)}, calibrated, "fits").values()
    assert found.value == pytest.approx(2 * 0.05)


def crossed(first: int, *fits: list[float]) -> Sample:
    """Fits with seeds from `first` on."""
    return Sample.of({str(fit): {str(first + at): value for at, value in enumerate(seeds)} for fit, seeds in enumerate(fits)})


def test_other_seeds_are_other_draws() -> None:
    """Fits' means 2, 3 and 5, 5 (v = 0.5 / 2 with 2 degrees), seeds within fits 2 and 0 (mean 1 with one degree for two same seeds)."""
    before, same, other = crossed(0, [1.0, 3.0], [2.0, 4.0]), crossed(0, [5.0, 5.0], [5.0, 5.0]), crossed(7, [5.0, 5.0], [5.0, 5.0])
    (paired,) = noise.differences({"a": before}, {"a": same}, {}, "fits").values()
    assert (paired.value, paired.freedom) == (0.25, 2)
    (apart,) = noise.differences({"a": before}, {"a": other}, {}, "fits").values()
    # Seeds: 2 with one degree and 0 with one: 1 with two; two seeds on each side: 1 · (1/2 + 1/2) more.
    assert apart.value == pytest.approx(0.25 + 1.0) and apart.freedom == pytest.approx(1.25**2 / (0.25**2 / 2 + 1**2 / 2))
    (half,) = noise.differences({"a": before}, {"a": crossed(1, [5.0, 5.0], [5.0, 5.0])}, {}, "fits").values()
    assert half.value == pytest.approx(0.25 + 0.5)  # one of two seeds is shared: 1/2 + 1/2 − 2 · 1 / 4


def test_other_seeds_without_repeats_are_unknown_until_calibrated() -> None:
    before, after = {"a": crossed(0, [1.0], [2.0])}, {"a": crossed(1, [1.0], [2.0])}
    assert noise.differences(before, after, {}, "fits") == {"a": UNKNOWN}
    calibrated = {"a": Noise(fit=0.5, fit_freedom=6, seed=3.0, seed_freedom=24, seeds=4)}
    (found,) = noise.differences(before, after, calibrated, "fits").values()
    unit = (0.5 * 2 + (0.5 + 3 * 0.75) * 6) / 8  # two runs with one degree each, and the calibration as of one seed
    assert found.value == pytest.approx(unit + 3.0 * 2)


def test_measured_is_what_differences_reads() -> None:
    found = noise.measured(sample([1.0, 3.0], [5.0, 7.0], [3.0, 5.0]))
    assert (found.fit, found.fit_freedom, found.seed, found.seed_freedom, found.seeds) == (4.0, 2, 2.0, 3, 2.0)
    assert noise.measured(sample([1.0])) == Noise(fit=0, fit_freedom=0, seed=0, seed_freedom=0, seeds=1)
    assert noise.measured(sample([math.inf, 1.0, 3.0])).seed == 2.0


def test_the_mean_of_scenes() -> None:
    found = noise.total([Variance(1, 2), Variance(3, 6)])
    assert found.value == 1.0 and found.freedom == pytest.approx(16 / (1 / 2 + 9 / 6))
    assert noise.total([Variance(1, 2), UNKNOWN]) == UNKNOWN and noise.total([]) == UNKNOWN
    assert noise.total([NONE, NONE]) == NONE
    assert noise.total([Variance(0, 3), Variance(0, 5)]) == Variance(0, 3)
    assert noise.total([Variance(1, 9, 12), Variance(1, 9, 12)]).freedom == 12


def test_scenes_that_differ_lend_each_other_less() -> None:
    """Smyth's estimate: of variances drawn as s² χ²(d) / d around values of a scaled inverse χ²(2) it is near 2; of equal ones the most."""
    random = np.random.default_rng(3)
    own = 1 / (random.chisquare(2, 3_000) / 2)
    drawn = [Variance(float(value * random.chisquare(6) / 6), 6) for value in own]
    assert noise.prior_freedom(drawn) == pytest.approx(2, rel=0.15)
    equal = [Variance(float(random.chisquare(6) / 6), 6) for _ in range(3_000)]
    assert noise.prior_freedom(equal) == noise.PRIOR == noise.prior_freedom([Variance(1, 2)]) == noise.prior_freedom([Variance(0, 2)] * 3)
    assert noise.prior_freedom([Variance(0, 2), Variance(1, 2), Variance(1e6, 2)]) < 1


def test_tails() -> None:
    assert noise.p_value(1.0, Variance(4.0, math.inf)) == pytest.approx(norm.sf(0.5))
    assert noise.p_value(math.inf, Variance(4.0, 3)) == 0.0 and noise.p_value(-math.inf, Variance(4.0, 3)) == 1.0
    assert noise.p_value(0.5, Variance(0.0, 3)) == 0.0 and noise.p_value(0.0, Variance(0.0, 3)) == 1.0


def test_under_normal_noise_p_values_are_uniform() -> None:
    """Two fits on each side, six scenes of one loudness: a tenth of p-values below 0.1, a twentieth below 0.05."""
    random = np.random.default_rng(7)
    found = []
    for _ in range(400):
        before, after = ({str(at): sample(*([float(value)] for value in random.normal(size=2))) for at in range(6)} for _ in range(2))
        spread = noise.differences(before, after, {}, "fits")
        mean = float(np.mean([after[scene].mean - before[scene].mean for scene in before]))
        found.append(noise.p_value(mean, noise.total([*spread.values()])))
    for level in (0.05, 0.1, 0.5):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 400))
