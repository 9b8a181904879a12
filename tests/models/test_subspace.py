"""The subspace front end against the dense Gaussian posterior it stands for."""

import numpy as np
import pytest
import torch

from specvit.errors import ConfigError, DataError
from specvit.models import subspace
from specvit.models.conditioning import normalise
from specvit.models.subspace import SubspaceProjection

PIXELS, RANK = 300, 6


def world(count, seed=0, noise=0.05):
    """Return clean, flux, sigma, all (count, PIXELS): rank-6 spectra of median 1, weights of two patterns."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, PIXELS)
    shapes = np.stack([np.sin((3 * k + 2) * np.pi * x + k) for k in range(RANK)])
    clean = 1 + rng.normal(0, 0.05, (count, RANK)) * 0.7 ** np.arange(RANK) @ shapes
    sky = 1 + 5 * np.exp(-0.5 * ((x - 0.4) / 0.01) ** 2)
    sigma = noise * np.sqrt(rng.uniform(0.3, 3, (count, 1)) * sky + rng.uniform(0.3, 3, (count, 1)))
    flux = clean + sigma * rng.standard_normal(clean.shape)
    level = np.sort(flux, axis=1)[:, [(PIXELS - 1) // 2]]
    return [torch.from_numpy((a / level).astype(np.float32)) for a in (clean, flux, sigma)]


@pytest.fixture(scope="module")
def front():
    return SubspaceProjection(PIXELS, 10, 4).fit(*world(800))


def dense_posterior_mean(front, flux, sigma, live):
    """Return E[c | y] from the joint Gaussian of c and y, built pixel by pixel in float64."""
    basis, mean = front.basis.double().numpy()[:, live], front.mean.double().numpy()[live]
    covariance = basis.T @ basis + np.diag(sigma[live].astype(float) ** 2)
    return basis @ np.linalg.solve(covariance, flux[live].astype(float) - mean)


def test_coefficients_are_the_posterior_mean(front):
    _, flux, sigma = world(5, seed=1)
    found = front(flux, sigma).values[:, 0]
    live = np.ones(PIXELS, dtype=bool)
    for row in range(5):
        expected = dense_posterior_mean(front, flux[row].numpy(), sigma[row].numpy(), live)
        np.testing.assert_allclose(found[row], expected, rtol=2e-3, atol=2e-3)


def test_dead_pixels_are_as_if_never_observed(front):
    _, flux, sigma = world(5, seed=1)
    dead = torch.zeros(PIXELS, dtype=torch.bool)
    dead[100:170] = True
    masked = sigma.masked_fill(dead, torch.inf)
    found = front(flux, masked).values[:, 0]
    # The level is the median of the live pixels alone.
    level = flux[:, ~dead].median(dim=1, keepdim=True).values
    for row in range(5):
        y, s = (flux / level)[row].numpy(), (sigma / level)[row].numpy()
        np.testing.assert_allclose(
            found[row], dense_posterior_mean(front, y, s, ~dead.numpy()), rtol=2e-3, atol=2e-3
        )


def test_composed_normal_matrices_agree_with_sums_over_pixels(front, monkeypatch):
    _, flux, sigma = world(20, seed=2)
    composed = front(flux, sigma).values
    calls = []
    exact = SubspaceProjection.exact_normal
    monkeypatch.setattr(
        SubspaceProjection, "exact_normal", lambda self, w: calls.append(len(w)) or exact(self, w)
    )
    monkeypatch.setattr(subspace, "TOLERANCE", 0.0)
    summed = front(flux, sigma).values
    assert calls == [20]
    torch.testing.assert_close(composed, summed, rtol=1e-2, atol=1e-3)


def test_foreign_weights_are_summed_over_pixels(front):
    _, flux, sigma = world(3, seed=3)
    tilted = sigma * torch.linspace(0.2, 5, PIXELS)
    found = front(flux, tilted).values[:, 0]
    live = np.ones(PIXELS, dtype=bool)
    for row in range(3):
        expected = dense_posterior_mean(front, flux[row].numpy(), tilted[row].numpy(), live)
        np.testing.assert_allclose(found[row], expected, rtol=2e-3, atol=2e-3)


def test_coefficients_have_the_prior_variance_for_bright_stars():
    clean, flux, sigma = world(1000, noise=1e-3)
    coefficients = SubspaceProjection(PIXELS, 6, 3).fit(clean, flux, sigma)(flux, sigma).values[:, 0]
    torch.testing.assert_close(coefficients.var(dim=0), torch.ones(6), rtol=0.1, atol=0)
    torch.testing.assert_close(torch.corrcoef(coefficients.T), torch.eye(6), rtol=0, atol=0.05)


def test_a_spectrum_without_information_gives_the_prior_mean(front):
    clean, _, sigma = world(4, seed=4)
    assert front(clean, 100 * sigma).values.abs().max() < 0.05 * front(clean, 0.1 * sigma).values.abs().max()


def test_nothing_is_lost_on_the_labels_of_a_linear_world(front):
    """A label linear in the clean spectrum: regression on coefficients is as good as the posterior."""
    clean, flux, sigma = world(3000, seed=5)
    labels = clean[:, ::7].double().mean(dim=1)
    x = torch.cat([front(flux, sigma).values[:, 0].double(), torch.ones(3000, 1).double()], dim=1)
    fit = torch.linalg.lstsq(x[:2600], labels[:2600, None]).solution
    error = (x[2600:] @ fit)[:, 0] - labels[2600:]
    live = np.ones(PIXELS, dtype=bool)
    exact = []
    for row in range(2600, 3000):
        mean = dense_posterior_mean(front, flux[row].numpy(), sigma[row].numpy(), live)
        exact.append((front.mean.double() + torch.from_numpy(mean) @ front.basis.double())[::7].mean())
    best = torch.stack(exact) - labels[2600:]
    assert float(error.square().mean()) < 1.1 * float(best.square().mean())


def test_too_few_spectra_are_refused():
    with pytest.raises(DataError, match="cannot span"):
        SubspaceProjection(PIXELS, 50, 3).fit(*world(20))


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="between 1 and 300"):
        SubspaceProjection(PIXELS, 301)


def spoiled(count, seed):
    """Return flux and sigma of spectra: every second one with dead pixels, other ones for each, and NaN in some."""
    _, flux, sigma = world(count, seed)
    rng = np.random.default_rng(seed)
    for row in range(0, count, 2):
        start = rng.integers(0, PIXELS - 40)
        sigma[row, start : start + 40] = torch.inf
        flux[row, rng.integers(0, PIXELS, 3)] = torch.nan
    return flux, sigma


def test_many_normal_matrices_are_those_of_few(front):
    _, flux, sigma = world(subspace.PAIRED_ROWS + 5, seed=6)
    weight = sigma.square().reciprocal()
    many, few = front.exact_normal(weight), front.exact_normal(weight[:7])
    torch.testing.assert_close(many[:7], few, rtol=1e-4, atol=1e-4 * float(few.abs().max()))
    # Of another basis there are other products.
    clean, flux, sigma = world(900, seed=7)
    other = SubspaceProjection(PIXELS, 10, 4).fit(clean, flux, sigma)
    other.exact_normal(weight)
    other.load_state_dict(front.state_dict())
    assert torch.equal(other.exact_normal(weight), many)


def test_the_first_components_are_solved_with_the_others(front):
    clean, flux, sigma = world(800)
    less = SubspaceProjection(PIXELS, 6, 4).fit(clean, flux, sigma)
    assert less.begins(front)
    assert front.begins(front)
    assert not front.begins(less)
    other = SubspaceProjection(PIXELS, 6, 4).fit(*world(800, seed=8))
    assert not other.begins(front)
    usable, flux, sigma, _ = normalise(*spoiled(80, seed=9))
    whole, alone = front.solve(usable, flux, sigma), less.solve(usable, flux, sigma)
    assert whole.poor.any()
    assert not whole.poor.all()
    leading = whole.leading(6)
    torch.testing.assert_close(leading.coefficients, alone.coefficients, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(less.inputs_of(leading, usable).level, less.inputs_of(alone, usable).level)
