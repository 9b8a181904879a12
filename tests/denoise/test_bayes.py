"""The Bayes denoiser on the reference world: better than linear, calibrated, right in both limits, saved."""

import numpy as np
import pytest
import torch

from specvit.denoise import BayesDenoiser, Denoiser, WienerDenoiser
from specvit.errors import RunError
from specvit.limits.bayes import SamplerSettings
from truncated_normal import TruncatedNormal

QUICK = {
    "bank_size": 1 << 12,
    "settings": SamplerSettings(round_size=256, minimum_ess=120, maximum_samples=4096),
}
STARS = 12


@pytest.fixture(scope="module")
def sources(simulator):
    return simulator.source("train", 1, 400), simulator.source("validation", 1, 20)


@pytest.fixture(scope="module")
def bayes(simulator, sources):
    return BayesDenoiser(simulator.observed, **QUICK).fit(*sources)


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 31, 0, STARS)


@pytest.fixture(scope="module")
def found(bayes, stars):
    return bayes.denoise(stars.flux, stars.sigma, draws=20)


def test_it_keeps_the_protocol(bayes):
    assert isinstance(bayes, Denoiser)


def test_it_leaves_less_than_the_best_linear_filter(found, sources, stars):
    linear = WienerDenoiser(24).fit(*sources).denoise(stars.flux, stars.sigma)
    error = [
        ((one.mean - stars.truth.flux) / stars.truth.sigma).square().sum(dim=1) for one in (found, linear)
    ]
    # Five labels and a flux scale: at most six of 4096 directions are left, of the linear filter a dozen.
    assert 2 < float(error[0].mean()) < 7.5
    assert float((error[1] - error[0]).mean()) > 3


def test_its_errors_are_those_it_states(found, stars):
    converged = found.diagnostics.converged
    assert int(converged.sum()) >= STARS - 2
    weight = stars.truth.sigma**-2
    error = ((found.mean - stars.truth.flux).square() * weight).sum(dim=1)[converged]
    stated = (found.std.square() * weight).sum(dim=1)[converged]
    # Some five directions each for 12 stars: 60 squares, 18 %; false alarms below 1e-3.
    assert 0.4 < float(error.sum() / stated.sum()) < 1.7


def test_draws_scatter_about_the_mean_as_stated(found):
    scatter = (found.samples - found.mean[:, None]).square().mean(dim=1).sum() / found.std.square().sum()
    assert 0.85 < float(scatter) < 1.15


def test_with_little_noise_the_spectrum_comes_back(bayes, simulator):
    bright = simulator.draw("test", 32, 0, 2)
    noise = torch.randn(bright.flux.shape, generator=torch.Generator().manual_seed(0))
    sigma = 0.01 * torch.ones_like(noise)
    found = bayes.denoise(bright.truth.flux + sigma * noise, sigma)
    # Six of 4096 directions leave 0.038 of the noise.
    assert float((found.mean - bright.truth.flux).square().mean().sqrt()) < 0.06 * 0.01


def test_with_nothing_but_noise_the_mean_over_the_prior_comes_back(bayes, simulator):
    labels = simulator.prior.sample(4000, np.random.default_rng(5))
    with torch.no_grad():
        spectra = bayes.emulator(labels, check=False)
    expected = (spectra / spectra.mean(dim=1, keepdim=True)).mean(dim=0)
    # Four times the same: each is sampled anew, and a mean of 120 effective draws is uncertain.
    noise = torch.full((4, bayes.grid.size), 60.0)
    found = bayes.denoise(torch.ones_like(noise), noise).mean.mean(dim=0)
    shape = found / found.mean()
    spread = (spectra / spectra.mean(dim=1, keepdim=True)).std(dim=0)
    assert float((shape - expected).abs().mean()) < 0.3 * float(spread.mean())


def test_saved_and_loaded_it_answers_the_same(bayes, stars, found, tmp_path):
    bayes.save(tmp_path / "bayes")
    again = BayesDenoiser.load(tmp_path / "bayes")
    assert again.digest == bayes.digest
    some = again.denoise(stars.flux[:2], stars.sigma[:2])
    difference = (some.mean - found.mean[:2]) / found.std[:2]
    assert float(difference.square().mean().sqrt()) < 0.2


def test_a_prior_of_ones_own_is_not_saved(simulator, sources, tmp_path):
    space = simulator.prior.label_space
    prior = TruncatedNormal(space, (5000, 3, -1, 0, 0), (500, 1, 0.5, 0.2, 0.2))
    own = BayesDenoiser(simulator.observed, prior).fit(*sources)
    with pytest.raises(RunError, match="only a prior with a name"):
        own.save(tmp_path / "own")
