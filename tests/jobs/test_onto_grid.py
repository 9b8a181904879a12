"""Spectra of files on the pixels of a denoiser: gaps, and errors that a denoiser can believe whatever the file's pixels."""

import numpy as np
import pytest
import torch

from specvit.denoise import WienerDenoiser
from specvit.denoise.misfit import between_pixels, misfit_of
from specvit.jobs.onto_grid import onto_grid
from specvit.jobs.regridded import Regridded
from specvit.spectra import LOW_T_BOX, MemorySource, SpectraBatch, WavelengthGrid

GRID = WavelengthGrid.linear(8400, 0.5, 600)
STARS = 200


@pytest.fixture(scope="module")
def wiener(simulator):
    return WienerDenoiser(48).fit(simulator.source("train", 3, 1024), simulator.source("validation", 3, 20))


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 3, 0, STARS)


def on_pixels(grid, clean, sigma, ratio, shift, generator):
    """Return a spectrum on pixels `ratio` times as wide as the grid's, with the same information per Å."""
    index = np.arange(0, grid.size - 2, ratio) + shift
    at = np.interp(index, np.arange(grid.size), grid.wavelength)
    noise = np.interp(at, grid.wavelength, sigma) / np.sqrt(ratio)
    flux = between_pixels(clean, grid, at)
    return at, flux + noise * generator.standard_normal(len(at)), noise


@pytest.mark.parametrize("ratio", [0.25, 1, 2, 3])
def test_stated_errors_are_right_whatever_the_pixels_of_the_file(wiener, stars, simulator, ratio):
    generator, grid = np.random.default_rng(0), simulator.grid
    clean, sigma = stars.truth.flux.double().numpy(), stars.truth.sigma.double().numpy()
    # Half a pixel off: noise of neighbours is then shared most.
    files = [on_pixels(grid, c, s, ratio, 0.5, generator) for c, s in zip(clean, sigma, strict=True)]
    flux, noise = (np.stack(part) for part in zip(*(onto_grid(*one, grid) for one in files), strict=True))
    found, live = wiener.denoise(flux, noise), np.isfinite(noise)
    off = ((found.mean.numpy() - clean) / found.std.numpy())[live]
    assert np.square(off).mean() == pytest.approx(1, abs=0.2)
    # On the pixels of the file what was taken out is noise, as it is not on those of the grid.
    parameters = np.square(found.std.numpy() / noise)[live].sum() / STARS
    judged = []
    for (at, seen, error), mean in zip(files, found.mean.numpy(), strict=True):
        inside = (at > grid.wavelength[10]) & (at < grid.wavelength[-10])
        shown = np.where(inside, between_pixels(mean, grid, at), np.nan)
        judged.append(misfit_of(seen, error, shown, parameters))
    assert np.mean([one.per_pixel for one in judged]) == pytest.approx(1, abs=0.03)
    assert not any(one.doubt for one in judged)


def test_pixels_that_are_the_grids_own_are_left_as_they_are():
    generator = np.random.default_rng(1)
    flux, sigma = generator.normal(1, 0.1, GRID.size), generator.uniform(0.05, 0.2, GRID.size)
    sigma[7] = np.inf
    found, noise = onto_grid(GRID.wavelength, flux, sigma, GRID)
    live = np.isfinite(sigma)
    np.testing.assert_allclose(found[live], flux[live])
    np.testing.assert_allclose(noise, sigma)


def test_a_mean_of_finer_pixels_conserves_flux_and_has_their_error():
    wavelength = np.arange(8390, 8710, 0.1)
    sigma = np.full_like(wavelength, 0.2)
    line = np.exp(-0.5 * ((wavelength - 8544.44) / 0.3) ** 2)
    flux, noise = onto_grid(wavelength, 1 - line, sigma, GRID)
    assert np.isfinite(noise).all()
    np.testing.assert_allclose(noise, 0.2 / 5**0.5, rtol=1e-9)
    assert (1 - flux).sum() * 0.5 == pytest.approx(line.sum() * 0.1, rel=1e-6)


@pytest.mark.parametrize("step", [0.1, 0.5, 1.2])
def test_rows_that_a_file_does_not_have_are_no_pixels(step):
    wavelength = np.arange(8390, 8710, step)
    kept = wavelength[(wavelength < 8480) | (wavelength > 8600)]
    _, sigma = onto_grid(kept, np.ones_like(kept), np.full_like(kept, 0.1), GRID)
    gap = (GRID.wavelength > 8480 + step) & (GRID.wavelength < 8600 - step)
    assert np.isinf(sigma[gap]).all()
    far = (GRID.wavelength < 8480 - step) | (GRID.wavelength > 8600 + step)
    assert np.isfinite(sigma[far]).all()


def test_arms_with_steps_of_their_own_have_no_gap_but_that_between_them():
    """The usual step of a whole file would call all of its coarser arm a gap."""
    wavelength = np.concatenate([np.arange(8390, 8500, 0.1), np.arange(8520, 8710, 0.4)])
    _, sigma = onto_grid(wavelength, np.ones_like(wavelength), np.full_like(wavelength, 0.1), GRID)
    between = (GRID.wavelength > 8500.5) & (GRID.wavelength < 8519.5)
    assert np.array_equal(np.isinf(sigma), between | (np.isinf(sigma) & (abs(GRID.wavelength - 8510) < 11)))
    batch = SpectraBatch(*(torch.ones(1, len(wavelength)),) * 2, torch.full((1, 1), 2.5), {}, torch.ones(1))
    whole = MemorySource(batch, WavelengthGrid(wavelength), LOW_T_BOX.select(["log_g"]))
    moved = Regridded(whole, GRID).draw(0, 1)
    assert torch.isinf(moved.sigma[0])[torch.from_numpy(between)].all()
    assert torch.isfinite(moved.sigma[0])[torch.from_numpy(GRID.wavelength > 8521)].all()
