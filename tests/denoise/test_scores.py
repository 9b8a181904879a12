"""Scores of denoised spectra against what is known in closed form."""

import numpy as np
import pytest
import torch

from small_world import GRID, PIXELS, gaussian_stars, source
from specvit.denoise import WienerDenoiser
from specvit.denoise.faithful import (
    equivalent_widths,
    kept_structure,
    made_up,
    star_outside,
    velocity_shift,
)
from specvit.denoise.regions import regions
from specvit.denoise.scores import (
    coverage,
    mean,
    ratio,
    scatter,
    snr_bins,
    squared_error,
    stated_coverage,
    tenths_of_errors,
    tenths_of_samples,
    weighted_error,
)
from specvit.spectra import SPEED_OF_LIGHT_KM_S, SpectraBatch, Truth, WavelengthGrid

CALCIUM = WavelengthGrid.linear(8400, 0.5, 700)


def lines(grid, centres, depth=0.5, width=2.0):
    wavelength = torch.tensor(grid.wavelength)
    return 1 - depth * sum(torch.exp(-0.5 * ((wavelength - at) / width) ** 2) for at in centres)


def calcium_stars(count=3, noise=0.02):
    generator = torch.Generator().manual_seed(1)
    clean = lines(CALCIUM, (8500.36, 8544.44, 8664.52)).float().expand(count, -1).contiguous()
    sigma = torch.full_like(clean, noise)
    flux = clean + sigma * torch.randn(clean.shape, generator=generator)
    truth = Truth(clean, sigma, torch.ones(count))
    return SpectraBatch(flux, sigma, None, {}, torch.full((count,), 1 / noise), truth)


def test_errors_are_sums_over_live_pixels_of_each_star():
    stars = gaussian_stars(4, 1)
    off = stars.truth.flux + 0.1
    stars.sigma[0, :10] = torch.inf
    expected = 0.01 * np.array([PIXELS - 10, PIXELS, PIXELS, PIXELS])
    np.testing.assert_allclose(squared_error(off, stars), expected, rtol=1e-5)
    some = torch.arange(PIXELS) < 12
    np.testing.assert_allclose(squared_error(off, stars, some), 0.01 * np.array([2, 12, 12, 12]), rtol=1e-5)


def test_the_weighted_error_of_noisy_spectra_is_that_of_a_normal_distribution():
    stars = gaussian_stars(2000, 1)
    every = np.ones(2000, dtype=bool)
    # E|x| = √(2/π), E x² = 1: 120,000 pixels, 0.3 %.
    assert mean(weighted_error(stars.flux, stars, 1), every).value / PIXELS == pytest.approx(
        (2 / np.pi) ** 0.5, rel=0.01
    )
    assert mean(weighted_error(stars.flux, stars, 2), every).value / PIXELS == pytest.approx(1, rel=0.02)


def test_a_ratio_is_one_of_sums_and_its_interval_holds_it():
    over, under = np.tile([1.0, 9.0], 5), np.full(10, 2.0)
    found = ratio(over, under, np.ones(10, dtype=bool))
    assert found.value == 2.5
    assert found.low <= found.value <= found.high
    assert ratio(over, under, over < 2).value == 0.5


def test_every_star_is_in_all_and_in_one_bin():
    bins = snr_bins(torch.tensor([2.0, 5.0, 100.0, 12.9]))
    assert bins.pop("all").all()
    assert (sum(mask.astype(int) for mask in bins.values()) == 1).all()
    assert list(bins) == ["S/N 0 to 4", "S/N 4 to 6", "S/N 9 to 13", "S/N above 13"]


def test_right_samples_and_errors_hold_as_much_as_they_say_and_wrong_ones_do_not():
    stars = gaussian_stars(400, 3)
    found = WienerDenoiser(8).fit(source(1500, 1), source(50, 2)).denoise(stars.flux, stars.sigma, draws=39)
    for held in (
        coverage(found.samples, stars),
        stated_coverage(found.mean, found.std, stars),
    ):
        # Pixels of a star move together: 400 stars of some four directions, 1.2 %.
        assert float(held["68 %"].mean()) == pytest.approx(0.68, abs=0.05)
        assert float(held["95 %"].mean()) == pytest.approx(0.95, abs=0.03)
    narrow = found.mean[:, None] + 0.5 * (found.samples - found.mean[:, None])
    assert float(coverage(narrow, stars)["68 %"].mean()) < 0.5


def test_samples_of_the_same_distribution_as_the_truth_hold_exactly_their_share():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(300, PIXELS, generator=generator)
    truth = Truth(clean, torch.ones_like(clean), torch.ones(300))
    stars = SpectraBatch(clean, torch.ones_like(clean), None, {}, torch.ones(300), truth)
    held = coverage(torch.randn(300, 19, PIXELS, generator=generator), stars)
    assert float(held["68 %"].mean()) == pytest.approx(0.68, abs=0.01)
    assert float(held["95 %"].mean()) == pytest.approx(0.95, abs=0.01)


def test_tenths_of_right_samples_hold_a_tenth_each_and_of_narrow_ones_do_not():
    generator = torch.Generator().manual_seed(8)
    draws = torch.randn(4, 60, 3000, generator=generator)
    clean = torch.randn(4, 3000, generator=generator)
    stars = SpectraBatch(
        clean,
        torch.ones_like(clean),
        None,
        {},
        torch.ones(4),
        Truth(clean, torch.ones_like(clean), torch.ones(4)),
    )
    found = tenths_of_samples(draws, stars)
    assert found.sum(dim=1).numpy() == pytest.approx([1] * 4)
    assert found.mean(dim=0).numpy() == pytest.approx(np.full(10, 0.1), abs=0.01)
    narrow = tenths_of_samples(0.5 * draws, stars).mean(dim=0)
    assert min(narrow[0], narrow[9]) > 0.2
    exact = tenths_of_errors(torch.zeros(4, 3000), torch.ones(4, 3000), stars)
    assert exact.mean(dim=0).numpy() == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_an_equivalent_width_is_the_area_of_the_lines():
    flux = lines(CALCIUM, (8500.36, 8544.44), width=1.0)[None]
    # Two of the three lines of calcium are there: 2 · 0.5 · √(2π) Å.
    assert float(equivalent_widths(flux, CALCIUM)["Ca II"]) == pytest.approx((2 * np.pi) ** 0.5, rel=0.01)


def test_a_shift_of_a_tenth_of_a_pixel_is_found():
    clean = lines(CALCIUM, (8500.36, 8544.44))[None]
    velocity = 2.0
    moved = lines(CALCIUM, [at * (1 + velocity / SPEED_OF_LIGHT_KM_S) for at in (8500.36, 8544.44)])[None]
    found = velocity_shift(moved, clean, torch.ones_like(clean), CALCIUM)
    assert float(found) == pytest.approx(velocity, rel=0.02)


def test_smoothing_takes_small_structure_and_leaves_large():
    clean = lines(CALCIUM, (8500.36, 8544.44, 8600.0), width=0.7)[None]
    kernel = torch.full((1, 1, 9), 1 / 9, dtype=clean.dtype)
    smooth = torch.nn.functional.conv1d(clean[None], kernel, padding=4)[0]
    kept = {scale: float(part / whole) for scale, (part, whole) in kept_structure(smooth, clean).items()}
    assert kept["2 to 8 pixels"] < 0.3
    assert kept["8 to 64 pixels"] > 0.5
    for part, whole in kept_structure(clean, clean).values():
        assert float(part / whole) == pytest.approx(1)


def test_what_is_made_up_by_one_that_changes_nothing_and_one_that_knows_one_star_alone():
    stars = calcium_stars(noise=0.005)
    continuum = torch.from_numpy(CALCIUM.wavelength > 8690)
    outside = lines(CALCIUM, (8470.0, 8600.0), depth=0.6).float()
    nothing = made_up(lambda flux, sigma: flux, stars, CALCIUM, continuum, outside)
    assert torch.allclose(nothing.line_put_in, torch.ones(3), atol=1e-3)
    assert float(nothing.line_taken_out.abs().max()) < 0.1
    assert torch.allclose(nothing.blend, torch.ones(3), rtol=1e-3)
    assert torch.allclose(nothing.outside, torch.ones(3), rtol=1e-3)
    always = made_up(lambda flux, sigma: stars.truth.flux, stars, CALCIUM, continuum, outside)
    assert float(always.line_put_in.abs().max()) == 0
    assert torch.allclose(always.line_taken_out, torch.ones(3), atol=1e-3)
    # One that gives back the stars it knows is off by all that this one is other than they.
    level = stars.truth.flux.median(dim=1, keepdim=True).values
    off = (stars.truth.flux - outside * level).square().sum(dim=1)
    noise = (stars.flux - stars.truth.flux).square().sum(dim=1)
    assert torch.allclose(always.outside, off / noise, rtol=1e-4)


def test_a_star_beyond_the_box_is_like_none_in_it(simulator):
    found = star_outside(simulator.observed, simulator.prior.label_space)
    inside = simulator.draw("test", 1, 0, 200).truth.flux
    inside = inside / inside.median(dim=1, keepdim=True).values
    assert float((found - inside).square().mean(dim=1).sqrt().min()) > 0.05
    assert float(found.min()) >= 0


def test_of_a_handful_of_stars_no_interval_is_stated():
    values, few, more = np.arange(20.0), np.arange(20) < 7, np.arange(20) < 8
    for score in (mean, scatter, lambda v, rows: ratio(v, v + 1, rows)):
        assert np.isfinite(score(values, few).value)
        assert np.isnan([score(values, few).low, score(values, few).high]).all()
        assert score(values, more).low < score(values, more).value < score(values, more).high


def test_parts_of_a_spectrum_hold_every_live_pixel_once():
    clean = lines(CALCIUM, (8500.36, 8544.44)).float().expand(5, -1)
    sigma = torch.full_like(clean, 0.1)
    sigma[:, 300:306] = 0.3
    sigma[:, 650:] = torch.inf
    found = regions(clean, sigma)
    assert torch.equal(sum(mask.int() for mask in found.values()), (torch.arange(700) < 650).int())
    assert found["sky lines"].nonzero()[:, 0].tolist() == list(range(300, 306))
    assert bool(found["lines"][int(np.abs(CALCIUM.wavelength - 8544.44).argmin())])


def test_grids_of_the_tests_are_those_of_the_spectra():
    assert gaussian_stars(1, 0).flux.shape[1] == GRID.size
