"""Whether what was taken out is noise: the distribution of χ², and what is told of an odd one."""

import numpy as np
import pytest
import torch

from small_world import gaussian_stars, source
from specvit.denoise import WienerDenoiser
from specvit.denoise.misfit import Misfit, between_pixels, misfit_of
from specvit.spectra import WavelengthGrid


@pytest.fixture(scope="module")
def wiener():
    return WienerDenoiser(8).fit(source(1500, 1), source(50, 2))


def misfits(denoiser, flux, sigma):
    found = denoiser.denoise(flux, sigma)
    taken = (found.std / sigma).square().sum(dim=1)
    arrays = (values.double().numpy() for values in (flux, sigma, found.mean))
    return [misfit_of(*rows, float(k)) for *rows, k in zip(*arrays, taken, strict=True)]


def test_of_noise_alone_every_probability_is_as_frequent_as_it_says(wiener):
    stars = gaussian_stars(600, 5)
    found = misfits(wiener, stars.flux, stars.sigma)
    assert np.mean([one.per_pixel for one in found]) == pytest.approx(1, abs=0.02)
    p = np.array([one.p_larger for one in found])
    # 600 stars: 2 % is one σ of a count of a half, 1.2 % of a tenth.
    assert (p < 0.5).mean() == pytest.approx(0.5, abs=0.08)
    assert (p < 0.1).mean() == pytest.approx(0.1, abs=0.05)
    assert not any(one.doubt for one in found)


def test_spectra_of_no_star_it_knows_and_sigmas_that_are_wrong_are_told(wiener):
    stars = gaussian_stars(4, 5)
    odd = stars.flux + 0.3 * torch.sin(torch.arange(stars.flux.shape[1]))
    assert all("not at rest" in one.doubt for one in misfits(wiener, odd, stars.sigma))
    assert all("sigma is too large" in one.doubt for one in misfits(wiener, stars.flux, 3 * stars.sigma))


def test_dead_pixels_do_not_count():
    flux, sigma = np.ones(50), np.full(50, 0.1)
    sigma[:20] = np.inf
    assert misfit_of(flux, sigma, np.zeros(50), 2.0) == Misfit(pytest.approx(3000), 30, 2.0)


def test_between_pixels_a_line_keeps_its_core_and_gaps_have_nothing():
    grid = WavelengthGrid(np.concatenate([np.arange(8400.0, 8450), np.arange(8500.0, 8550)]))
    at = np.arange(8401.0, 8549, 0.25)

    def line(wavelength):
        return 1 - 0.5 * np.exp(-0.5 * ((wavelength - 8425.5) / 1.3) ** 2)

    found = between_pixels(line(grid.wavelength), grid, at)
    gap = (at > 8449) & (at < 8500)
    assert np.isnan(found[gap]).all()
    np.testing.assert_allclose(found[~gap], line(at[~gap]), atol=0.01)
