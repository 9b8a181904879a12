"""The Wiener denoiser against a dense solve, in both limits of the noise, and saved."""

import pytest
import torch

from small_world import GRID, PIXELS, gaussian_stars, source
from specvit.denoise import Denoiser, WienerDenoiser
from specvit.denoise.wiener import gaussian_posterior
from specvit.errors import ConfigError, DataError, RunError
from specvit.simulate import Simulator
from specvit.spectra import MemorySource


@pytest.fixture(scope="module")
def wiener():
    return WienerDenoiser(8).fit(source(1500, 1), source(50, 2))


@pytest.fixture(scope="module")
def stars():
    return gaussian_stars(300, 3)


def test_it_keeps_the_protocol(wiener):
    assert isinstance(wiener, Denoiser)


def test_it_is_a_dense_solve_with_pixels_by_pixels_matrices():
    generator = torch.Generator().manual_seed(0)
    mean, basis = torch.rand(PIXELS, generator=generator), torch.randn(5, PIXELS, generator=generator)
    flux = torch.randn(3, PIXELS, generator=generator)
    weight = 0.1 + torch.rand(3, PIXELS, generator=generator)
    found = gaussian_posterior(mean, basis, flux, weight)
    covariance = (basis.T @ basis).double()
    for i in range(3):
        noise = torch.diag(1 / weight[i].double())
        gain = torch.linalg.solve(covariance + noise, covariance).T
        expected = mean.double() + gain @ (flux[i] - mean).double()
        torch.testing.assert_close(
            (mean + found.coefficients @ basis)[i].double(), expected, rtol=0, atol=1e-4
        )
        variance = (covariance - gain @ covariance).diagonal()
        torch.testing.assert_close(found.std(basis)[i].double().square(), variance, rtol=2e-3, atol=1e-5)


def test_dead_pixels_count_for_nothing(wiener, stars):
    flux, sigma = stars.flux[:4].clone(), stars.sigma[:4].clone()
    sigma[:, 20:30] = torch.inf
    other = flux.clone()
    other[:, 20:30] = 1e3
    torch.testing.assert_close(wiener.denoise(flux, sigma).mean, wiener.denoise(other, sigma).mean)


def test_without_noise_the_spectrum_comes_back(wiener, stars):
    """Spectra of the subspace; the level is that of the median pixel, so nothing else moves."""
    clean = stars.truth.flux[:20]
    found = wiener.denoise(clean, torch.full_like(clean, 1e-4))
    assert float((found.mean - clean).abs().max()) < 1e-3
    assert float(found.std.max()) < 1e-3


def test_with_nothing_but_noise_the_mean_comes_back(wiener):
    sigma = torch.full((1, PIXELS), 1e4)
    found = wiener.denoise(torch.ones(1, PIXELS), sigma)
    # The level of such a spectrum is a share of its noise; the shape is the mean spectrum's.
    shape = found.mean[0] / found.mean[0].median()
    expected = wiener.mean / wiener.mean.median()
    assert float((shape - expected).abs().max()) < 1e-3


def test_its_errors_are_those_it_states_and_its_draws_scatter_so(wiener, stars):
    found = wiener.denoise(stars.flux, stars.sigma, draws=50)
    error = found.mean - stars.truth.flux
    # 300 stars of some five directions each: 4 %.
    assert 0.85 < float((error / found.std).square().mean()) < 1.2
    scatter = found.samples.var(dim=1).mean() / found.std.square().mean()
    assert 0.95 < float(scatter) < 1.05
    noisy = stars.flux - stars.truth.flux
    assert float(error.square().mean()) < 0.2 * float(noisy.square().mean())


def test_a_wrong_sigma_is_worse(stars, wiener):
    """What is tested is the filter, not any smoothing: noise stated four times too large, or of other pixels, costs."""
    error = [
        float((wiener.denoise(stars.flux, sigma).mean - stars.truth.flux).square().mean())
        for sigma in (stars.sigma, 4 * stars.sigma, stars.sigma.flip(1))
    ]
    assert 1.2 * error[0] < min(error[1:])


def test_saved_and_loaded_it_answers_the_same(wiener, stars, tmp_path):
    wiener.save(tmp_path / "wiener")
    again = WienerDenoiser.load(tmp_path / "wiener")
    assert again.digest == wiener.digest
    assert torch.equal(
        again.denoise(stars.flux, stars.sigma).mean, wiener.denoise(stars.flux, stars.sigma).mean
    )
    assert "wiener-denoiser" in (tmp_path / "wiener" / "card.md").read_text()
    assert WienerDenoiser(3).fit(source(1500, 1), source(50, 2)).digest != wiener.digest


def test_an_installation_that_answers_otherwise_is_refused(wiener, tmp_path, monkeypatch):
    wiener.save(tmp_path / "wiener")
    monkeypatch.setattr(
        WienerDenoiser,
        "_tensors",
        lambda self: {"mean": self.mean + 0.01, "basis": self.basis, "beyond": self.beyond},
    )
    wiener.save(tmp_path / "other")
    with pytest.raises(DataError, match="denoised otherwise"):
        WienerDenoiser.load(tmp_path / "other")


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="components"):
        WienerDenoiser(0)
    with pytest.raises(RunError, match="fit or load"):
        WienerDenoiser().denoise(torch.ones(1, PIXELS), torch.ones(1, PIXELS))
    stars = source(40, 1)
    blind = MemorySource(stars.batch.without_truth(), GRID, stars.label_space)
    with pytest.raises(DataError, match="noise-free"):
        WienerDenoiser().fit(blind, stars)


@pytest.mark.parametrize("noise", [0.05, 5e-4, 5e-6])
def test_what_the_basis_does_not_hold_is_in_its_errors(noise):
    """Three of four directions are kept; to bright spectra the rest is many times the noise."""
    few, stars = (
        WienerDenoiser(3).fit(source(1500, 1, noise), source(50, 2, noise)),
        gaussian_stars(300, 3, noise),
    )
    found = few.denoise(stars.flux, stars.sigma, draws=30)
    off = (found.mean - stars.truth.flux) / found.std
    # One direction is no noise of each pixel alone, so this is not exact.
    assert 0.7 < float(off.square().mean()) < 1.3
    assert float(found.samples.var(dim=1).mean() / found.std.square().mean()) == pytest.approx(1, abs=0.1)


def test_without_noise_any_spectrum_comes_back(stars):
    """Also one that the basis does not hold."""
    odd = stars.flux[:20]
    found = WienerDenoiser(3).fit(source(1500, 1), source(50, 2)).denoise(odd, 1e-6 * stars.sigma[:20])
    assert float((found.mean - odd).abs().max()) < 1e-4


def test_stars_of_a_survey_are_in_its_errors_also_at_high_signal_to_noise(simulator):
    known = WienerDenoiser(48).fit(simulator.source("train", 3, 1500), simulator.source("validation", 3, 20))
    bright = Simulator.build(noise_level=0.03).draw("test", 3, 0, 60)
    found = known.denoise(bright.flux, bright.sigma)
    off = ((found.mean - bright.truth.flux) / found.std).abs()
    # 60 stars of some ninety directions. Without the rest of the basis 61 and 90 % are inside.
    assert float((off < 1).float().mean()) == pytest.approx(0.68, abs=0.06)
    assert float((off < 1.96).float().mean()) == pytest.approx(0.95, abs=0.03)
    assert float(bright.known_snr().median()) > 150


def test_one_star_has_no_covariance_and_the_card_says_how_many_were_read(tmp_path):
    with pytest.raises(DataError, match="no covariance"):
        WienerDenoiser().fit(source(1, 1), source(5, 2))
    few = WienerDenoiser(8).fit(source(3000, 1), source(50, 2))
    few.save(tmp_path / "wiener")
    assert "training spectra: 2048" in (tmp_path / "wiener" / "card.md").read_text()


@pytest.mark.parametrize(
    ("name", "asked"), [("strength", "a"), ("strength", [0.1, 0.2]), ("draws", 2.7), ("draws", "3")]
)
def test_what_is_no_number_is_refused_in_words(wiener, stars, name, asked):
    with pytest.raises(ConfigError, match=f"{name}: expected a"):
        wiener.denoise(stars.flux[:1], stars.sigma[:1], **{name: asked})
