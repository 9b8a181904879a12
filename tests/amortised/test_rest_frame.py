"""Spectra of any velocity, unit and slope look alike in the rest frame; velocities are found by a few templates."""

import copy

import numpy as np
import pytest
import torch

from specvit.amortised.draws import SetupSpectra
from specvit.amortised.nuisances import Nuisances
from specvit.amortised.quick_velocity import QuickVelocity
from specvit.amortised.rest_frame import RestFrame, median_of
from specvit.amortised.setup import Setup, shift
from specvit.errors import ConfigError
from specvit.library import CoveredCells, Emulator
from specvit.stellar import StarFitSettings
from specvit.stellar.templates import WidthTemplates

SETUP = Setup(8350.0, 8850.0, (1.2, 1.2), (3.4, 3.4), ((8400.0, 8440.0),), False)
SETTINGS = StarFitSettings()


@pytest.fixture(scope="module")
def templates():
    return WidthTemplates(Emulator.builtin(), SETUP.resolution)


@pytest.fixture(scope="module")
def frame():
    return RestFrame(SETUP, SETTINGS)


def star(templates, velocity, labels=(5000.0, 3.0, -0.3, 0.1, 0.0)):
    """Noise-free templates at velocities (N,) on the pixels of the setup, by another way than the draws."""
    values = templates.values(torch.tensor([labels]).double())[0].numpy()
    log_pixels = np.log(SETUP.wavelength)
    rows = [np.interp(log_pixels - shift(np.array(v)), templates.log_wavelength, values) for v in velocity]
    return log_pixels, np.stack(rows)


def test_a_velocity_is_undone(frame, templates):
    velocity = np.array([-200.0, 0.0, 350.0])
    log_pixels, flux = star(templates, velocity)
    sigma = np.full_like(flux, 0.01)
    seen = frame.see(log_pixels, flux, sigma, velocity)
    alive = torch.isfinite(seen.sigma).all(0)
    assert alive.sum() > 300
    # Linear interpolation between pixels is what they differ by.
    assert (seen.flux[0] - seen.flux[1])[alive].abs().max() < 0.03
    wrong = frame.see(log_pixels, flux, sigma, -velocity)
    assert (wrong.flux[0] - wrong.flux[1])[alive].abs().max() > 0.2


def test_unit_and_slope_are_undone(frame, templates):
    log_pixels, flux = star(templates, [0.0])
    sigma = np.full_like(flux, 0.01)
    tilted = 1 + 0.3 * np.linspace(-1, 1, flux.shape[1])
    plain = frame.see(log_pixels, flux, sigma, np.zeros(1))
    scaled = frame.see(log_pixels, 7e-17 * flux, 7e-17 * sigma, np.zeros(1))
    curved = frame.see(log_pixels, tilted * flux, tilted * sigma, np.zeros(1))
    assert torch.allclose(plain.flux, scaled.flux, atol=1e-5)
    assert torch.allclose(plain.sigma, scaled.sigma, rtol=1e-4)
    assert (plain.flux - curved.flux).abs().max() < 0.01
    whole = RestFrame(SETUP, SETTINGS, flat=False)
    left = [whole.see(log_pixels, each * flux, sigma, np.zeros(1)).flux for each in (1.0, tilted)]
    assert (left[0] - left[1]).abs().max() > 0.1


def test_dead_pixels_stay_dead_and_gaps_are_not_bridged(frame):
    pixels = SETUP.wavelength
    log_pixels = np.log(np.delete(pixels, slice(100, 120)))
    flux, sigma = np.ones((1, log_pixels.size)), np.full((1, log_pixels.size), 0.01)
    sigma[0, 200] = np.inf
    found, error = frame.resampled(log_pixels, flux, sigma, np.zeros(1))
    whole, dead = np.exp(frame.whole), ~np.isfinite(error[0])
    assert dead[(whole > pixels[99] + 0.1) & (whole < pixels[120] - 0.1)].all()
    at = np.exp(log_pixels[200])
    assert dead[np.abs(whole - at) < 1.1].all()
    assert not dead[(np.abs(whole - at) > 1.3) & ((whole < pixels[98]) | (whole > pixels[121]))].any()
    assert (found[0][~dead] == 1).all()


def test_spectra_between_their_pixels_are_those_of_numpy(frame):
    rng = np.random.default_rng(4)
    log_pixels = np.log(np.delete(SETUP.wavelength, slice(100, 120)))
    flux, sigma = rng.normal(1, 0.1, (9, log_pixels.size)), rng.uniform(0.01, 0.1, (9, log_pixels.size))
    for row in range(1, 9):
        sigma[row, rng.integers(0, log_pixels.size, 12)] = np.inf if row % 2 else np.nan
    velocity = np.linspace(-900, 900, 9)
    found, error = frame.resampled(log_pixels, flux, sigma, velocity)
    neighbours = np.diff(log_pixels) < 1.75 * np.median(np.diff(log_pixels))
    for row in range(9):
        at = frame.whole + shift(velocity[row])
        below = (np.searchsorted(log_pixels, at, "right") - 1).clip(0, log_pixels.size - 2)
        alive = (at >= log_pixels[0]) & (at <= log_pixels[-1]) & neighbours[below]
        alive &= np.isfinite(sigma[row, below]) & np.isfinite(sigma[row, below + 1])
        assert 200 < alive.sum() < alive.size
        for ours, theirs, dead in ((found, flux, 0.0), (error, sigma, np.inf)):
            line = np.interp(at, log_pixels, np.where(np.isfinite(theirs[row]), theirs[row], 0.0))
            np.testing.assert_allclose(ours[row], np.where(alive, line, dead), rtol=1e-5, atol=1e-6)


def test_windows_are_no_pixels_of_the_network(frame):
    inside = (frame.grid.wavelength > 8409) & (frame.grid.wavelength < 8431)
    assert not inside.any()
    assert ((frame.grid.wavelength > 8400) & (frame.grid.wavelength < 8440)).any()


def test_model_errors_are_in_sigma(frame):
    log_pixels = np.log(SETUP.wavelength)
    flux, sigma = np.ones((1, log_pixels.size)), np.full((1, log_pixels.size), 1e-4)
    seen = frame.see(log_pixels, flux, sigma, np.zeros(1)).sigma[0]
    core = np.abs(frame.grid.wavelength - 8544.44) < 2.4
    away = np.abs(frame.grid.wavelength[:, None] - [8500.36, 8544.44, 8664.52]).min(1) > 3
    assert torch.allclose(seen[away], torch.tensor(SETTINGS.flat_error), rtol=1e-3)
    assert (seen[core] > SETTINGS.core_error).all()


def test_median_of_those_alive():
    values = np.array([[5.0, 1.0, 9.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
    alive = np.array([[True, True, True, False], [False] * 4])
    assert median_of(values, alive).tolist() == [5.0, 0.0]


def test_velocities_are_found(frame, templates):
    velocities = QuickVelocity(frame, templates, 1000.0)
    truth = np.array([-700.0, -120.0, 0.0, 33.0, 480.0])
    log_pixels, flux = star(templates, truth, (5300.0, 2.1, -0.9, 0.2, 0.0))
    noisy = flux * (1 + 0.01 * np.random.default_rng(1).standard_normal(flux.shape))
    flat, error, _ = frame.flattened(*frame.resampled(log_pixels, noisy, 0.01 * flux, np.zeros(5)))
    found, gain = velocities.find(flat, error)
    assert np.abs(found - truth).max() < 8
    assert (gain > 60).all()
    smooth, error, _ = frame.flattened(
        *frame.resampled(log_pixels, np.ones_like(flux), 0.01 * flux, np.zeros(5))
    )
    assert (velocities.find(smooth, error)[1] < 5).all()


def draws(frame, templates, nuisances=None, left=None):
    return SetupSpectra(frame, templates, nuisances or Nuisances(), left, seed=3)


def test_draws_are_the_same_whoever_asks(frame, templates):
    source = draws(frame, templates)
    whole, part = source.draw(0, 70), source.draw(60, 70)
    assert torch.equal(whole.flux[60:], part.flux)
    assert torch.equal(whole.labels[60:], part.labels)
    assert not torch.equal(source.other("validation", 64).draw(0, 64).labels, whole.labels[:64])
    assert whole.truth is None
    assert len(source.reserve(10**6)) < 10**5
    low, high = (torch.tensor(b) for b in (source.label_space.low, source.label_space.high))
    assert ((whole.labels >= low - 1e-3) & (whole.labels <= high + 1e-3)).all()


@pytest.mark.parametrize("name", list(Nuisances().to_dict()))
def test_every_nuisance_is_drawn(frame, templates, name):
    left = np.stack([np.linspace(1.0, 6.0, 100), np.full(100, 30.0)])
    without = Nuisances().without(name)
    one, other = (draws(frame, templates, n, left).draw(0, 32) for n in (Nuisances(), without))
    assert torch.equal(one.labels, other.labels)
    assert not torch.equal(one.flux, other.flux)
    if name == "masks":
        middle = (frame.grid.wavelength > 8460) & (frame.grid.wavelength < 8800)
        assert (~torch.isfinite(one.sigma[:, middle])).any()
        assert torch.isfinite(other.sigma[:, middle]).all()


def test_an_unknown_nuisance_is_refused():
    with pytest.raises(ConfigError, match="choose one of velocity, width"):
        Nuisances().without("rotation")


def test_noise_has_the_size_that_is_stated(frame, templates):
    batch = draws(frame, templates).on("cpu", truth=True).draw(0, 256)
    alive = torch.isfinite(batch.sigma)
    away = np.abs(frame.grid.wavelength[:, None] - [8500.36, 8544.44, 8664.52]).min(1) > 3
    pull = ((batch.flux - batch.truth.flux) / batch.sigma)[alive & torch.from_numpy(away)]
    # Between two pixels the noise of one pixel is 0.71 to 1 of theirs, and sigma is theirs.
    assert 0.7 < float(pull.std()) < 1.0
    assert abs(float(pull.mean())) < 0.02
    # As wide as several pixels it is what sigma says.
    flux, sigma = batch.flux - batch.truth.flux, batch.sigma
    rows = torch.isfinite(sigma[:, 100:200]).all(1)
    mean = flux[rows, 100:200].unfold(1, 5, 5).mean(2)
    stated = sigma[rows, 100:200].square().unfold(1, 5, 5).sum(2).sqrt() / 5
    assert float((mean / stated).std()) == pytest.approx(1, abs=0.1)


def test_setups_are_round_and_found_again():
    assert SETUP.wavelength[0] == 8350.0
    assert abs(SETUP.wavelength[-1] - 8850.0) < 1.3
    assert pytest.approx(8600 / 3.4, rel=1e-6) == SETUP.resolution
    assert "8350-8850" in SETUP.describe()


def test_nothing_is_drawn_from_holes_of_the_library(frame, templates):
    """The library without its cool dwarfs; elsewhere labels stay as even as they were."""
    space = templates.emulator.label_space
    edges = [np.array([low, high]) for low, high in zip(space.low, space.high, strict=True)]
    edges[0], edges[1] = np.array([3750.0, 4600.0, 6000.0]), np.array([1.0, 3.0, 5.0])
    coverage = CoveredCells(tuple(edges), np.array([[True, False], [True, True]]).reshape(2, 2, 1, 1, 1))
    holed = copy.copy(templates)
    holed.emulator = copy.copy(templates.emulator)
    holed.emulator.coverage = coverage
    some, whole = (draws(frame, of)._labels(np.random.default_rng(0), 4000) for of in (holed, templates))
    assert coverage.covers(some).all()
    inside = coverage.covers(whole)
    assert 0.6 < inside.mean() < 0.9
    np.testing.assert_array_equal(some[inside], whole[inside])
    at = QuickVelocity(frame, holed, 300.0)
    assert at.most == QuickVelocity(frame, templates, 300.0).most
