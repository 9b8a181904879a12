"""The sampler without any spectrum: posteriors of known moments, errors that hold, weights that are refused."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from posterior_targets import LABELS, Sampled, sample_normal
from specvit.errors import ConfigError
from specvit.limits.bayes import SamplerSettings
from specvit.limits.bayes.adaptation import Target, planned_draws
from specvit.limits.bayes.pareto import k_limit, pareto_k
from specvit.limits.bayes.proposal import Mixture
from specvit.limits.bayes.sampler import sample_posteriors

STARS = 300

#: The prior is a standard normal in these units of the cube: its faces are six standard deviations away.
UNIT = 1 / 12


def drawn(width: float, seed: int) -> Sampled:
    """Sample stars of a normal prior whose posteriors have `width` times the prior's."""
    generator = torch.Generator().manual_seed(seed)
    likelihood = torch.tensor(UNIT / math.sqrt(width**-2 - 1) if width < 1 else 1e6, dtype=torch.float64)
    truth = torch.randn(STARS, LABELS, generator=generator, dtype=torch.float64)
    noise = torch.randn(STARS, LABELS, generator=generator, dtype=torch.float64)
    centre = 0.5 + UNIT * truth + (likelihood * noise if width < 1 else 0)
    return sample_normal(centre, likelihood, UNIT, seed)


@pytest.fixture(scope="module", params=[1.0, 0.3, 0.1])
def normal(request) -> Sampled:
    return drawn(request.param, seed=5)


@pytest.fixture(scope="module")
def cut() -> Sampled:
    """Likelihoods that peak on faces, in corners and outside the cube, as wide as the cube and narrow."""
    generator = torch.Generator().manual_seed(6)
    centre = torch.rand(STARS, LABELS, generator=generator, dtype=torch.float64)
    centre[:, :2] = (4 * centre[:, :2] - 1.5).clamp(-0.1, 1.1)
    width = torch.tensor([0.1, 0.05, 0.02, 0.3, 1.0], dtype=torch.float64)
    return sample_normal(centre, width, math.inf, seed=6)


def check_variance(sampled: Sampled) -> None:
    """The mean of 300 stars · 5 labels is known to 0.125 % or better: 0.5 % is seen with 4 σ; false alarm rate 1e-4."""
    ratio = sampled.ratio.mean(1)
    error = float(ratio.std()) / math.sqrt(STARS)
    assert error < 0.00125
    assert abs(float(ratio.mean()) - 1) < 3.9 * error


def test_variance_of_normal_posteriors_is_right_to_half_a_percent(normal):
    check_variance(normal)


def test_variance_of_posteriors_cut_off_by_faces_is_right_to_half_a_percent(cut):
    check_variance(cut)


def check_errors(sampled: Sampled) -> None:
    """Pulls have unit scatter: rms of 1500 is known to 1.8 %, less for the skewed ones of variances."""
    for pull, low, high in (
        (sampled.mean_pull, 0.94, 1.06),
        (sampled.variance_pull, 0.94, 1.15),
        (sampled.level_pull, 0.94, 1.10),
    ):
        assert low < float(pull.square().mean().sqrt()) < high
        # A variance that came out small has a small error, too: its pulls are skewed.
        assert abs(float(pull.mean())) < 0.15


def test_estimates_scatter_around_the_truth_as_their_errors_say(normal):
    check_errors(normal)


def test_estimates_at_faces_scatter_around_the_truth_as_their_errors_say(cut):
    check_errors(cut)


class Recorded:
    """A fixed normal proposal around 1/2 in one dimension that notes the points it is to be fitted to."""

    def __init__(self) -> None:
        self.fitted_to: list[Tensor] = []

    def __len__(self) -> int:
        return 1

    def __getitem__(self, stars: Tensor) -> "Recorded":
        return self

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return 0.5 + 0.1 * torch.randn(1, count, 1, generator=generator, dtype=torch.float64)

    def log_density(self, points: Tensor) -> Tensor:
        return -50 * (points - 0.5).square().sum(-1)

    def refit(self, points: Tensor, weight: Tensor, generator: torch.Generator) -> "Recorded":
        self.fitted_to.append(points)
        return self


NARROW = Target(
    lambda points: torch.zeros_like(points[..., 0]),
    lambda stars, points: -200 * (points - 0.5).square().sum(-1),
)


def test_final_draws_are_none_of_those_a_proposal_was_fitted_to():
    proposal = Recorded()
    settings = SamplerSettings(round_size=64, minimum_ess=200)
    (found,) = sample_posteriors(NARROW, proposal, settings, torch.Generator().manual_seed(3))
    assert not torch.isin(found.points, proposal.fitted_to[-1]).any()
    assert found.spent == proposal.fitted_to[-1].shape[1] + found.points.shape[1]


def test_number_of_final_draws_is_that_planned_from_the_last_round_before_them():
    for seed in range(20):
        proposal = Recorded()
        settings = SamplerSettings(round_size=64, minimum_ess=200)
        (found,) = sample_posteriors(NARROW, proposal, settings, torch.Generator().manual_seed(seed))
        last = proposal.fitted_to[-1][:, -64:]
        weight = (NARROW.score(torch.zeros(1), last) - proposal.log_density(last)).exp()
        share = weight.sum(1).square() / weight.square().sum(1) / 64
        planned = planned_draws(share, settings, proposal.fitted_to[-1].shape[1])
        assert found.points.shape[1] == int(planned)


def test_mixture_draws_stay_in_the_cube_and_follow_their_density():
    # The mean of 1/q over draws of q is the volume of the cube. q is cut off at a corner: two thirds of it are inside.
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(2, 300, 3, generator=generator, dtype=torch.float64)
    u = (0.5 * torch.tensor([0.2, 0.1, 0.4]) * z).abs().clamp(max=1.0)
    mixture = Mixture.fit(u, torch.full((2, 300), 1 / 300, dtype=torch.float64), generator)
    draws = mixture.sample(40_000, generator)
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert (mixture.inside < 0.7).all()
    ratio = (-mixture.log_density(draws)).exp()
    error = ratio.std(1) / 200
    # The part inside is known from 1024 draws, to 2.4 % of itself.
    assert ((ratio.mean(1) - 1).abs() < 0.12 + 4 * error).all()
    # Within one mixture that part cancels: means over the cube of functions of u are exact.
    weight = ratio / ratio.sum(1, keepdim=True)
    for power, expected in ((1, 1 / 2), (2, 1 / 3)):
        found = torch.einsum("bs,bsp->bp", weight, draws**power)
        scatter = torch.einsum("bs,bsp->bp", weight**2, (draws**power - expected).square()).sqrt()
        assert ((found - expected).abs() < 4.5 * scatter).all()  # 12 numbers, false alarm rate 1e-4
        assert (scatter < 0.02).all()


@pytest.mark.parametrize("sigma", [0.95, 0.8, 0.6])
def test_tail_of_normal_weights_has_the_shape_of_theory(sigma):
    """A unit normal sampled with a narrower one: P(w > t) falls as t^(-1/k), k = 1 - sigma²."""
    z = sigma * torch.randn(200, 4000, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    k = pareto_k(-0.5 * z.square() * (1 - sigma**-2))
    # A logarithm in the tail and the prior of the fit shift k by up to 0.12; one fit scatters by 0.1.
    assert abs(float(k.mean()) - (1 - sigma**2)) < 0.15


def test_fitted_shape_is_that_of_a_generalised_pareto_law():
    for shape in (0.2, 0.5, 0.9):
        weight = stats.genpareto.rvs(shape, size=(100, 10_000), random_state=np.random.default_rng(5))
        k = pareto_k(torch.from_numpy(weight).log())
        assert abs(float(k.mean()) - shape) < 0.06


def test_tails_too_heavy_for_the_draws_are_told_from_light_ones():
    # A normal of unit width drawn with one of 0.4 (k = 0.84, one fit scatters by 0.15) and of 1.2 (bounded weights).
    normal = torch.randn(100, 2048, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    heavy, light = (pareto_k(-0.5 * (s * normal).square() * (1 - s**-2)) for s in (0.4, 1.2))
    assert (heavy > k_limit(2048)).double().mean() > 0.5
    assert (light < k_limit(2048)).all()


def test_few_weights_cannot_be_judged_and_equal_ones_have_no_tail():
    assert torch.isinf(pareto_k(torch.zeros(2, 20))).all()
    assert (pareto_k(torch.zeros(2, 500)) == -torch.inf).all()
    assert k_limit(100) == pytest.approx(0.5)
    assert k_limit(10**6) == 0.7


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"round_size": 16}, "round_size: expected 32 draws or more, got 16"),
        ({"round_size": 512, "maximum_samples": 1000}, "maximum_samples: expected two rounds of 512"),
        ({"minimum_ess": 0.0}, "minimum_ess: expected > 0"),
    ],
)
def test_settings_without_room_for_a_sample_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        SamplerSettings(**settings)
