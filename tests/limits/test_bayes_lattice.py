"""The lattice prior as a sum over lines: masses, interpolation, and posteriors against a brute-force sum."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from specvit.limits.bayes import BayesCeiling, Observation, SamplerSettings, log_likelihood
from specvit.limits.bayes.lines import CELLS, SUBCELLS, Lines
from specvit.simulate import LatticePrior
from specvit.spectra import LOW_T_BOX, LabelSpace

TWO = LabelSpace(("teff", "log_g"), ("K", "dex"), (4500.0, 2.0), (5250.0, 4.0))
STEPS = (250.0, 0.5)
CPU = torch.device("cpu")


class TwoLabels(nn.Module):
    def __init__(self, observed: nn.Module) -> None:
        super().__init__()
        self.observed = observed

    def forward(self, labels: Tensor, check: bool = True) -> Tensor:
        fixed = labels.new_tensor([-0.5, 0.1, 0.0]).expand(len(labels), 3)
        return self.observed(torch.cat([labels, fixed], dim=1), check)


@pytest.fixture(scope="module")
def families() -> list[Lines]:
    return [Lines.of(LatticePrior(TWO, STEPS), axis, CPU) for axis in range(2)]


def test_masses_of_all_cells_of_all_lines_sum_to_one(families):
    assert sum(float(lines.log_mass().exp().sum()) for lines in families) == pytest.approx(1.0)
    prior = LatticePrior.reference(LOW_T_BOX)
    all_lines = [Lines.of(prior, axis, CPU) for axis in range(5)]
    assert sum(float(lines.weight.sum()) for lines in all_lines) == pytest.approx(1.0)
    assert sum(len(lines.start) for lines in all_lines) == 21_144


def test_line_weights_give_the_variance_the_prior_states(families):
    prior = LatticePrior(TWO, STEPS)
    mean, square = 0.0, 0.0
    for lines in families:
        centre = lines.in_subcells(torch.arange(lines.subcells), torch.full((lines.subcells,), 0.5))[:, 1]
        mass = lines.log_mass().exp()
        mean += float(mass @ centre)
        square += float(mass @ centre**2)
    assert square - mean**2 == pytest.approx(prior.variance("log_g"), rel=1e-3)


def test_points_in_cells_keep_to_their_line(families):
    along_teff = families[0]
    labels = along_teff.in_subcells(torch.arange(along_teff.subcells), torch.rand(along_teff.subcells))
    assert set(labels[:, 1].tolist()) == {2.0, 2.5, 3.0, 3.5, 4.0}
    assert labels[:, 0].min() >= 4500
    assert labels[:, 0].max() <= 5250
    assert (labels[: CELLS * SUBCELLS * 3, 0].diff() > 0).sum() > CELLS * SUBCELLS * 2


def test_interpolation_is_exact_for_parabolas(families):
    lines = families[1]
    centres = lines.centres()[:, 1]
    fine = lines.in_subcells(torch.arange(lines.subcells), torch.full((lines.subcells,), 0.5))[:, 1]
    found = lines.interpolate(-3 * (centres - 2.9) ** 2)
    assert torch.allclose(found, -3 * (fine - 2.9) ** 2, atol=1e-9)


def test_interpolation_cannot_run_away(families):
    lines = families[1]
    steep = torch.linspace(-1e5, 0, lines.cells, dtype=torch.float64) ** 3
    assert lines.interpolate(steep.repeat(len(lines.start))).max() <= 4.0


def test_blurring_keeps_mass_on_its_line(families):
    lines = families[0]
    mass = torch.zeros(lines.subcells)
    per_line = lines.cells * SUBCELLS
    mass[per_line + 10] = 1.0
    blurred = lines.blur(mass)
    assert blurred.sum() == pytest.approx(1.0)
    assert torch.nonzero(blurred)[:, 0].tolist() == list(range(per_line + 8, per_line + 13))


def brute_force(model: TwoLabels, star: Observation) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, variance and probability of log g on a node, from 4000 points on every line."""
    t = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    teff, log_g = torch.arange(4500.0, 5251, 250).double(), torch.arange(2.0, 4.1, 0.5).double()
    end_half = lambda n: torch.tensor([0.5] + [1.0] * (n - 2) + [0.5]).double() / (n - 1)  # noqa: E731
    points, mass, on_node = [], [], []
    for g, w in zip(log_g, end_half(5), strict=True):
        points.append(torch.stack([4500 + 750 * t, g.expand(2000)], 1))
        mass.append(torch.full((2000,), float(w) / 2 / 2000))
        on_node.append(torch.ones(2000))
    for temperature, w in zip(teff, end_half(4), strict=True):
        points.append(torch.stack([temperature.expand(2000), 2 + 2 * t], 1))
        mass.append(torch.full((2000,), float(w) / 2 / 2000))
        on_node.append(torch.zeros(2000))
    labels = torch.cat(points)
    log_p = log_likelihood(model, star, labels[None], None)[0][0] + torch.cat(mass).log()
    p = torch.softmax(log_p, 0)
    mean = p @ labels
    return mean.numpy(), (p @ (labels - mean) ** 2).numpy(), float(p @ torch.cat(on_node).double())


@pytest.mark.parametrize("mag", [20.5, 23.5])
def test_lattice_posterior_is_the_brute_force_sum_over_lines(simulator, mag):
    model = TwoLabels(simulator.observed)
    truth = torch.tensor([[4750.0, 3.13], [5021.0, 2.0], [5250.0, 4.0]])
    labels = torch.cat([truth, truth.new_tensor([-0.5, 0.1, 0.0]).expand(3, 3)], 1)
    noise = torch.randn(3, simulator.grid.size, generator=torch.Generator().manual_seed(3))
    batch = simulator.observe(labels, simulator.instrument.fixed_conditions(3, mag=mag), noise)
    stars = Observation.from_batch(batch, simulator.instrument)
    settings = SamplerSettings(minimum_ess=4000, maximum_samples=40_000)
    ceiling = BayesCeiling(model, LatticePrior(TWO, STEPS), amplitude="known", settings=settings)
    posterior = ceiling.posterior(stars)
    assert posterior.converged.all()
    for k in range(3):
        mean, variance, on_node = brute_force(model, stars[k : k + 1])
        assert np.all(np.abs(posterior.mean[k].numpy() - mean) < 5 * np.sqrt(variance / 4000) + 1e-6)
        assert np.abs(posterior.covariance[k].diagonal().numpy() / variance - 1).max() < 0.15
        drawn = float((posterior.draws[k, :, 1] * 2 % 1 == 0).double().mean())
        assert abs(drawn - on_node) < 5 * np.sqrt(on_node * (1 - on_node) / 127) + 0.01


@pytest.mark.slow
def test_lattice_posteriors_are_calibrated(simulator):
    from scipy import stats

    from specvit.limits.bayes import bayes_r2
    from specvit.simulate import Simulator

    world = Simulator.build("pfs_mr_reference", prior="lattice")
    batch = world.draw("test", 21, 0, 300)
    posterior = BayesCeiling(world.observed, world.prior).posterior(
        Observation.from_batch(batch, world.instrument)
    )
    for column in posterior.rank(batch.labels).T.numpy():
        counts = np.histogram(column, np.linspace(0, 128, 9))[0]
        assert stats.chisquare(counts).pvalue > 1e-3 / 5  # false alarm rate 1e-3 for all five
    ceiling = bayes_r2(posterior, batch.labels, "log_g", world.prior.variance("log_g"))
    assert ceiling.converged
    assert abs(ceiling.discrepancy) < 3.9
