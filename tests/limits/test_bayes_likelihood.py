"""The exact likelihood against scipy and numerical integration, and what counts as an observation."""

import copy

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from specvit.errors import ConfigError, DataError, ShapeError
from specvit.limits.bayes import Observation, log_likelihood

PIXELS = 32


class Lines(nn.Module):
    """A toy spectrograph without an emulator: two labels, smooth and non-linear."""

    def forward(self, labels: torch.Tensor, check: bool = True) -> torch.Tensor:
        x = torch.linspace(-1, 1, PIXELS, dtype=labels.dtype)
        return 1 + 0.1 * labels[:, :1] * x - 0.3 * torch.exp(labels[:, 1:]) * torch.exp(-((x / 0.2) ** 2))


@pytest.fixture
def toy() -> Observation:
    generator = torch.Generator().manual_seed(0)
    flux = torch.randn(2, PIXELS, generator=generator, dtype=torch.float64) * 0.2 + 1
    base = torch.rand(2, PIXELS, generator=generator, dtype=torch.float64) * 0.02 + 0.02
    gain = torch.full_like(base, 0.03)
    return Observation(flux, base, gain, torch.tensor([1.0, 1.3], dtype=torch.float64))


LABELS = torch.tensor([[[0.2, -0.3], [1.0, 0.4]], [[0.0, 0.0], [-2.0, -1.0]]], dtype=torch.float64)


def scipy_log_likelihood(toy: Observation, star: int, labels: torch.Tensor, amplitude: float) -> float:
    model = amplitude * Lines()(labels[None])[0].numpy()
    sigma = np.sqrt(toy.base[star].numpy() + toy.gain[star].numpy() * model)
    return stats.norm.logpdf(toy.flux[star].numpy(), model, sigma).sum()


def constant(toy: Observation, star: int) -> float:
    """What the product leaves out: the normalisation with the working variance."""
    return float(-0.5 * (2 * np.pi / toy.weight[star]).log().sum())


def test_likelihood_with_known_amplitude_is_that_of_scipy(toy):
    found, amplitude = log_likelihood(Lines(), toy, LABELS, None)
    for star in range(2):
        for sample in range(2):
            expected = scipy_log_likelihood(toy, star, LABELS[star, sample], float(toy.scale[star]))
            assert found[star, sample] + constant(toy, star) == pytest.approx(expected, abs=1e-9)
    assert torch.equal(amplitude, toy.scale[:, None].expand(2, 2))


def test_mean_over_drawn_amplitudes_is_the_integral_over_all_amplitudes(toy):
    normal = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for star in range(2):
        labels = LABELS[star, 0]

        def integrand(log_amplitude: float, star: int = star, labels: torch.Tensor = labels) -> float:
            value = scipy_log_likelihood(toy, star, labels, np.exp(log_amplitude))
            return np.exp(value - constant(toy, star))

        expected = integrate.quad(integrand, np.log(0.5), np.log(2.0), epsabs=0, epsrel=1e-9, points=[0.0])[0]
        many = labels.expand(1, 20_000, 2)
        weight = log_likelihood(Lines(), toy[star : star + 1], many, normal[star : star + 1])[0].exp()
        error = float(weight.std()) / np.sqrt(20_000)
        assert abs(float(weight.mean()) - expected) < 4 * error
        assert error < 0.01 * expected


def test_dead_pixels_say_nothing(toy):
    sigma = toy.weight.rsqrt()
    sigma[:, 5:9] = torch.inf
    first = toy.flux.clone()
    first[:, 5:9] = 1e6
    second = toy.flux.clone()
    second[:, 5:9] = torch.nan
    values = [
        log_likelihood(Lines(), Observation.from_pipeline(f, sigma), LABELS, None)[0] for f in (first, second)
    ]
    assert torch.equal(*values)
    alive = torch.ones(PIXELS, dtype=torch.bool)
    alive[5:9] = False
    expected = stats.norm.logpdf(
        toy.flux[:, None, alive],
        Lines()(LABELS.flatten(0, 1)).view(2, 2, -1)[..., alive],
        sigma[:, None, alive],
    ).sum(-1)
    assert np.allclose(np.diff(values[0]), np.diff(expected), atol=1e-8)


def test_observation_of_a_simulated_batch_has_the_variance_the_noise_was_drawn_with(simulator):
    batch = simulator.draw("test", 3, 0, 8)
    observation = Observation.from_batch(batch, simulator.instrument)
    variance = observation.base + observation.gain * batch.truth.flux
    assert torch.allclose(variance, batch.truth.sigma**2, rtol=1e-4)


def test_noise_level_scales_all_variances(simulator):
    batch = simulator.draw("test", 3, 0, 2)
    once = Observation.from_batch(batch, simulator.instrument)
    twice = Observation.from_batch(batch, simulator.instrument, noise_level=2.0)
    assert torch.allclose(twice.base, 4 * once.base)
    assert torch.allclose(twice.gain, 4 * once.gain, rtol=1e-3)


def test_single_precision_loses_less_than_a_twentieth_of_a_unit_of_log_likelihood(simulator):
    # Far from the truth, at high S/N, where numbers are largest: differences between labels are what counts.
    conditions = simulator.instrument.fixed_conditions(1, mag=18.0)
    labels = torch.tensor([[4800.0, 2.5, -0.5, 0.1, 0.0]])
    noise = torch.randn(1, simulator.grid.size, generator=torch.Generator().manual_seed(4))
    batch = simulator.observe(labels, conditions, noise)
    observation = Observation.from_batch(batch, simulator.instrument)
    step = torch.tensor([20.0, 0.05, 0.03, 0.02, 0.05])
    near = (labels + step * torch.linspace(-2, 2, 9)[:, None])[None].double()
    precise = copy.deepcopy(simulator.observed).double()
    exact = Observation(*(getattr(observation, f).double() for f in ("flux", "base", "gain", "scale")))
    difference = log_likelihood(simulator.observed, observation, near, None)[0]
    difference = difference - log_likelihood(precise, exact, near.float().double(), None)[0]
    assert (difference - difference.mean()).abs().max() < 0.05


def test_observation_refuses_what_it_cannot_use(simulator):
    batch = simulator.draw("test", 3, 0, 2)
    with pytest.raises(DataError, match="no truth"):
        Observation.from_batch(batch.without_truth(), simulator.instrument)
    with pytest.raises(ConfigError, match="noise_level"):
        Observation.from_batch(batch, simulator.instrument, noise_level=0.0)
    with pytest.raises(ShapeError, match="share one shape"):
        Observation(batch.flux, batch.sigma[:, :-1], batch.sigma, batch.snr)
    with pytest.raises(ShapeError, match="scale"):
        Observation(batch.flux, batch.sigma, batch.sigma, batch.snr[:1])
