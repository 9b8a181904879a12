"""Slices are the spectra they say they are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import ConfigError
from specvit.evaluate import SnrBins, box_slice, everything, shared_slice, snr_slices
from specvit.runs import StarTable

EDGES = (2.0, 4.0, 8.0, 20.0)


def table(count=200, seed=0, mag=True):
    random = np.random.default_rng(seed)
    labels = np.stack([random.uniform(3750, 6000, count), random.uniform(1, 5, count)], axis=1)
    snr = random.uniform(2, 20, count)
    return StarTable(["teff", "log_g"], labels, snr, 25 - 2.5 * np.log10(snr) if mag else None)


@given(snr=st.lists(st.floats(0.1, 40), min_size=1, max_size=60))
def test_bins_hold_their_spectra_once_and_the_last_is_closed(snr):
    values = np.array([*snr, 4.0, 20.0])
    slices = snr_slices(SnrBins("run", EDGES), values)
    for part, (low, high) in zip(slices, pairwise(EDGES), strict=True):
        below = values <= high if high == EDGES[-1] else values < high
        np.testing.assert_array_equal(part.mask, (values >= low) & below)
        assert part.edges == (low, high)
        assert part.kind == "snr"
    inside = (values >= EDGES[0]) & (values <= EDGES[-1])
    assert (sum(part.mask.astype(int) for part in slices) == inside).all()


def test_a_box_holds_its_ends_in_every_quantity_it_bounds():
    stars = table()
    box = {"teff": (4000.0, 5000.0), "snr": (3.0, 9.0), "mag": (22.0, 24.5)}
    part = box_slice("cool", box, stars)
    teff = stars.truth("teff")
    expected = (teff >= 4000) & (teff <= 5000) & (stars.snr >= 3) & (stars.snr <= 9)
    np.testing.assert_array_equal(part.mask, expected & (stars.mag >= 22) & (stars.mag <= 24.5))
    assert 0 < part.mask.sum() < 200
    assert part.definition == "teff from 4000 to 5000, snr from 3 to 9, mag from 22 to 24.5"
    edge = box_slice("one", {"log_g": (stars.truth("log_g")[7], 5.0)}, stars)
    assert edge.mask[7]


@given(count=st.integers(2, 80), low=st.floats(0, 1), seed=st.integers(0, 50))
def test_a_quantile_counts_spectra_from_the_faintest(count, low, seed):
    stars = table(count, seed)
    part = box_slice("bright", {"snr_quantile": (low, 1.0)}, stars)
    # Ranks k / (N - 1) for k = 0 ... N - 1.
    assert part.mask.sum() == (np.arange(count) / (count - 1) >= low).sum()
    assert part.mask[stars.snr.argmax()]
    if not part.mask.all():
        assert stars.snr[part.mask].min() >= stars.snr[~part.mask].max()


def test_one_spectrum_is_its_own_quantile():
    assert box_slice("faint", {"snr_quantile": (0.0, 0.5)}, table(1)).mask.all()


@pytest.mark.parametrize(
    ("key", "mag", "known"),
    [("m_h", True, "teff, log_g, snr, snr_quantile, mag"), ("mag", False, "teff, log_g, snr, snr_quantile")],
)
def test_a_key_the_spectra_do_not_have_is_one_line_that_lists_those_they_have(key, mag, known):
    with pytest.raises(ConfigError) as caught:
        box_slice("odd", {key: (0.0, 1.0)}, table(mag=mag))
    assert str(caught.value) == (
        f"evaluate.slices.odd: '{key}' is not known of the test spectra; choose {known}"
    )


def test_the_shared_slice_is_where_all_have_an_estimate_and_none_if_that_is_everywhere():
    first, second = np.arange(5.0), np.arange(5.0)
    assert shared_slice([first, second]) is None
    first[1], second[3] = np.nan, np.inf
    part = shared_slice([first, second])
    assert part.name == "shared"
    np.testing.assert_array_equal(part.mask, [True, False, True, False, True])


def test_facts_say_how_many_and_how_bright():
    stars = table()
    facts = everything(200).facts(stars.snr)
    assert (facts.kind, facts.spectra, facts.median_snr) == ("all", 200, np.median(stars.snr))
    empty = box_slice("none", {"teff": (0.0, 1.0)}, stars).facts(stars.snr)
    assert (empty.spectra, empty.median_snr) == (0, None)
