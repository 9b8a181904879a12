"""Posteriors of noise-free spectra against the linear-Gaussian closed form, and against the truth they must cover."""

import pytest
import torch
from torch import nn

from specvit.limits.bayes import BayesCeiling, Observation, SamplerSettings, posterior_spectra
from specvit.simulate import UniformPrior
from specvit.spectra import LabelSpace

STARS, PIXELS = 12, 48


class LinearSpectra(nn.Module):
    """Labels are the coefficients; the flux is 100 + labels @ design."""

    def __init__(self, design):
        super().__init__()
        self.register_buffer("rows", torch.cat([torch.full((1, design.shape[1]), 100.0), design]))

    def coefficients(self, labels):
        return labels

    def multipliers(self, coefficients):
        return torch.cat([torch.ones_like(coefficients[:, :1]), coefficients], dim=1)

    def forward(self, labels, check=True):
        return self.multipliers(labels) @ self.rows


@pytest.fixture(scope="module")
def world():
    generator = torch.Generator().manual_seed(0)
    design = torch.randn(3, PIXELS, generator=generator)
    spectra = LinearSpectra(design)
    space = LabelSpace(("a", "b", "c"), ("", "", ""), (-10.0, -12.0, -8.0), (10.0, 8.0, 12.0))
    truth = torch.randn(STARS, 3, generator=generator)
    sigma = 0.5 + torch.rand(STARS, PIXELS, generator=generator)
    flux = spectra(truth) + sigma * torch.randn(STARS, PIXELS, generator=generator)
    observation = Observation(flux, sigma.square(), torch.zeros_like(sigma), torch.ones(STARS))
    return spectra, UniformPrior(space), observation, sigma


def found(world, amplitude, draws=0):
    spectra, prior, observation, _ = world
    settings = SamplerSettings(minimum_ess=2000)
    ceiling = BayesCeiling(spectra, prior, 1 << 12, seed=1, amplitude=amplitude, settings=settings)
    return posterior_spectra(ceiling, observation, draws)


def closed_form(world, amplitude):
    """Mean and variance of the flux; a free amplitude is one more direction, the spectrum itself."""
    spectra, _, observation, sigma = world
    rows = spectra.rows.double() if amplitude == "marginal" else spectra.rows[1:].double()
    weight = sigma.double() ** -2
    covariance = torch.linalg.inv(torch.einsum("pl,bl,ql->bpq", rows, weight, rows))
    offset = 0 if amplitude == "marginal" else 100
    mean = torch.einsum("bpq,ql,bl->bp", covariance, rows, weight * (observation.flux.double() - offset))
    return offset + mean @ rows, torch.einsum("pl,bpq,ql->bl", rows, covariance, rows)


@pytest.mark.parametrize("amplitude", ["known", "marginal"])
def test_mean_and_variance_per_pixel_are_those_of_the_closed_form(world, amplitude):
    posterior, (mean, variance) = found(world, amplitude), closed_form(world, amplitude)
    assert bool(posterior.converged.all())
    pull = (posterior.mean - mean) / variance.sqrt() * posterior.ess[:, None].sqrt()
    # Means over importance samples: pulls of about unit scatter, correlated over the pixels of a star.
    assert pull.square().mean() < 2.5
    ratio = posterior.variance / variance
    assert abs(float(ratio.mean()) - 1) < 0.03
    assert float((ratio - 1).abs().max()) < 0.3


def test_draws_scatter_as_the_variance_says(world):
    posterior = found(world, "marginal", draws=400)
    scatter = posterior.draws.double().var(dim=1) / posterior.variance
    assert posterior.draws.shape == (STARS, 400, PIXELS)
    assert abs(float(scatter.mean()) - 1) < 0.05
    centre = posterior.draws.double().mean(dim=1) - posterior.mean
    assert float((centre.square() / posterior.variance).mean()) < 4 / 400


def test_draws_are_the_spectra_of_their_labels(world):
    posterior = found(world, "known", draws=5)
    spectra = world[0]
    expected = spectra(posterior.labels.flatten(0, 1).float()).view(STARS, 5, PIXELS)
    torch.testing.assert_close(posterior.draws, expected, rtol=1e-5, atol=1e-3)
