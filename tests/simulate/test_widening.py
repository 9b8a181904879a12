"""The widened conditions of a training: which S/N and noise levels they cover, and what they leave as it is."""

import numpy as np
import pytest
import torch

from specvit.errors import ConfigError
from specvit.instrument import Instrument
from specvit.limits.bayes import Observation
from specvit.simulate import NOISE_FACTOR, Widening, World


@pytest.fixture(scope="module")
def plain():
    return World().build()


@pytest.fixture(scope="module")
def wide():
    return World(widening=Widening()).build()


def test_the_stars_of_the_survey_are_its_own(plain, wide):
    """Labels of all stars are as without a widening, and so is everything of those that are not widened."""
    ours, theirs = wide.draw("train", 3, 0, 512), plain.draw("train", 3, 0, 512)
    assert torch.equal(ours.labels, theirs.labels)
    same = (ours.conditions["mag"] == theirs.conditions["mag"]) & (ours.conditions[NOISE_FACTOR] == 1)
    assert 0.4 < float(same.float().mean()) < 0.6
    assert torch.equal(ours.flux[same], theirs.flux[same])
    assert torch.equal(ours.sigma[same], theirs.sigma[same])
    assert not bool((ours.flux[~same] == theirs.flux[~same]).all(dim=1).any())


def test_signal_to_noise_is_covered_from_end_to_end(wide):
    """Every bin of S/N that a network is to know has its share of stars, and none is far beyond."""
    snr = wide.draw("train", 3, 0, 4096).snr.numpy()
    counts, _ = np.histogram(snr, bins=[2, 4, 8, 16, 32, 64, 128, 256, 400])
    assert counts.min() > 4096 * 0.02
    # Conditions that are not the default ones move S/N by about a fifth.
    assert snr.min() > 1.5 * 0.7
    assert snr.max() < 400 * 1.3


def test_the_noise_factor_multiplies_the_noise(plain, wide):
    """The same star with a factor has that many times the noise, in truth and in what a pipeline states."""
    labels = plain.draw("train", 3, 0, 8).labels
    conditions = plain.instrument.fixed_conditions(8, mag=21.0)
    factor = torch.linspace(0.1, 2.0, 8)
    noise = torch.randn(8, plain.grid.size, generator=torch.Generator().manual_seed(0))
    one = plain.observe(labels, conditions, 0 * noise)
    many = plain.observe(labels, {**conditions, NOISE_FACTOR: factor}, 0 * noise)
    torch.testing.assert_close(many.truth.sigma, one.truth.sigma * factor[:, None])
    torch.testing.assert_close(many.sigma, one.sigma * factor[:, None])
    torch.testing.assert_close(many.snr, one.snr / factor)
    drawn = wide.draw("train", 3, 0, 2048)
    observed = drawn.flux - drawn.truth.flux
    spread = (observed / drawn.truth.sigma).std(dim=1)
    # 4096 pixels: each standard deviation is known to 1.1 %, their mean to 0.03 %.
    assert float(spread.mean()) == pytest.approx(1.0, abs=2e-3)
    assert float((spread - 1).abs().max()) < 0.06


def test_posteriors_know_the_factor(wide):
    """The exact likelihood of a widened star has the variance its noise was drawn with."""
    batch = wide.source("train", 3, 64, truth=True).draw(0, 64)
    observation = Observation.from_batch(batch, wide.instrument, 1.0)
    variance = observation.base + observation.gain * batch.truth.flux
    torch.testing.assert_close(variance.sqrt(), batch.truth.sigma, rtol=1e-4, atol=0)


def test_a_world_with_a_widening_survives_json(wide):
    assert World.from_dict(wide.world.to_dict()) == wide.world
    assert World.from_dict({"library": "builtin"}).widening is None


def test_identity_tells_widenings_apart(plain, wide):
    other = World(widening=Widening(snr=(1.5, 300.0))).build()
    identities = {s.source("train", 1, 10).provenance["identity"] for s in (plain, wide, other)}
    assert len(identities) == 3


def test_magnitudes_can_be_limited():
    world = World(widening=Widening(share=1.0, mag=(18.0, 19.0))).build()
    mag = world.draw("train", 3, 0, 2048).conditions["mag"]
    assert 18.0 <= float(mag.min()) < 18.1
    assert 18.9 < float(mag.max()) <= 19.0


@pytest.mark.parametrize("name", ["gaia_rvs", "pfs_mr_etc"])
def test_other_spectrographs_cover_the_same_snr(name):
    world = World(
        instrument=name, widening=Widening(share=1.0, snr=(5.0, 100.0), noise_factor=(1.0, 1.0))
    ).build()
    low, middle, high = np.percentile(world.draw("train", 3, 0, 1024).snr.numpy(), [2, 50, 98])
    assert 3 < low < 8
    assert 10 < middle < 60
    assert 70 < high < 140


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"share": 1.5}, "share"),
        ({"snr": (0.0, 10.0)}, "snr"),
        ({"noise_factor": (2.0, 1.0)}, "noise_factor"),
        ({"mag": (20.0, float("nan"))}, "mag"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, field):
    with pytest.raises(ConfigError, match=field):
        Widening(**options)


def test_magnitudes_nobody_covers_are_refused():
    limits = Instrument.load("pfs_mr_reference").conditions.limits["mag"]
    with pytest.raises(ConfigError, match="mag"):
        World(widening=Widening(mag=(limits[1] + 1, limits[1] + 2))).build()
    with pytest.raises(ConfigError, match="noise_level"):
        World(noise_level=0.0, widening=Widening()).build()
