"""R² that a bound allows, the named prior variances, and Bayesian bounds in worlds with known answers."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from specvit.errors import ConfigError, ShapeError
from specvit.limits import (
    cosine_prior_information,
    r2_max,
    r2_shrunk,
    uniform_box_bound,
    van_trees_bound,
    variance_choices,
)
from specvit.spectra import LOW_T_BOX, LabelSpace


def test_the_published_ceiling_is_reproduced_from_its_bound():
    """The reference work at i = 21.5: CRLB 0.181 gives 0.8914 with V = 1.6667 and 0.868 with V = 1.367."""
    variance = variance_choices(LOW_T_BOX, "log_g")
    crlb = torch.tensor([0.181])
    assert float(r2_max(crlb, variance["reference"])) == pytest.approx(0.8914, abs=1e-4)
    assert float(r2_max(crlb, variance["lattice"])) == pytest.approx(0.868, abs=1e-3)
    assert float(r2_shrunk(crlb, variance["lattice"])) == pytest.approx(0.883, abs=1e-3)


def test_named_variances_of_log_g():
    variance = variance_choices(LOW_T_BOX, "log_g")
    assert variance == pytest.approx({"uniform": 4 / 3, "lattice": 1.36667, "reference": 5 / 3}, abs=1e-5)
    odd_box = LOW_T_BOX.replace(log_g=(1.0, 4.8))
    assert set(variance_choices(odd_box, "log_g")) == {"uniform"}


def test_r2_max_is_clipped_and_an_infinite_bound_gives_zero():
    assert r2_max(torch.tensor([0.0, 1.0, 5.0, torch.inf]), 2.0).tolist() == [1.0, 0.5, 0.0, 0.0]
    assert r2_shrunk(torch.tensor([0.0, 2.0, torch.inf]), 2.0).tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(ConfigError, match="positive"):
        r2_max(torch.tensor([1.0]), 0.0)


def test_van_trees_is_exact_for_gaussian_prior_and_linear_model():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    fisher, prior = root.T @ root, torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    posterior = torch.linalg.inv(fisher + torch.diag(1 / prior))
    for k in range(3):
        assert float(van_trees_bound(fisher, 1 / prior, k)) == pytest.approx(float(posterior[k, k]))


def test_cosine_prior_information_is_its_integral():
    space = LabelSpace(("log_g",), ("dex",), (1.0,), (5.0,))

    def integrand(theta):
        u = (theta - 3.0) / 2.0
        density = 0.5 * np.cos(np.pi * u / 2) ** 2
        slope = -0.5 * np.pi / 2 * np.cos(np.pi * u / 2) * np.sin(np.pi * u / 2)
        return slope**2 / density

    assert float(cosine_prior_information(space)) == pytest.approx(quad(integrand, 1, 5)[0], rel=1e-6)


def uniform_mmse(noise, low=1.0, high=5.0):
    """Exact minimum mean square error of a uniform label seen with Gaussian noise, by quadrature."""

    def posterior_mean(y):
        a, b = (low - y) / noise, (high - y) / noise
        return y + noise * (norm.pdf(a) - norm.pdf(b)) / (norm.cdf(b) - norm.cdf(a))

    def squared(y):
        return posterior_mean(y) ** 2 * (norm.cdf((high - y) / noise) - norm.cdf((low - y) / noise))

    mean_square, _ = quad(squared, low - 8 * noise, high + 8 * noise, limit=400)
    return (high**3 - low**3) / 3 / (high - low) - mean_square / (high - low)


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0, 3.0])
def test_the_uniform_box_bound_lies_below_the_best_error_and_close_to_it(noise):
    space = LabelSpace(("log_g",), ("dex",), (1.0,), (5.0,))
    labels = torch.linspace(1, 5, 20_001, dtype=torch.float64)[:, None]
    fisher = torch.full((20_001, 1, 1), noise**-2, dtype=torch.float64)
    bound, exact = float(uniform_box_bound(fisher, labels, space, 0)), uniform_mmse(noise)
    assert bound <= exact * (1 + 1e-3)
    assert bound > 0.85 * exact


def test_without_data_the_uniform_box_bound_is_the_prior_variance():
    labels = torch.rand(500, 5, dtype=torch.float64) * 0.0 + torch.tensor(LOW_T_BOX.low, dtype=torch.float64)
    bound = uniform_box_bound(torch.zeros(500, 5, 5, dtype=torch.float64), labels, LOW_T_BOX, 1)
    assert float(bound) == pytest.approx(4 / 3, rel=1e-12)


def test_an_unknown_nuisance_raises_the_uniform_box_bound():
    space = LabelSpace(("a", "b"), ("", ""), (0.0, 0.0), (1.0, 1.0))
    labels = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fisher = torch.tensor([[400.0, 350.0], [350.0, 400.0]], dtype=torch.float64).expand(4000, 2, 2)
    known = uniform_box_bound(fisher[:, :1, :1], labels[:, :1], space.select(["a"]), 0)
    assert float(uniform_box_bound(fisher, labels, space, 0)) > 1.5 * float(known)
    with pytest.raises(ShapeError, match="uniform_box_bound"):
        uniform_box_bound(fisher, labels[:, :1], space, 0)
