"""A prior of one's own in the exact posterior: against dense sums, and against what cannot be meant."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from specvit.errors import ConfigError
from specvit.limits.bayes import BayesCeiling, Observation, SamplerSettings, log_likelihood
from specvit.simulate import DensityPrior, LatticeLike, LatticePrior, UniformPrior
from specvit.spectra import LabelSpace
from truncated_normal import Anywhere, TruncatedNormal

SPACE = LabelSpace(("a", "b"), ("", ""), (-3.0, 0.0), (3.0, 4.0))
#: Off centre and about as wide as the likelihood, so that the prior moves every posterior.
PRIOR = TruncatedNormal(SPACE, (1.0, 3.6), (0.5, 0.8))
SETTINGS = SamplerSettings(minimum_ess=3000, maximum_samples=1 << 16)
STARS, PIXELS = 6, 24


class Curved(nn.Module):
    """Spectra that are not linear in two labels."""

    def __init__(self):
        super().__init__()
        self.design = torch.randn(3, PIXELS, generator=torch.Generator().manual_seed(0))

    def forward(self, labels: Tensor, check: bool = True) -> Tensor:
        a, b = labels[:, :1], labels[:, 1:]
        return 50 + a * self.design[0] + b * self.design[1] + 0.3 * a * b * self.design[2]


@pytest.fixture(scope="module")
def observation():
    generator = torch.Generator().manual_seed(1)
    truth = PRIOR.sample(STARS, np.random.default_rng(2))
    sigma = torch.full((STARS, PIXELS), 2.5)
    flux = Curved()(truth) + sigma * torch.randn(STARS, PIXELS, generator=generator)
    return Observation(flux, sigma.square(), torch.zeros_like(sigma), torch.ones(STARS))


def brute_force(prior, observation, cells=160):
    """Return posterior means and variances, (stars, 2), by a sum over the centres of a fine grid."""
    axes = [
        torch.from_numpy(low + (high - low) * (np.arange(cells) + 0.5) / cells)
        for low, high in zip(SPACE.low, SPACE.high, strict=True)
    ]
    labels = torch.cartesian_prod(*axes)
    everywhere = labels.expand(len(observation), -1, -1)
    log_weight = log_likelihood(Curved(), observation, everywhere, None)[0] + prior.log_density(labels)
    weight = log_weight.softmax(dim=1)
    mean = weight @ labels
    return mean, weight @ labels.square() - mean.square()


class HalfEmpty(TruncatedNormal):
    """A density that is zero in a part of the box."""

    def log_density(self, labels):
        return torch.where(labels[..., 0] > 0.9, -torch.inf, super().log_density(labels))


@pytest.mark.parametrize("prior", [PRIOR, HalfEmpty(SPACE, PRIOR.mean, PRIOR.std), UniformPrior(SPACE)])
def test_posteriors_agree_with_the_sum_over_a_grid(prior, observation):
    assert isinstance(prior, DensityPrior)
    ceiling = BayesCeiling(Curved(), prior, 1 << 12, seed=3, amplitude="known", settings=SETTINGS)
    posterior = ceiling.posterior(observation)
    mean, variance = brute_force(prior, observation)
    assert posterior.converged.all()
    # 3000 effective samples: standard errors of 1.8 % of σ and 2.6 % of a variance; more than four of each.
    assert ((posterior.mean - mean) / variance.sqrt()).abs().max() < 0.08
    found = posterior.covariance.diagonal(dim1=1, dim2=2)
    assert (found / variance - 1).abs().max() < 0.12


def test_the_prior_matters_here(observation):
    mean, variance = brute_force(PRIOR, observation)
    flat, _ = brute_force(UniformPrior(SPACE), observation)
    assert ((flat - mean) / variance.sqrt()).abs().mean() > 0.5


class Renamed:
    """A lattice of somebody else: the same nodes, another class."""

    def __init__(self, lattice):
        self.label_space, self.nodes, self.node_weights = (
            lattice.label_space,
            lattice.nodes,
            lattice.node_weights,
        )
        self.sample, self.variance = lattice.sample, lattice.variance


def test_a_lattice_is_known_by_its_nodes_not_by_its_class(observation):
    lattice = LatticePrior(SPACE, (1.0, 1.0))
    other = Renamed(lattice)
    assert isinstance(other, LatticeLike)
    ours, theirs = (
        BayesCeiling(Curved(), prior, seed=3, amplitude="known").posterior(observation[:2])
        for prior in (lattice, other)
    )
    assert torch.equal(ours.mean, theirs.mean)


def test_a_prior_without_density_or_nodes_is_refused():
    with pytest.raises(ConfigError, match=r"Anywhere has neither; give it `log_density`"):
        BayesCeiling(Curved(), Anywhere(SPACE))


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (lambda labels: labels[..., 0] * torch.nan, r"got shape \(4096,\) with NaN"),
        (lambda labels: labels, r"expected numbers of shape \(4096,\), got shape \(4096, 2\)"),
        (lambda labels: labels[..., 0] * 0 - torch.inf, "nowhere finite at 4096 points"),
    ],
)
def test_a_density_that_is_none_is_refused(density, message, observation):
    prior = TruncatedNormal(SPACE, PRIOR.mean, PRIOR.std)
    object.__setattr__(prior, "log_density", density)
    with pytest.raises(ConfigError, match=message):
        BayesCeiling(Curved(), prior, 1 << 12).posterior(observation)
