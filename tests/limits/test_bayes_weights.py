"""Importance weights, mixtures and coordinates against closed forms and numpy."""

import numpy as np
import torch
from scipy import stats

from specvit.limits.bayes.coordinates import ProbitBox, log_standard_normal
from specvit.limits.bayes.proposal import Mixture
from specvit.limits.bayes.weights import (
    effective_sample_size,
    moments,
    normalise,
    quantiles,
    resample,
    temper,
    variance_error,
)
from specvit.spectra import LOW_T_BOX


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


def test_variance_error_predicts_the_scatter_of_the_estimated_variance():
    # 400 repeats of 500 draws: the scatter itself is known to 3.5 %.
    values = normal(400, 500, 1)
    equal = torch.full((400, 500), 1 / 500, dtype=torch.float64)
    scatter = moments(values, equal)[1][:, 0, 0].std()
    assert abs(variance_error(values, equal).mean() / scatter - 1) < 0.12


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


def test_box_coordinates_are_inverse_to_each_other_and_make_normal_uniform():
    box = ProbitBox(LOW_T_BOX)
    z = normal(4000, 5)
    labels = box.to_labels(z)
    assert torch.allclose(box.from_labels(labels), z, atol=1e-6)
    LOW_T_BOX.check(labels)
    unit = (labels[:, 1] - 1) / 4
    assert stats.kstest(unit.numpy(), "uniform").pvalue > 1e-4  # false alarm rate 1e-4, seed fixed


def test_coordinates_of_a_corner_are_finite():
    corner = torch.tensor([LOW_T_BOX.low, LOW_T_BOX.high])
    box = ProbitBox(LOW_T_BOX)
    assert torch.allclose(box.to_labels(box.from_labels(corner)), corner.double(), rtol=1e-6)


def test_mixture_draws_follow_its_density():
    # The mean of target/proposal over draws of the proposal is one for any normalised target.
    generator = torch.Generator().manual_seed(2)
    z = normal(2, 300, 3) * torch.tensor([0.5, 0.2, 1.0]) + torch.tensor([0.3, -1.0, 0.0])
    mixture = Mixture.fit(z, torch.full((2, 300), 1 / 300, dtype=torch.float64), generator)
    draws = mixture.sample(40_000, generator)
    ratio = (log_standard_normal(draws) - mixture.log_density(draws)).exp()
    error = ratio.std(1) / 200
    assert ((ratio.mean(1) - 1).abs() < 4 * error).all()
    assert (error < 0.02).all()


def test_mixture_keeps_mean_and_covariance_of_the_samples_it_was_fitted_to():
    z = normal(1, 2000, 2) @ torch.tensor([[0.1, 0.08], [0.0, 0.02]], dtype=torch.float64) + 1.0
    equal = torch.full((1, 2000), 1 / 2000, dtype=torch.float64)
    mean, covariance = moments(z, equal)
    mixture = Mixture.fit(z, equal, torch.Generator().manual_seed(3))
    centres = torch.cov(mixture.centres[0].T, correction=0)
    total = centres + mixture.factor[0] @ mixture.factor[0].T
    # The centres are a systematic sample of 96 points: their moments scatter by 10-15 %.
    spread = covariance[0].diagonal().sqrt()
    assert ((mixture.centres.mean(1)[0] - mean[0]).abs() < 0.3 * spread).all()
    assert ((total - covariance[0]).abs() / torch.outer(spread, spread) < 0.3).all()
