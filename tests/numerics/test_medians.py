"""The quick median of one spectrum is NumPy's; that of many rows is tested where it is used."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from specvit.numerics import median


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e6, 1e6)))
def test_the_median_is_that_of_numpy(values):
    before = values.copy()
    assert median(values) == pytest.approx(np.median(values), rel=1e-14, abs=1e-12)
    np.testing.assert_array_equal(values, before)
