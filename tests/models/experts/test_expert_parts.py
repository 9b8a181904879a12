"""Pools, mixtures, routings, gates and features against independent computations."""

import numpy as np
import pytest
import torch
from expert_stars import GRID, make_source
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from specvit.errors import ConfigError
from specvit.models.experts.gate_features import GateFeatures
from specvit.models.experts.linear_experts import HeldOut, RidgeFitter
from specvit.models.experts.mixture import GaussianMixtures
from specvit.models.experts.noise_features import STRATEGIES, noise_features
from specvit.models.experts.pools import BinPools, RidgePath
from specvit.models.experts.routing import ROUTINGS, routed
from specvit.models.experts.softmax_gate import SoftmaxGate
from specvit.models.inputs import relative_spectra
from specvit.models.moments import GATHERED
from specvit.spectra import WavelengthGrid


def rows(count, width, seed=0):
    generator = np.random.default_rng(seed)
    values = 5 + generator.normal(size=(count, width)) * np.linspace(0.5, 3, width)
    labels = values @ generator.normal(size=(width, 2)) + generator.normal(size=(count, 2))
    return torch.from_numpy(values), torch.from_numpy(labels)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("counts", [(20, 70), (15, GATHERED + 300)])
def test_the_expert_of_a_bin_is_scikit_learn_s_ridge_on_its_spectra(standardise, counts):
    """Few rows, kept as they are, many, of which the Gram matrix is kept, and the pool of both."""
    width, total = 60, sum(counts)
    values, labels = rows(total, width)
    bins = torch.cat([torch.full((count,), k) for k, count in enumerate(counts)])
    pools = BinPools(2)
    order = torch.from_numpy(np.random.default_rng(1).permutation(total))
    for some in order.split(64):
        pools.add(values[some], labels[some], bins[some])
    for pool, inside in (
        (pools.pools[0], bins == 0),
        (pools.pools[1], bins == 1),
        (pools.whole(), bins >= 0),
    ):
        path = RidgePath.of(pool, standardise)
        x, y = values[inside].numpy(), labels[inside].numpy()
        scaler = StandardScaler(with_std=standardise).fit(x)
        expected = (
            SklearnRidge(alpha=3.0).fit(scaler.transform(x), y).predict(scaler.transform(values.numpy()))
        )
        found = (values - path.mean) @ path.weights([3.0, 3.0]) + path.mean_labels
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
        wanted = np.square(expected - labels.numpy()).mean(axis=0)
        np.testing.assert_allclose(path.squared_errors(values, labels, [3.0])[0], wanted, rtol=1e-6)


def test_penalties_are_chosen_by_the_held_out_spectra_of_the_bin():
    values, labels = rows(300, 20)
    bins = torch.arange(300) % 2
    alphas = [1e-3, 1e6]
    fitter = RidgeFitter(3, alphas, True, outside_is_all=True)
    fitter.add(values, labels, bins)
    right = HeldOut(values, labels, bins)
    # In bin 1 the held-out labels are noise: the larger penalty is better there, and there alone.
    noise = torch.from_numpy(np.random.default_rng(3).normal(size=labels.shape))
    wrong = HeldOut(values, torch.where(bins[:, None] == 1, labels.mean(dim=0) + noise, labels), bins)
    assert fitter.fitted(right).facts["1"] == [1e-3, 1e-3]
    found = fitter.fitted(wrong).facts
    assert (found["0"], found["1"]) == ([1e-3, 1e-3], [1e6, 1e6])


def test_quantiles_of_a_mixture_are_the_roots_of_its_cumulative():
    rng = np.random.default_rng(0)
    weights = torch.from_numpy(rng.dirichlet(np.ones(3), 4))
    means, stds = (torch.from_numpy(a) for a in (rng.normal(size=(4, 3, 2)), rng.uniform(0.1, 2, (4, 3, 2))))
    mixture = GaussianMixtures(weights, means, stds)
    shares = torch.tensor([0.025, 0.5, 0.84]).double().expand(4, 2, 3)
    found = mixture.quantiles(shares)
    for b, p, q in np.ndindex(4, 2, 3):

        def above(x, b=b, p=p, q=q):
            return (weights[b].numpy() * norm.cdf(x, means[b, :, p], stds[b, :, p])).sum() - float(
                shares[b, p, q]
            )

        assert float(found[b, p, q]) == pytest.approx(brentq(above, -30, 30), abs=1e-7)
    at = rng.normal(size=(3, 200_000))
    drawn = (means[0, :, 0].numpy()[:, None] + stds[0, :, 0].numpy()[:, None] * at)[
        rng.choice(3, 200_000, p=weights[0].numpy()), np.arange(200_000)
    ]
    assert float(mixture.mean[0, 0]) == pytest.approx(drawn.mean(), abs=0.02)
    assert float(mixture.std[0, 0]) == pytest.approx(drawn.std(), abs=0.02)


def test_a_component_without_weight_does_not_matter():
    means, stds = torch.tensor([[[0.0], [1e9]]]).double(), torch.tensor([[[1.0], [1e9]]]).double()
    mixture = GaussianMixtures(torch.tensor([[1.0, 0.0]]).double(), means, stds)
    found = mixture.quantiles(torch.tensor([[[0.16, 0.84]]], dtype=torch.float64))
    np.testing.assert_allclose(found.flatten(), norm.ppf([0.16, 0.84]), atol=1e-9)


def test_routings():
    weights = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]]).double()
    bins = torch.tensor([1, -1])
    for routing in ROUTINGS:
        found = routed(weights, routing, 2, 0.45, bins)
        assert found.shape == (2, 4)
        torch.testing.assert_close(found.sum(dim=1), torch.ones(2).double())
    assert routed(weights, "hard", 2, 0.5).tolist()[0] == [1, 0, 0, 0]
    assert routed(weights, "top", 2, 0.5)[0].tolist() == pytest.approx([0.625, 0.375, 0, 0])
    # The model of all spectra answers for the second star alone, of which no bin has 0.45.
    assert routed(weights, "fallback", 2, 0.45)[:, 3].tolist() == [0, 1]
    assert routed(weights, "oracle", 2, 0.5, bins).argmax(dim=1).tolist() == [1, 2]
    assert routed(weights, "global", 2, 0.5)[:, 3].tolist() == [1, 1]


def test_a_linear_gate_is_as_good_as_scikit_learn_s_logistic_regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 3)) + 0.7 * rng.gumbel(size=(3000, 3))).argmax(axis=1)
    train, held = slice(2000), slice(2000, None)
    gate = SoftmaxGate(4, 3, 0).fit_bins(
        torch.from_numpy(x[train]),
        torch.from_numpy(y[train]),
        torch.from_numpy(x[held]),
        torch.from_numpy(y[held]),
        1,
    )
    expected = LogisticRegression(C=100.0).fit(x[train], y[train]).predict_proba(x[held])
    found = gate.weights(torch.from_numpy(x[held])).numpy()
    assert log_loss(y[held], found) < 1.01 * log_loss(y[held], expected)


def test_a_gate_of_least_error_takes_the_expert_that_is_right_not_the_bin():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(2000, 2)).astype(np.float32))
    truth = torch.from_numpy(rng.normal(size=(2000, 1)).astype(np.float32))
    # Expert 0 is right where the first feature is positive, expert 1 elsewhere; expert 2 never.
    right = (x[:, :1] > 0).float()
    estimates = torch.stack([truth * right, truth * (1 - right), 3 + 0 * truth], dim=1)
    gate = SoftmaxGate(2, 3, 0).fit_errors(x, estimates, truth, (x, estimates, truth), 1)
    weights = gate.weights(x)
    sure = x[:, 0].abs() > 0.5
    assert weights[sure].argmax(dim=1).eq((x[sure, 0] < 0).long()).double().mean() > 0.98
    assert float(weights[:, 2].mean()) < 0.05


def test_line_features_are_depth_and_equivalent_width_against_the_side_bands():
    source = make_source(64, 0, noise=1e-6)
    spectra = relative_spectra(source.batch.flux, source.batch.sigma, 100, "test")
    features = GateFeatures(("ca",), GRID, 1)
    names, raw = features.names, features.fit(spectra)._raw(spectra)
    # Ca II 8544 is line 1 of the stars: 0.3 + slope deep, √2π 4 Å wide; its wings reach the side bands.
    depth = raw[:, names.index("ca 1 depth")]
    width = raw[:, names.index("ca 1 width")]
    m_h, log_g = source.batch.labels[:, 2], source.batch.labels[:, 1]
    strength = 0.3 + torch.where(m_h < -1, -1.0, 1.0) * (log_g - 3) / 10
    assert np.corrcoef(depth, strength)[0, 1] > 0.99
    assert np.corrcoef(width, strength)[0, 1] > 0.99
    assert float((width / depth).median()) == pytest.approx(4 * np.sqrt(2 * np.pi), rel=0.15)


def test_what_dead_pixels_hide_is_as_in_the_mean_of_the_training():
    source = make_source(200, 0)
    features = GateFeatures(("ca", "pca", "noise"), GRID, 3).fit(
        relative_spectra(source.batch.flux, source.batch.sigma, 100, "test")
    )
    flux, sigma = source.batch.flux[:2].clone(), source.batch.sigma[:2].clone()
    sigma[0, 15:36] = torch.inf
    flux[0, 20] = torch.nan
    found = features(relative_spectra(flux, sigma, 100, "test"))
    assert found.isfinite().all()
    hidden = [features.names.index(f"ca 0 {what}") for what in ("mean", "depth", "width")]
    assert found[0, hidden].tolist() == [0, 0, 0]
    assert found[1, hidden].abs().min() > 0


def test_windows_outside_the_pixels_are_left_out_and_none_at_all_is_refused():
    assert not [name for name in GateFeatures(("ca", "na", "pca"), GRID, 2).names if name.startswith("na")]
    with pytest.raises(ConfigError, match="none of the windows"):
        GateFeatures(("na",), GRID, 2)
    with pytest.raises(ConfigError, match="none of the windows"):
        GateFeatures(("ca",), WavelengthGrid.linear(7000, 1, 50), 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_noise_features_do_not_know_the_flux_and_take_dead_pixels(strategy):
    source = make_source(20, 0)
    sigma = source.batch.sigma * torch.linspace(1, 2, 20)[:, None]
    sigma[3, 10:20] = torch.inf
    mean = torch.full((100,), 0.02).double()
    one, other = (
        noise_features(strategy, relative_spectra(flux, sigma, 100, "test"), mean)
        # The same level, another star.
        for flux in (torch.ones_like(sigma), torch.ones_like(sigma).index_fill(1, torch.arange(9), 0.5))
    )
    assert one.isfinite().all()
    torch.testing.assert_close(one, other)
