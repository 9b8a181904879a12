"""Results are kept by the values of arrays, not by who holds them."""

import numpy as np
import pytest

from specvit.numerics import locked, remembered
from specvit.numerics.remembered import KEPT, LARGEST


def counting():
    asked = []

    @remembered
    def doubled(values, by=2.0):
        asked.append(by)
        if by == 0:
            raise ValueError("nothing")
        return locked(values * by)

    return doubled, asked


def test_the_same_values_are_asked_for_once():
    doubled, asked = counting()
    first = doubled(np.arange(3.0))
    assert doubled(np.arange(3.0)) is first
    assert len(asked) == 1
    for other in (np.arange(4.0), np.arange(3), np.arange(3.0)[::-1]):
        np.testing.assert_array_equal(doubled(other), 2 * other)
    np.testing.assert_array_equal(doubled(np.arange(3.0), 3.0), [0.0, 3.0, 6.0])
    assert len(asked) == 5


def test_an_argument_is_known_by_its_name():
    difference = remembered(lambda left=0.0, right=0.0: left - right)
    assert difference(left=1.0) == 1.0
    assert difference(right=1.0) == -1.0
    assert difference(left=1.0, right=3.0) == difference(right=3.0, left=1.0) == -2.0


def test_who_writes_to_an_array_changes_nothing_that_is_kept():
    doubled, _ = counting()
    values = np.arange(3.0)
    doubled(values)
    values[0] = 7.0
    np.testing.assert_array_equal(doubled(values), [14.0, 2.0, 4.0])
    np.testing.assert_array_equal(doubled(np.arange(3.0)), [0.0, 2.0, 4.0])
    with pytest.raises(ValueError, match="read-only"):
        doubled(values)[0] = 1.0


def test_nan_is_never_the_same_and_errors_are_not_kept():
    doubled, asked = counting()
    for _ in range(2):
        doubled(np.array([np.nan]))
        with pytest.raises(ValueError, match="nothing"):
            doubled(np.ones(2), 0)
    assert len(asked) == 4


def test_only_the_last_results_are_kept():
    doubled, asked = counting()
    for number in range(KEPT + 1):
        doubled(np.array([number]))
    doubled(np.array([KEPT]))
    assert len(asked) == KEPT + 1
    doubled(np.array([0]))
    assert len(asked) == KEPT + 2


def test_nothing_is_kept_of_large_arrays_and_empty_ones_are_the_same():
    doubled, asked = counting()
    for values in (np.zeros(LARGEST + 1), np.zeros(0)):
        doubled(values)
        doubled(values)
    assert len(asked) == 3
