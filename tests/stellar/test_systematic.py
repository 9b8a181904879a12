"""The missing error is that of a second, independent deviation; none is added where none is missing."""

import numpy as np
import pytest

from specvit.stellar.systematic import left_out_pulls, missing_error, within_priors


def test_what_is_missing_is_found():
    rng = np.random.default_rng(5)
    sigma = rng.uniform(0.05, 0.3, 20_000)
    off = sigma * rng.standard_normal(sigma.size) + 0.25 * rng.standard_normal(sigma.size)
    # The quantile of a mixture of widths is not exactly that of one width.
    assert missing_error(off, sigma) == pytest.approx(0.25, rel=0.03)
    pulls = left_out_pulls(off[:300], sigma[:300])
    assert np.mean(np.abs(pulls) < 1) == pytest.approx(0.68, abs=0.06)
    assert np.mean(np.abs(pulls) < 2) == pytest.approx(0.95, abs=0.03)


def test_errors_that_are_large_enough_stay():
    rng = np.random.default_rng(6)
    assert missing_error(0.1 * rng.standard_normal(500), np.full(500, 0.2)) == 0


def test_no_total_error_is_larger_than_what_was_known():
    known = {"teff": (5000.0, 50.0), "log_g": (2.0, 9.0)}
    found = within_priors(
        {"teff": 120.0, "log_g": 0.3, "m_h": 0.1}, {"teff": 30.0, "log_g": 0.2, "m_h": 0.1}, known
    )
    assert np.hypot(found["teff"], 30.0) == pytest.approx(50.0)
    assert (found["log_g"], found["m_h"]) == (0.3, 0.1)
    assert within_priors({"teff": 120.0}, {"teff": 60.0}, known) == {"teff": 0.0}
