from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from specvit.report.placing import spread_apart

wanted = st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted)


@given(wanted, st.floats(0.1, 8))
def test_items_neither_overlap_nor_leave_the_axis(places, size):
    at = spread_apart(places, [size] * len(places), 0, 100)
    assert all(b - a >= size - 1e-9 for a, b in pairwise(at))
    assert at[0] >= size / 2 - 1e-9
    assert at[-1] <= 100 - size / 2 + 1e-9


def test_items_with_room_stay_where_they_want_to_be():
    assert spread_apart([10, 50, 90], [5, 5, 5], 0, 100) == [10, 50, 90]


def test_places_are_the_least_squares_solution():
    places, sizes = [10.0, 11.0, 11.5, 40.0], [4.0, 2.0, 6.0, 4.0]
    gaps = [(sizes[i] + sizes[i + 1]) / 2 for i in range(3)]
    best = minimize(
        lambda x: ((x - places) ** 2).sum(),
        np.array([0.0, 10.0, 20.0, 40.0]),
        constraints=[{"type": "ineq", "fun": lambda x, i=i: x[i + 1] - x[i] - gaps[i]} for i in range(3)],
    )
    assert spread_apart(places, sizes, 0, 100) == pytest.approx(best.x, abs=1e-3)
