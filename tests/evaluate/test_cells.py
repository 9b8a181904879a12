"""Cells of the label plane: every star in one, scored as its stars are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.evaluate import Attainable, Cells, bootstrap, cell_scores, plane_axes
from specvit.evaluate.cells import FEWEST, LEAST_STARS, MOST, SLICES

NAMES = ["teff", "log_g", "m_h", "alpha_m", "c_m"]
VARIANCE = 4.0**2 / 12


def plane(count, seed=0):
    random = np.random.default_rng(seed)
    return (random.uniform(3750, 6000, count), random.uniform(-2.5, 0.75, count)), random.uniform(
        2, 20, count
    )


def test_the_plane_avoids_the_target_and_needs_two_labels():
    assert plane_axes(NAMES, "log_g") == ("teff", "m_h")
    assert plane_axes(NAMES, "teff") == ("m_h", "log_g")
    assert plane_axes(["log_g", "teff"], "log_g") is None


@settings(max_examples=25, deadline=None)
@given(count=st.integers(4, 3000), seed=st.integers(0, 99), share=st.floats(0.3, 1.0))
def test_every_star_used_lies_in_the_one_cell_that_holds_it(count, seed, share):
    (teff, m_h), snr = plane(count, seed)
    used = np.random.default_rng(seed).uniform(size=count) <= share
    used[:2] = True
    cells = Cells.divide(("teff", "m_h"), (teff, m_h), snr, used)
    held = [np.flatnonzero(part.mask) for part in cells.slices]
    assert sorted(np.concatenate(held)) == list(np.flatnonzero(used))
    slices, second, first = cells.shape
    assert slices == SLICES
    assert FEWEST <= first == second <= MOST
    for k, rows in enumerate(held):
        s, j, i = np.unravel_index(k, cells.shape)
        assert (teff[rows] >= cells.edges[0][i]).all()
        assert (teff[rows] <= cells.edges[0][i + 1]).all()
        assert (m_h[rows] >= cells.edges[1][j]).all()
        assert (m_h[rows] <= cells.edges[1][j + 1]).all()
        assert (snr[rows] >= cells.snr_edges[s]).all()
        assert (snr[rows] <= cells.snr_edges[s + 1]).all()


def test_edges_are_round_numbers_outside_the_stars():
    values, snr = plane(2000)
    cells = Cells.divide(("teff", "m_h"), values, snr, np.ones(2000, bool))
    assert (cells.edges[0][0], cells.edges[0][-1]) == (3750, 6000)
    assert (cells.edges[1][0], cells.edges[1][-1]) == pytest.approx((-2.5, 0.75))


def test_a_cell_is_scored_as_its_stars_are():
    random = np.random.default_rng(1)
    values, snr = plane(900, 1)
    variance = random.uniform(0.1, 0.6, 900)
    truth = random.uniform(1, 5, 900)
    estimate = truth + 2 * np.sqrt(variance) * random.normal(size=900)
    estimate[:30] = np.nan
    cells = Cells.divide(("teff", "m_h"), values, snr, np.ones(900, bool))
    found = cell_scores(cells, truth, {"m": estimate}, Attainable(variance), VARIANCE, resamples=50, seed=3)
    assert not found.exact
    assert found.stars.sum() == 900
    precision, efficiency = found.of("precision", "m"), found.of("efficiency", "m")
    for k, part in enumerate(cells.slices):
        at, rows = np.unravel_index(k, cells.shape), np.flatnonzero(part.mask)
        known = rows[np.isfinite(estimate[rows])]
        mse, allowed = np.square(estimate - truth)[known].mean(), variance[known].mean()
        assert precision[at][0] == pytest.approx(np.sqrt(allowed / mse))
        assert efficiency[at][0] == pytest.approx((1 - mse / VARIANCE) / (1 - allowed / VARIANCE))
        assert precision[at][1] <= precision[at][0] <= precision[at][2]
        assert found.ceiling[at] == pytest.approx(1 - variance[rows].mean() / VARIANCE)
    # Errors twice as large as need be: half the precision, to 4 standard errors of a ratio from 870 stars.
    assert np.nanmean(precision[..., 0]) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2 * 870))


def test_cells_with_few_stars_are_left_blank():
    values, snr = plane(150, 2)
    truth = np.random.default_rng(2).uniform(1, 5, 150)
    cells = Cells.divide(("teff", "m_h"), values, snr, np.ones(150, bool))
    found = cell_scores(cells, truth, {"m": truth + 0.1}, Attainable(np.full(150, 0.1)), VARIANCE, 20, 0)
    few = found.stars < LEAST_STARS
    assert few.any()
    assert not few.all()
    assert (np.isnan(found.of("precision", "m")[..., 0]) == few).all()


def test_the_interval_of_a_cell_is_the_bootstrap_of_its_stars():
    random = np.random.default_rng(4)
    values, snr = plane(400, 4)
    truth, variance = random.uniform(1, 5, 400), random.uniform(0.1, 0.6, 400)
    estimate = truth + random.normal(size=400)
    cells = Cells.divide(("teff", "m_h"), values, snr, np.ones(400, bool))
    found = cell_scores(cells, truth, {"m": estimate}, Attainable(variance), VARIANCE, 60, 5)
    for k, part in enumerate(cells.slices):
        plain = bootstrap(
            lambda square, limit: np.sqrt(limit.mean(axis=-1) / square.mean(axis=-1)),
            np.square(estimate - truth)[part.mask],
            variance[part.mask],
            resamples=60,
            seed=5 + k,
        )
        at = np.unravel_index(k, cells.shape)
        expected = (plain.value, plain.low, plain.high)
        np.testing.assert_allclose(found.of("precision", "m")[at], expected, rtol=1e-12)


def test_a_ceiling_of_nothing_has_no_efficiency():
    """An attainable variance that is the prior's own leaves nothing to attain."""
    values, snr = plane(300, 6)
    truth = np.random.default_rng(6).uniform(1, 5, 300)
    cells = Cells.divide(("teff", "m_h"), values, snr, np.ones(300, bool))
    limit = Attainable(np.full(300, VARIANCE))
    found = cell_scores(cells, truth, {"m": truth + 1}, limit, VARIANCE, 20, 0)
    assert np.isnan(found.of("efficiency", "m")).all()
    assert np.isfinite(found.of("precision", "m")).any()
