"""Samplers in a Gaussian world, whose posterior is known: the exact product covers, guidance is what it says it is."""

import pytest
import torch

from specvit.denoise.learned.config import DenoiserConfig
from specvit.denoise.learned.methods import FIRST, LAST
from specvit.denoise.learned.sampling import (
    ancestral,
    flow,
    guided_guess,
    noise_times,
    product_guess,
)
from specvit.errors import ConfigError

#: Prior standard deviations of independent coordinates, of an observation with unit noise.
SPREAD = torch.tensor([0.1, 0.6, 1.0, 3.0, 10.0])


def behind(state, time):
    """E[x | x + t ε] for x ~ N(0, SPREAD²)."""
    return SPREAD**2 / (SPREAD**2 + time**2) * state


def white(state, time):
    return state / (1 + time**2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_samples_of_the_prior_have_its_spread():
    start = 80 * torch.randn(20_000, 5, generator=generator())
    found = flow(behind, start, noise_times(40, 0.01, 80.0))
    torch.testing.assert_close(found.std(dim=0), SPREAD, rtol=0.03, atol=0)
    assert float((found.mean(dim=0) / SPREAD).abs().max()) < 0.03


def test_drawing_step_by_step_needs_small_steps():
    start = 80 * torch.randn(20_000, 5, generator=generator())
    few, many = (
        ancestral(behind, start, noise_times(steps, 0.01, 80.0), generator(1)).std(dim=0) / SPREAD
        for steps in (40, 400)
    )
    assert float(few.max()) < 0.95
    torch.testing.assert_close(many, torch.ones(5), rtol=0.04, atol=0)


def test_the_exact_product_covers_what_it_states():
    stars, draws = 1500, 64
    true = SPREAD * torch.randn(stars, 5, generator=generator(2))
    observed = true + torch.randn(stars, 5, generator=generator(3))
    spread = observed.repeat_interleave(draws, dim=0)
    start = spread + FIRST * torch.randn(spread.shape, generator=generator(4))
    times = noise_times(DenoiserConfig().steps_of_sampler, LAST, FIRST)
    found = flow(product_guess(behind, spread), start, times)
    samples = found.unflatten(0, (stars, draws))
    variance = SPREAD**2 / (1 + SPREAD**2)
    torch.testing.assert_close(samples.mean(dim=(0, 1)), (variance * observed).mean(dim=0), rtol=0, atol=0.05)
    torch.testing.assert_close(samples.std(dim=1).mean(dim=0), variance.sqrt(), rtol=0.04, atol=0)
    rank = (samples < true[:, None]).float().mean(dim=1)
    for share in (0.68, 0.95):
        inside = ((rank - 0.5).abs() <= share / 2).float().mean(dim=0)
        assert float((inside - share).abs().max()) < 0.03, (share, inside)


def test_guidance_is_exact_for_a_white_gaussian_prior_and_overconfident_without_its_variance():
    """One star observed with three noise levels, and once not at all; samples against the posterior of each."""
    noise = torch.tensor([0.3, 1.0, 3.0, torch.inf])
    observed = torch.tensor([1.0, -0.5, 2.0, 7.0]).expand(8000, -1)
    start = 50 * torch.randn(8000, 4, generator=generator(6))
    times = noise_times(80, 0.01, 50.0)
    variance = 1 / (1 + noise**-2)
    mean = torch.where(noise.isinf(), 0.0, variance * observed[0] / noise**2)
    found = flow(guided_guess(white, observed, noise), start, times)
    torch.testing.assert_close(found.mean(dim=0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(found.std(dim=0), variance.sqrt(), rtol=0.06, atol=0)
    sure = flow(guided_guess(white, observed, noise, scale=0.0), start, times)
    assert float(sure.std(dim=0)[1]) < 0.9 * float(variance[1].sqrt())


def test_product_of_observation_and_state_is_one_observation():
    seen = []

    def restore(state, factor):
        seen.append((state, factor))
        return state

    observed, state = torch.tensor([[2.0]]), torch.tensor([[5.0]])
    product_guess(restore, observed)(state, 2.0)
    (found, factor), precision = seen[0], 1 + 1 / 4
    assert factor == pytest.approx(precision**-0.5)
    assert float(found) == pytest.approx((2.0 + 5.0 / 4) / precision)


def test_times_fall_to_zero_and_refuse_what_cannot_be():
    times = noise_times(5, 0.1, 10.0)
    assert times == sorted(times, reverse=True)
    assert (times[0], times[-2], times[-1]) == (pytest.approx(10), pytest.approx(0.1), 0)
    for bad in ((1, 0.1, 1.0), (5, 0.0, 1.0), (5, 2.0, 1.0)):
        with pytest.raises(ConfigError, match="steps"):
            noise_times(*bad)
