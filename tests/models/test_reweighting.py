"""Distributions under another prior: truncated and multiplied ones whose answer is known, and laws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from specvit.errors import DomainError, LabelError
from specvit.models.heads import QUANTILES, Head
from specvit.models.reweighting import Reweighting
from specvit.simulate import LatticePrior, UniformPrior, interval_probabilities
from specvit.spectra import LOW_T_BOX, LabelSpace
from truncated_normal import Anywhere, TruncatedNormal

SPACE = LOW_T_BOX.select(["log_g"])
#: Where in the range of a label a bound is: within 1e-5 of its end that of the training is meant.
ENDS = st.just(0.0) | st.just(1.0) | st.floats(1e-4, 1 - 1e-4)
LEVEL = torch.zeros(1, 1)


def head_of(space=SPACE, bins=64, prior=None, scaling="zscore"):
    """An ordinal head, weighted by a prior if one is given."""
    head = Head(4, 1, space, "ordinal", scaling, bins)
    if prior is not None:
        head.reweighting = Reweighting(head.bin_edges).set(space.names, prior)
    return head


def box(low, high, space=SPACE):
    return UniformPrior(space.replace(log_g=(low, high)))


def logits(distribution, bins, low=1.0, high=5.0):
    """Outputs of an ordinal head that states a distribution of scipy, shape (1, 1, bins)."""
    edges = np.linspace(low, high, bins + 1)
    return torch.from_numpy(np.log(np.diff(distribution.cdf(edges)).clip(1e-300)))[None, None]


def decoded(head, raw, level=None):
    found = head.decode(raw, LEVEL.expand(len(raw), 1) if level is None else level)
    return found.mean[:, 0].numpy(), found.std[:, 0].numpy(), found.quantiles[:, 0].numpy()


@pytest.mark.parametrize(("mean", "std"), [(3.0, 0.6), (4.2, 0.3), (2.0, 0.5), (4.9, 0.8)])
@pytest.mark.parametrize(("low", "high"), [(4.0, 5.0), (1.0, 2.5), (2.9993, 3.7117)])
def test_a_normal_cut_by_bounds_is_the_truncated_normal(mean, std, low, high):
    head = head_of(bins=2000, prior=box(low, high))
    found = decoded(head, logits(stats.norm(mean, std), 2000))
    cut = stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std)
    # Bins are 0.002 dex wide.
    assert found[0][0] == pytest.approx(cut.mean(), abs=1e-5)
    assert found[1][0] == pytest.approx(cut.std(), rel=1e-4)
    np.testing.assert_allclose(found[2][0], cut.ppf(QUANTILES), rtol=0, atol=1e-5)


def test_a_normal_times_a_normal_prior_is_their_product():
    """A prior that can only be drawn from: counted in a million draws, so to 1 % of its width."""
    prior = TruncatedNormal(SPACE, (2.5,), (0.4,))
    mean, _, quantiles = decoded(head_of(bins=256, prior=prior), logits(stats.norm(3.2, 0.5), 256))
    precision = 0.4**-2 + 0.5**-2
    product = stats.norm((2.5 * 0.4**-2 + 3.2 * 0.5**-2) / precision, precision**-0.5)
    assert mean[0] == pytest.approx(product.mean(), abs=0.005)
    np.testing.assert_allclose(quantiles[0], product.ppf(QUANTILES), rtol=0, atol=0.01)


def by_hand(probability, edges, low, high):
    """Mean, standard deviation and cumulative of a density constant in bins, cut at two bounds, bin by bin."""
    pieces = []
    for share, (left, right) in zip(probability, pairwise(edges), strict=True):
        first, last = max(left, low), min(right, high)
        if last > first:
            pieces.append((first, last, share * (last - first) / (right - left)))
    total = sum(piece[2] for piece in pieces)
    mean = sum(p * (a + b) / 2 for a, b, p in pieces) / total
    square = sum(p * (a * a + a * b + b * b) / 3 for a, b, p in pieces) / total
    return (
        mean,
        max(square - mean**2, 0) ** 0.5,
        lambda x: sum(p * np.clip((x - a) / (b - a), 0, 1) for a, b, p in pieces) / total,
    )


@given(
    bins=st.integers(2, 40),
    ends=st.tuples(ENDS, ENDS).filter(lambda ends: abs(ends[0] - ends[1]) > 1e-3),
    scaling=st.sampled_from(["zscore", "minmax"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_any_histogram_cut_anywhere_is_what_bin_by_bin_integration_gives(bins, ends, scaling, seed):
    raw = torch.from_numpy(3 * np.random.default_rng(seed).standard_normal((4, 1, bins)))
    head = head_of(bins=bins, scaling=scaling)
    edges = head.bin_edges[0].numpy()
    low, high = (edges[0] + (edges[-1] - edges[0]) * end for end in sorted(ends))
    head.reweighting = Reweighting(head.bin_edges).set(SPACE.names, box(low, high))
    mean, std, quantiles = decoded(head, raw)
    for row, probability in enumerate(raw.softmax(dim=-1)[:, 0].numpy()):
        expected = by_hand(probability, edges, low, high)
        assert mean[row] == pytest.approx(expected[0], abs=1e-9)
        assert std[row] == pytest.approx(expected[1], rel=1e-5, abs=1e-5)
        for wanted, value in zip(QUANTILES, quantiles[row], strict=True):
            assert low - 1e-9 <= value <= high + 1e-9
            assert expected[2](value) == pytest.approx(wanted, abs=1e-7)


@given(seed=st.integers(0, 2**32 - 1), low=st.floats(1, 2.9), high=st.floats(3.1, 5))
@settings(max_examples=30, deadline=None)
def test_a_prior_set_twice_is_set_once_and_that_of_the_training_takes_it_back(seed, low, high):
    raw = torch.from_numpy(np.random.default_rng(seed).standard_normal((3, 1, 64)))
    plain, once = head_of(), head_of(prior=box(low, high))
    twice = head_of(prior=box(1.5, 4.5))
    twice.reweighting.set(SPACE.names, box(low, high))
    for found, expected in zip(decoded(twice, raw), decoded(once, raw), strict=True):
        np.testing.assert_array_equal(found, expected)
    once.reweighting.set(SPACE.names, UniformPrior(SPACE))
    assert once.reweighting.is_trivial
    for found, expected in zip(decoded(once, raw), decoded(plain, raw), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_prior_of_one_label_leaves_the_others_alone():
    torch.manual_seed(0)
    raw = torch.randn(20, 5, 64, dtype=torch.float64)
    level = torch.zeros(20, 1)
    plain = head_of(LOW_T_BOX).decode(raw, level)
    cut = head_of(LOW_T_BOX, prior=box(4, 5, LOW_T_BOX)).decode(raw, level)
    others = [0, 2, 3, 4]
    for found, expected in zip(cut, plain, strict=True):
        assert torch.equal(found[:, others], expected[:, others])
        assert not torch.allclose(found[:, 1], expected[:, 1], atol=0.1)


def test_the_correction_of_errors_acts_on_what_is_weighted():
    """Quantiles are those of the cut distribution at the corrected probabilities: inside the new bounds."""
    head = head_of(prior=box(4, 5))
    raw = logits(stats.norm(3.5, 0.5), 64)
    head.calibration.share[..., 1] = 0.3
    before = decoded(head_of(prior=box(4, 5)), raw)[2]
    after = decoded(head, raw)[2]
    edges = head.bin_edges[0].numpy()
    cumulative = by_hand(raw.softmax(dim=-1)[0, 0].numpy(), edges, 4, 5)[2]
    assert cumulative(after[0, 1]) == pytest.approx(0.3, abs=1e-6)
    np.testing.assert_array_equal(after[:, [0, 2, 3, 4]], before[:, [0, 2, 3, 4]])
    assert 4 <= after.min() <= after.max() <= 5


def test_a_star_far_outside_the_new_prior_still_has_a_distribution():
    """Softmax alone would underflow: e^-900 of the probability lies inside."""
    raw = torch.linspace(0, -1200, 64, dtype=torch.float64)[None, None]
    mean, std, quantiles = decoded(head_of(prior=box(4, 5)), raw)
    assert 4 < mean[0] < 4.1
    assert std[0] > 0
    assert 4 <= quantiles.min() <= quantiles.max() <= 5


@pytest.mark.parametrize("low", [1 + 1e-9, 2 - 1e-7, 2.0, 2 + 1e-9])
def test_slivers_of_bins_do_no_harm(low):
    """Bounds at, or hardly beside, an edge of a bin (2.0 is one) or the bound of the training."""
    raw = torch.linspace(0, -1200, 64, dtype=torch.float64)[None, None]
    for value in decoded(head_of(prior=box(low, 5)), raw):
        assert np.isfinite(value).all()
        assert (value > 0).all()


def test_a_lattice_is_weighted_by_its_box_alone():
    """Its nodes, spread over their cells, are uniform: end nodes have half the weight and half a cell."""
    head = head_of(LOW_T_BOX, prior=LatticePrior.reference(LOW_T_BOX))
    assert head.reweighting.is_trivial
    cut = LatticePrior.reference(LOW_T_BOX.replace(log_g=(4, 5)))
    expected = head_of(LOW_T_BOX, prior=box(4, 5, LOW_T_BOX)).reweighting
    torch.testing.assert_close(head_of(LOW_T_BOX, prior=cut).reweighting.ratio, expected.ratio)


def test_interval_probabilities_are_exact_or_counted():
    space = LabelSpace(("log_g", "m_h"), ("dex", "dex"), (1.0, -2.0), (5.0, 0.0))
    edges = {"log_g": np.array([1.0, 1.5, 1.5, 4.0, 5.0]), "m_h": np.array([-2.0, -0.5, 0.0])}
    for prior, tolerance in ((UniformPrior(space), 1e-12), (Anywhere(space), 0.003)):
        found = interval_probabilities(prior, edges)
        np.testing.assert_allclose(found["log_g"], [0.125, 0, 0.625, 0.25], rtol=0, atol=tolerance)
        np.testing.assert_allclose(found["m_h"], [0.75, 0.25], rtol=0, atol=tolerance)


def test_priors_that_do_not_fit_are_refused():
    with pytest.raises(DomainError, match=r"log_g from 0\.5 to 5 reaches outside 1 to 5"):
        head_of(prior=box(0.5, 5))
    with pytest.raises(LabelError, match="unknown label 'log_g'"):
        head_of(prior=UniformPrior(LOW_T_BOX.select(["teff"])))


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("edges", (0, 3), 7.0),
        ("edges", (0, 3), 4.9),
        ("edges", (0, 0), np.nan),
        ("ratio", (0, 3), -1.0),
        ("ratio", (0, 63), np.inf),
        ("ratio", (0, 63), np.nan),
        ("ratio", (0, 0), 1.0),
        ("ratio", slice(None), 0.0),
    ],
)
def test_values_that_are_no_prior_are_seen(name, at, value):
    reweighting = head_of(prior=box(4, 5)).reweighting
    assert reweighting.problem is None
    getattr(reweighting, name)[at] = value
    assert reweighting.problem is not None
