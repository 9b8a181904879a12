"""χ² with its compiled sums is that of plain least squares, and its gradient and curvature are its derivatives."""

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev

from specvit.library import Emulator
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.stellar import StarFitSettings
from specvit.stellar.objective import StarArrays, StarObjective
from specvit.stellar.pixels import fit_pixels
from specvit.stellar.templates import WidthTemplates

SETTINGS = StarFitSettings(wave_error=0.01, continuum_order=4, masks=((7800.0, 7850.0),))
VALUES = torch.tensor(
    [[5200.0, 3.1, -0.4, 0.1, 0.05, 30.0, 0.02], [4500.0, 2.0, 0.1, 0.0, 0.0, -80.0, -0.03]]
)


def star_of(low, high, seed):
    wavelength = np.arange(low, high, 1.5)
    rng = np.random.default_rng(seed)
    flux = 1 + 0.1 * np.sin(wavelength / 90) + 0.02 * rng.standard_normal(wavelength.size)
    raw = RawSpectrum(
        "a", "test", wavelength, flux, rng.uniform(0.01, 0.03, wavelength.size), medium="vacuum"
    )
    raw.fwhm = wavelength / 2200
    return fit_pixels(checked_spectrum(raw, "a"), SETTINGS, 7000.0, 8950.0)


@pytest.fixture(scope="module")
def case():
    # Of different lengths: one is padded, and has fewer waves.
    stars = [star_of(7050.0, 8900.0, 0), star_of(7500.0, 8300.0, 1)]
    templates = WidthTemplates(Emulator.builtin(), 2200.0)
    weights = [1 / star.sigma**2 for star in stars]
    arrays = StarArrays.of(stars, weights, templates, SETTINGS)
    return stars, weights, StarObjective(arrays, templates, SETTINGS)


def directly(star, weight, template):
    """χ² of pixels and its minimum's penalty, by least squares with one row more per wave."""
    used = star.usable
    free, waves = SETTINGS.order_for(star.span) + 1, SETTINGS.waves_for(star.span)
    x = star.wavelength[used]
    design = chebyshev.chebvander(2 * (x - x[0]) / (x[-1] - x[0]) - 1, max(free, waves) - 1)
    root = np.sqrt(weight[used])
    prior = np.eye(design.shape[1])[free:] / SETTINGS.wave_error
    rows = np.concatenate([design * (template * root)[:, None], prior])
    goal = np.concatenate([star.flux[used] * root, np.zeros(len(prior))])
    left = goal - rows @ np.linalg.lstsq(rows, goal, rcond=None)[0]
    return float((left[: len(x)] ** 2).sum()), float((left[len(x) :] ** 2).sum())


def test_chi2_is_that_of_least_squares_with_waves_under_their_prior(case):
    stars, weights, objective = case
    rows = torch.tensor([0, 1])
    found = objective.at(rows, VALUES.double())
    template = objective._seen(rows, VALUES.double()).flux.double().numpy()
    prior = objective.priors.residuals(rows, VALUES.double())[0].square().sum(1)
    for k, (star, weight) in enumerate(zip(stars, weights, strict=True)):
        chi2, penalty = directly(star, weight, template[k, : star.usable.sum()])
        assert float(found.chi2[k]) == pytest.approx(chi2, rel=1e-4)
        assert float(found.total[k] - prior[k]) == pytest.approx(chi2 + penalty, rel=1e-4)
        assert penalty > 1


@pytest.mark.parametrize("value", range(7))
def test_the_gradient_is_a_difference(case, value):
    objective, rows = case[2], torch.tensor([0, 1])
    step = torch.zeros(7).double()
    step[value] = (10.0, 0.02, 0.02, 0.02, 0.02, 3.0, 0.01)[value]
    up, down = (objective.at(rows, VALUES.double() + sign * step).total for sign in (1, -1))
    slope = -2 * objective.at(rows, VALUES.double()).gradient[:, value] * step[value] * 2
    torch.testing.assert_close(slope, up - down, rtol=0.02, atol=0.05)


def test_the_curvature_is_symmetric_and_that_of_the_marginal_posterior(case):
    """Less than without a continuum, and that by what continuum and slopes share."""
    objective = case[2]
    curvature = objective.at(torch.tensor([0, 1]), VALUES.double()).curvature
    torch.testing.assert_close(curvature, curvature.mT)
    assert bool((torch.linalg.eigvalsh(curvature * torch.outer(SCALE, SCALE)) > 0).all())


SCALE = torch.tensor([100.0, 0.1, 0.1, 0.1, 0.1, 10.0, 0.05]).double()


def test_model_and_continuum_are_given_on_every_pixel(case):
    stars, weights, objective = case
    shown = StarObjective(
        StarArrays.of(stars, weights, objective.templates, SETTINGS, everywhere=True),
        objective.templates,
        SETTINGS,
    )
    rows = torch.tensor([0, 1])
    model, continuum = (part.numpy() for part in shown.best(rows, VALUES.double()))
    fitted, _ = objective.best(rows, VALUES.double())
    for k, star in enumerate(stars):
        size = star.wavelength.size
        np.testing.assert_allclose(
            model[k, :size][star.usable], fitted[k, : star.usable.sum()], rtol=1e-3, atol=1e-3
        )
        assert np.isfinite(continuum[k, :size]).all()
        assert (~star.usable).sum() > 0
