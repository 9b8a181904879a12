"""S/N bins partition the stars."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import ConfigError
from specvit.evaluate import SnrBins, snr_bins

NAMES = ("default", "fixed", "quantile", "publication", "log")


@given(name=st.sampled_from(NAMES), snr=st.lists(st.floats(0, 40), min_size=1, max_size=50))
def test_every_star_is_in_exactly_the_bin_that_holds_it(name, snr):
    bins, values = snr_bins(name), np.array(snr)
    at = bins.assign(values)
    for value, k in zip(values, at, strict=True):
        holding = [i for i in range(len(bins)) if bins.edges[i] <= value < bins.edges[i + 1]]
        if value == bins.edges[-1]:
            holding = [len(bins) - 1]
        assert holding == ([] if k == -1 else [k])


def test_the_published_sets_are_those_of_the_reference_work():
    assert snr_bins("quantile").edges == (2.79, 4.30, 5.30, 6.60, 8.21, 10.22, 12.53, 15.20, 27.68)
    assert snr_bins("publication").edges == (2.5, 4, 5, 6, 7, 8, 10, 15, 30)
    assert snr_bins("fixed").edges == (2.5, 3.5, 4.5, 5.5, 6.5, 8.5, 12.5, 18, 28)
    assert {snr_bins(name).definition for name in NAMES[1:]} == {"stored"}


def test_published_edges_convert_to_our_definition():
    converted = snr_bins("quantile").to_median()
    assert converted.definition == "median"
    np.testing.assert_allclose(np.array(converted.edges) * 1.16, snr_bins("quantile").edges, atol=1e-4)
    assert snr_bins("default").to_median() is snr_bins("default")


def test_the_default_set_fills_all_bins_for_the_reference_depth():
    """Closed form of the reference: S/N(m) = 38.45 s / sqrt(s + 1.567), s = 10^(-0.4 (m - 20))."""
    s = 10 ** (-0.4 * (np.linspace(20.5, 22.5, 10_001) - 20))
    bins = snr_bins()
    counts = np.bincount(bins.assign(38.45 * s / np.sqrt(s + 1.567)), minlength=len(bins))
    assert counts.sum() == 10_001
    assert counts.min() / 10_001 > 0.07
    assert counts.max() / 10_001 < 0.20


def test_bad_requests_are_refused():
    with pytest.raises(ConfigError, match="known sets are default, fixed"):
        snr_bins("decades")
    with pytest.raises(ConfigError, match="increase"):
        SnrBins("bad", (2.0, 2.0))
