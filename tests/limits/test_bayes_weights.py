"""Importance weights, estimates and kernel mixtures against closed forms and numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from specvit.limits.bayes.estimates import estimate
from specvit.limits.bayes.proposal import KERNELS, Mixture
from specvit.limits.bayes.weights import (
    effective_sample_size,
    moments,
    normalise,
    quantiles,
    resample,
    temper,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equal_weights_count_every_sample_and_one_weight_counts_one():
    assert torch.allclose(effective_sample_size(normalise(torch.zeros(2, 50))), torch.tensor(50.0).double())
    single = torch.full((1, 50), -torch.inf)
    single[0, 3] = 1e4
    assert effective_sample_size(normalise(single)).item() == 1.0


def test_moments_of_equal_weights_are_the_unbiased_sample_moments():
    values = normal(3, 40, 2)
    mean, covariance = moments(values, torch.full((3, 40), 1 / 40, dtype=torch.float64))
    assert np.allclose(mean, values.numpy().mean(1))
    assert np.allclose(covariance[1], np.cov(values[1].numpy().T))


def test_estimates_from_equal_weights_are_the_sample_moments_and_their_errors():
    values = normal(3, 40, 2)
    found = estimate(values, torch.full((3, 40), 1 / 40, dtype=torch.float64), (0.5,))
    assert np.allclose(found.mean, values.numpy().mean(1))
    assert np.allclose(found.covariance[1], np.cov(values[1].numpy().T), rtol=2 / 40**2)
    assert np.allclose(found.mean_error, values.numpy().std(1) / np.sqrt(40))
    assert np.allclose(found.level_error, 0.5 / np.sqrt(40))


@pytest.mark.parametrize(("centre", "width"), [(0.3, 1.3), (0.0, 0.9), (0.5, 1.6)])
def test_estimates_from_few_weighted_draws_have_no_bias_of_first_order(centre, width):
    """50 draws of N(0, width²) for N(centre, 1), 100 000 times: first-order terms are 1 to 3 %, what is left a tenth."""
    draws = width * normal(100_000, 50, 1)
    weight = normalise(-0.5 * (draws[..., 0] - centre).square() + 0.5 * (draws[..., 0] / width).square())
    found = estimate(draws, weight, (0.5,))
    plain = torch.einsum("bs,bsp->bp", weight, draws)
    scatter = torch.einsum("bs,bsp->b", weight, (draws - plain[:, None]).square())
    error = float(found.covariance.std()) / 100_000**0.5
    assert abs(float(scatter.mean()) - 1) > 8 * error  # the plain variance is off, and this would see it
    assert abs(float(found.covariance.mean()) - 1) < 4 * error + 5 / 50**2
    assert abs(float(found.mean.mean()) - centre) < 4 * float(found.mean.std()) / 100_000**0.5 + 3 / 50**2


@given(arrays(np.float64, (1, 40), elements=st.floats(-60, 60)), st.integers(0, 1000))
def test_no_variance_is_negative_whatever_the_weights(log_weight, seed):
    found = estimate(normal(1, 40, 2, seed=seed), normalise(torch.from_numpy(log_weight)), (0.5,))
    assert torch.linalg.eigvalsh(found.covariance).min() > -1e-12


def test_weighted_quantiles_of_equal_weights_are_those_of_numpy():
    values = normal(2, 101)
    levels = (0.025, 0.16, 0.5, 0.84, 0.975)
    found = quantiles(values, torch.full((2, 101), 1 / 101, dtype=torch.float64), levels)
    assert np.allclose(found, np.quantile(values.numpy(), levels, axis=1, method="hazen").T)


def test_a_sample_of_weight_two_moves_quantiles_like_two_samples():
    weight = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64) / 4
    median = quantiles(torch.tensor([[0.0, 1.0, 5.0]], dtype=torch.float64), weight, (0.5,))
    assert median.item() == 1.0


def test_tempering_hits_its_target_and_leaves_easy_stars_alone():
    steep, flat = normal(1, 4000) * 40, normal(1, 4000) * 0.1
    log_likelihood = torch.cat([steep, flat])
    beta = temper(log_likelihood, torch.zeros_like(log_likelihood), 100.0)
    ess = effective_sample_size(normalise(beta[:, None] * log_likelihood))
    assert beta[1] == 1.0
    assert abs(ess[0] - 100) < 1


def test_systematic_resampling_draws_in_proportion_to_the_weights():
    weight = torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)
    picked = resample(weight, 800, torch.Generator().manual_seed(1))[0]
    assert np.abs(np.bincount(picked, minlength=4) - 800 * weight[0].numpy()).max() <= 1


def test_mixture_keeps_mean_and_covariance_of_the_samples_it_was_fitted_to():
    z = normal(1, 2000, 2) @ torch.tensor([[0.1, 0.08], [0.0, 0.02]], dtype=torch.float64) + 1.0
    equal = torch.full((1, 2000), 1 / 2000, dtype=torch.float64)
    mean, covariance = moments(z, equal)
    mixture = Mixture.fit(z, equal, torch.Generator().manual_seed(3))
    width = (4 / (KERNELS * 4)) ** (1 / 6)  # Silverman 1986 for two dimensions
    total = torch.cov(mixture.centres[0].T, correction=0) + width**2 * covariance[0]
    # The centres are a systematic sample of 96 points: their moments scatter by 10-15 %.
    spread = covariance[0].diagonal().sqrt()
    assert ((mixture.centres.mean(1)[0] - mean[0]).abs() < 0.3 * spread).all()
    assert ((total - covariance[0]).abs() / torch.outer(spread, spread) < 0.3).all()
