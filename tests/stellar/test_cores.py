"""The further error of the Ca II cores: chosen where they are wrong, and never scored on stars that had a part in it."""

from types import SimpleNamespace

import numpy as np
import pytest

from specvit.errors import ConfigError
from specvit.library import Emulator
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.stellar import Refusal, StarFitSettings
from specvit.stellar.calibration import KnownStar, folds_of, known_residuals
from specvit.stellar.cores import FARTHEST, USUAL, _chosen, choose_core_error
from test_model_error import SETTINGS as FIT
from test_model_error import known_star

CALCIUM = (8500.36, 8544.44, 8664.52)


def filled(star, depth):
    """The star with its cores of Ca II filled up, as those of active stars are."""
    one = star.spectrum
    bump = sum(np.exp(-0.5 * ((one.wavelength - at) / 1.2) ** 2) for at in CALCIUM)
    changed = RawSpectrum(
        one.name, one.form, one.wavelength, one.flux + depth * bump, one.sigma, medium="vacuum"
    )
    changed.fwhm = one.fwhm
    return KnownStar(checked_spectrum(changed, "a"), star.labels, star.group)


@pytest.fixture(scope="module")
def emulator():
    return Emulator.builtin()


def test_cores_that_the_library_gets_wrong_are_believed_less(emulator):
    rng = np.random.default_rng(2)
    stars = [filled(known_star(number, emulator), rng.uniform(0.05, 0.35)) for number in range(12)]
    residuals = known_residuals(stars, emulator, FIT)
    told = []
    found = choose_core_error(residuals, emulator, FIT, (0.0, 0.3), 3, lambda *done: told.append(done))
    assert found.chosen == 0.3
    assert found.losses[0.3] < 0.7 * found.losses[0.0]
    assert found.held_out == pytest.approx(found.losses[0.3], rel=0.3)
    assert told == [(0, 2), (1, 2)]


def outcome(**off):
    labels = {"teff": 5000.0, "log_g": 3.0, "m_h": -0.5}
    return SimpleNamespace(labels={name: value + off.get(name, 0.0) for name, value in labels.items()}), None


def test_what_is_stated_is_of_stars_that_had_no_part_in_the_choice():
    """One star for which the other candidate is far better cannot choose for itself."""
    count = 12
    stars = [SimpleNamespace(labels={"teff": 5000.0, "log_g": 3.0, "m_h": -0.5}) for _ in range(count)]
    little = [outcome(log_g=0.1)] * count
    much = [outcome(log_g=0.15)] * count
    # The first star alone prefers much, by more than all others prefer little.
    little = [outcome(log_g=1.5), *little[1:]]
    much = [outcome(log_g=0.0), *much[1:]]
    part = folds_of(count, 6)
    found = _chosen(stars, {0.0: little, 0.3: much}, part)
    assert found.chosen == 0.3
    own = next(at for at, number in enumerate(np.unique(part)) if number == part[0])
    assert found.folds[own] == 0.0
    assert found.off["log_g"][0] == pytest.approx(1.5)
    assert found.held_out > min(found.losses.values())


def test_a_star_that_is_refused_or_far_off_counts_as_far_off():
    stars = [SimpleNamespace(labels={"teff": 5000.0}) for _ in range(2)]
    found = _chosen(stars, {0.1: [Refusal("a", "b", "c"), outcome(teff=9000.0)]}, np.array([0, 1]))
    assert found.losses[0.1] == FARTHEST
    assert np.isnan(found.off["teff"][0])
    assert set(found.off) == set(USUAL)


def test_nothing_to_try_is_refused(emulator):
    with pytest.raises(ConfigError, match="at least one"):
        choose_core_error([], emulator, StarFitSettings(), ())
