"""A normal density under the histogram of an ordinal head: what it states, what bins add, what it is refused for."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator, make_estimator
from specvit.models.heads import Head
from specvit.models.manifest import checksum
from specvit.spectra import MemorySource
from specvit.training import Recipe
from training_stars import GRID, SPACE, stars

BINS = 400


def head(centre, sigma, levels=1, bins=BINS):
    """Return a head whose bins say nothing and whose peaks lie at `centre` with `sigma`, in scaled labels."""
    found = Head(3, levels, SPACE, bins=bins, peak=True)
    with torch.no_grad():
        found.linear.weight.zero_()
        found.linear.bias.zero_()
        found.peak.weight.zero_()
        found.peak.bias.copy_(torch.tensor([*centre, *(-2 * np.log(sigma))]))
    return found


def stated(one, level=0.0):
    level = torch.full((1, one.sharpness.in_features), level)
    with torch.no_grad():
        return one.decode(one(torch.zeros(1, 3), level), level)


@pytest.mark.parametrize(("centre", "sigma"), [(0.3, 0.2), (-1.0, 0.05), (1.6, 0.4), (0.0, 3.0)])
def test_a_peak_is_a_normal_distribution_that_ends_at_the_bounds(centre, sigma):
    found = stated(head([centre] * 2, np.full(2, sigma)))
    low, high = -np.sqrt(3.0), np.sqrt(3.0)
    expected = stats.truncnorm((low - centre) / sigma, (high - centre) / sigma, centre, sigma)
    bounds = torch.tensor([SPACE.low, SPACE.high], dtype=torch.float64)
    scaled = (found.mean - bounds[0]) / (bounds[1] - bounds[0]) * (high - low) + low
    width = (high - low) / BINS
    np.testing.assert_allclose(scaled[0], expected.mean(), atol=0.03 * width)
    std = found.std / (bounds[1] - bounds[0]) * (high - low)
    np.testing.assert_allclose(std[0], np.hypot(expected.std(), width / 12**0.5), rtol=2e-3)


def test_a_mean_is_right_far_inside_a_bin():
    """A posterior narrower than a bin: a histogram alone would have to say its middle."""
    width = 2 * np.sqrt(3.0) / 20
    for inside in np.linspace(-0.5, 0.5, 11):
        centre = 10.5 * width - np.sqrt(3.0) + inside * width
        found = stated(head([centre] * 2, np.full(2, 1e-3), bins=20))
        low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (SPACE.low, SPACE.high))
        scaled = (found.mean[0] - low) / (high - low) * 2 * np.sqrt(3.0) - np.sqrt(3.0)
        np.testing.assert_allclose(scaled, centre, atol=0.03 * width)


def test_noise_widens_a_peak_as_it_flattens_the_bins():
    one = head([0.0, 0.0], np.array([0.1, 0.2]))
    with torch.no_grad():
        one.sharpness.weight.fill_(-1.0)
    ratio = stated(one, 0.7).std / stated(one, 0.0).std
    np.testing.assert_allclose(ratio, np.exp(0.7), rtol=5e-3)


def test_the_bins_say_what_form_a_peak_has():
    one = head([0.0, 0.0], np.array([0.1, 0.1]))
    with torch.no_grad():
        one.linear.bias.copy_(torch.where(one.edges[:, 1:] > 1e-6, 0.0, -30.0).flatten())
    # Half a normal distribution: its mean is √(2/π) σ.
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (SPACE.low, SPACE.high))
    mean = ((stated(one).mean[0] - low) / (high - low) - 0.5) * 2 * np.sqrt(3.0)
    np.testing.assert_allclose(mean, 0.1 * np.sqrt(2 / np.pi), rtol=0.01)


def test_every_output_learns_from_a_star_outside_its_peak():
    torch.manual_seed(0)
    one = Head(3, 1, SPACE, bins=64, peak=True)
    raw = one(torch.randn(5, 3), torch.zeros(5, 1))
    torch.nn.functional.cross_entropy(raw.transpose(1, 2), torch.full((5, 2), 60)).backward()
    for name in ("linear", "peak", "sharpness"):
        layer = getattr(one, name)
        assert bool((layer.bias.grad != 0).all()), name


@pytest.mark.parametrize("options", [{"kind": "gaussian"}, {"kind": "point"}, {"experts": 2}])
def test_only_a_single_ordinal_head_has_one(options):
    with pytest.raises(ConfigError, match="peak: expected a single ordinal head"):
        Head(3, 1, SPACE, peak=True, **options)


def test_it_is_trained_saved_and_read_and_those_of_before_are_read_too(tmp_path):
    sources = [MemorySource(stars(200, seed), GRID, SPACE) for seed in (0, 1)]
    batch = stars(20, 3)
    for peak in (True, False):
        options = {"peak": peak, "width": 16, "depth": 1}
        made = make_estimator(
            "mlp", options=options, recipe=Recipe(steps=20, batch=32, validations=1), device="cpu"
        )
        made.fit(*sources)
        made.save(tmp_path / str(peak))
        manifest = tmp_path / str(peak) / "manifest.json"
        entries = json.loads(manifest.read_text())
        assert entries["settings"]["network"]["peak"] is peak
        if not peak:
            del entries["settings"]["network"]["peak"], entries["sha256"]
            manifest.write_text(json.dumps({**entries, "sha256": checksum(entries)}))
        again = NetworkEstimator.load(tmp_path / str(peak))
        assert again.network.config.peak is peak
        assert torch.equal(
            again.predict(batch.flux, batch.sigma).mean, made.predict(batch.flux, batch.sigma).mean
        )
