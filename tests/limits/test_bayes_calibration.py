"""Posteriors of simulated stars against their true labels: widths, ranks, and means in every S/N bin.

The larger set is for the record in docs/limits.md, half an hour on one core:

    pytest -m slow -s tests/limits/test_bayes_calibration.py -k 10000
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from specvit.errors import ShapeError
from specvit.limits.bayes import LEVELS, BayesCeiling, Observation, Posterior, bayes_r2, posterior_widths
from specvit.spectra import LOW_T_BOX

DRAWS = 127
EDGES = (0.0, 3.5, 5.0, 7.0, 10.0, 14.0, 1000.0)


def made(stars: int, width: float, seed: int) -> tuple[Posterior, torch.Tensor]:
    """Return normal posteriors stated `width` times as wide as they are, and true labels."""
    generator = torch.Generator().manual_seed(seed)
    truth, mean, draws = (
        torch.randn(stars, *shape, 5, generator=generator, dtype=torch.float64)
        for shape in ((), (), (DRAWS,))
    )
    flat = torch.zeros(stars, 5, dtype=torch.float64)
    levels = torch.zeros(stars, 5, len(LEVELS), dtype=torch.float64)
    count = torch.full((stars,), 1000.0)
    posterior = Posterior(
        LOW_T_BOX.names,
        mean,
        width**2 * torch.eye(5, dtype=torch.float64).expand(stars, 5, 5),
        *(flat, flat, levels, levels, (mean[:, None] + width * draws).float()),
        *(count, torch.zeros(stars), count.long(), torch.ones(stars, dtype=torch.bool)),
    )
    return posterior, mean + truth


def test_widths_that_are_right_are_found_right_and_narrow_ones_are_found_out():
    for width, expected in ((1.0, 1.0), (0.9, 1 / 0.81)):
        found = posterior_widths(*made(4000, width, seed=1))
        assert abs(found.variance - expected) < 4 * found.variance_error
        assert found.variance_error == pytest.approx(math.sqrt(2 / 5 / 4000) * expected, rel=0.1)
        assert (found.ranks > 1 + 4 * found.ranks_error) == (width < 1)
        assert abs(found.ranks - 1) < 4 * found.ranks_error or width < 1
    with pytest.raises(ShapeError, match="labels: expected"):
        posterior_widths(made(3, 1.0, 1)[0], torch.zeros(2, 5))


def test_a_label_known_exactly_has_no_width_and_one_without_a_posterior_is_not_passed_over():
    posterior, labels = made(4000, 1.0, seed=1)
    covariance = posterior.covariance.clone()
    covariance[:2000, 0], covariance[:2000, :, 0], covariance[0] = 0.0, 0.0, 0.0
    found = posterior_widths(replace(posterior, covariance=covariance), labels)
    assert abs(found.variance - 1) < 4 * found.variance_error
    covariance[7, 3, 3] = torch.nan
    assert math.isnan(posterior_widths(replace(posterior, covariance=covariance), labels).variance)


@pytest.fixture(scope="module", params=[2000, 10_000])
def calibrated(request, simulator):
    """Stars of the reference world with their posteriors, S/N and true labels."""
    batch = simulator.draw("test", 41, 0, request.param)
    observation = Observation.from_batch(batch, simulator.instrument)
    return batch, BayesCeiling(simulator.observed, simulator.prior).posterior(observation)


@pytest.mark.slow
def test_posteriors_are_as_wide_as_the_truth_says(calibrated):
    """2000 stars see a variance wrong by 7 %, 10 000 stars by 3 %, each with 4 σ."""
    batch, posterior = calibrated
    found = posterior_widths(posterior, batch.labels)
    ceiling = bayes_r2(posterior, batch.labels, "log_g", 16 / 12)
    print(f"\n{len(posterior)} stars: {found}\n{ceiling}")
    assert found.variance_error < 0.9 / math.sqrt(len(posterior))
    assert abs(found.variance - 1) < 3.9 * found.variance_error  # false alarm rate 1e-4, as below
    assert abs(found.ranks - 1) < 3.9 * found.ranks_error
    assert abs(ceiling.discrepancy) < 3.9
    assert ceiling.converged
    assert ceiling.sampler_error < 0.001


@pytest.mark.slow
def test_ranks_of_true_labels_are_uniform(calibrated):
    """Simulation-based calibration (Talts et al. 2018), all five labels; false alarm rate 1e-3."""
    batch, posterior = calibrated
    edges = np.linspace(0, DRAWS + 1, 17)
    for name, ranks in zip(posterior.names, posterior.rank(batch.labels).T.numpy(), strict=True):
        p_value = stats.chisquare(np.histogram(ranks, edges)[0]).pvalue
        print(f"\nranks of {name}: p = {p_value:.3f}", end="")
        assert p_value > 1e-3 / 5


@pytest.mark.slow
def test_posterior_means_agree_with_the_truth_in_every_snr_bin(calibrated):
    batch, posterior = calibrated
    sigma = posterior.covariance.diagonal(dim1=1, dim2=2).sqrt()
    pull = (batch.labels.double() - posterior.mean) / sigma
    for low, high in itertools.pairwise(EDGES):
        rows = (batch.snr >= low) & (batch.snr < high)
        count = int(rows.sum())
        assert count > 50
        # 30 means and 6 widths: false alarm rate 1e-3 for all together.
        assert (pull[rows].mean(0).abs() < 4.2 * pull[rows].std(0) / math.sqrt(count)).all(), (low, high)
        found = posterior_widths(posterior, batch.labels, rows)
        assert abs(found.variance - 1) < 4.2 * found.variance_error, (low, high)
