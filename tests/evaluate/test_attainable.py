"""What is attainable per spectrum: the exact posterior's variance, or that of a Gaussian world."""

import numpy as np
import pytest

from specvit.errors import DataError
from specvit.evaluate import exact_limit, gaussian_limit, most_widely
from specvit.runs import Posteriors, StarBounds

NAMES = ["teff", "log_g"]


def bounds(crlb, rows):
    """One set of free labels; `crlb` is of log_g, that of teff a hundred times larger."""
    both = np.stack([100 * np.asarray(crlb), np.asarray(crlb)], axis=1)[None]
    return StarBounds(
        rows=rows,
        snr=np.full(len(rows), 5.0),
        label_names=NAMES,
        sets=["all"],
        free=[[True, True]],
        crlb=both,
        r2_max=np.zeros_like(both),
        schur=np.ones_like(both),
    )


def posteriors(mean, variance, rows):
    return Posteriors(
        rows=rows,
        label_names=NAMES,
        mean=np.stack([1000 * np.asarray(mean), mean], axis=1),
        variance=np.stack([1e6 * np.asarray(variance), variance], axis=1),
        ess=np.full(len(rows), 500.0),
        converged=np.ones(len(rows), bool),
    )


def test_the_gaussian_limit_is_prior_and_bound_in_parallel_at_its_own_rows():
    found = gaussian_limit(bounds([1.0, 2.0, np.inf, 4.0], [5, 0, 1, 2]), "log_g", 6, 2.0)
    np.testing.assert_allclose(found.variance, [1.0, 2.0, 4 / 3, np.nan, np.nan, 2 / 3])
    np.testing.assert_array_equal(found.known, [True, True, True, False, False, True])
    assert not found.exact
    # Another label has its own bound, in its own unit.
    assert gaussian_limit(bounds([1.0], [0]), "teff", 1, 300.0).variance == pytest.approx(75.0)


def test_the_exact_limit_is_the_posterior_of_the_label():
    sampled = posteriors([3.0, 3.5], [0.5, 0.6], [2, 0])
    found = exact_limit(sampled, "log_g", 4)
    np.testing.assert_allclose(found.variance, [0.6, np.nan, 0.5, np.nan])
    np.testing.assert_allclose(found.mean, [3.5, np.nan, 3.0, np.nan])
    assert found.exact
    np.testing.assert_allclose(exact_limit(sampled, "teff", 4).mean[:3], [3500, np.nan, 3000])
    with pytest.raises(DataError, match="no label 'm_h'; it holds teff, log_g"):
        exact_limit(sampled, "m_h", 4)


@pytest.mark.parametrize(
    ("enough", "exact"),
    [(2, True), (3, False), (99, False)],
)
def test_the_exact_limit_is_taken_where_enough_spectra_have_it(enough, exact):
    wide = gaussian_limit(bounds([1.0, 2.0, 1.0, 4.0], range(4)), "log_g", 6, 2.0)
    narrow = exact_limit(posteriors([3.0, 3.5], [0.5, 0.6], [0, 1]), "log_g", 6)
    assert most_widely(narrow, wide, enough).exact is exact
    assert most_widely(None, wide, enough) is wide
    # All that have any: no more can be asked for.
    every = exact_limit(posteriors([3.0] * 4, [0.5] * 4, range(4)), "log_g", 6)
    assert most_widely(every, wide, enough) is every
