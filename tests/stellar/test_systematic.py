"""The missing error is that of a second, independent deviation; none is added where none is missing."""

import numpy as np
import pytest

from specvit.stellar.systematic import SYSTEMATIC, left_out_coverage, missing_error, total_error


def test_what_is_missing_is_found():
    rng = np.random.default_rng(5)
    sigma = rng.uniform(0.05, 0.3, 20_000)
    off = sigma * rng.standard_normal(sigma.size) + 0.25 * rng.standard_normal(sigma.size)
    # The quantile of a mixture of widths is not exactly that of one width.
    assert missing_error(off, sigma) == pytest.approx(0.25, rel=0.03)
    assert left_out_coverage(off[:300], sigma[:300]) == pytest.approx(0.68, abs=0.06)


def test_errors_that_are_large_enough_stay():
    rng = np.random.default_rng(6)
    assert missing_error(0.1 * rng.standard_normal(500), np.full(500, 0.2)) == 0


def test_total_errors_are_in_quadrature():
    assert total_error("log_g", 0.4) == pytest.approx(np.sqrt(0.16 + SYSTEMATIC["log_g"] ** 2))
    assert total_error("c_m", 0.4) == 0.4
