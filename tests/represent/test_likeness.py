"""CKA keeps its laws, and equals the textbook form with U-statistics of the kernel."""

import itertools

import numpy as np
import pytest

from specvit.errors import ShapeError
from specvit.represent import linear_cka

RNG = np.random.default_rng(3)


def rows(count, width):
    return RNG.standard_normal((count, width))


def slow_hsic(k, el):
    """The U-statistic of HSIC, as a sum over ordered quadruples of different spectra."""
    count = len(k)
    total = 0.0
    for i, j, q, r in itertools.permutations(range(count), 4):
        total += k[i, j] * (el[i, j] + el[q, r] - 2 * el[i, q])
    return total / (count * (count - 1) * (count - 2) * (count - 3))


def test_it_is_the_u_statistic():
    x, y = rows(7, 3), rows(7, 2)
    y[:, 0] += x[:, 1]
    k, el = x @ x.T, y @ y.T
    expected = slow_hsic(k, el) / np.sqrt(slow_hsic(k, k) * slow_hsic(el, el))
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-9)


def test_rotation_scale_and_shift_change_nothing():
    x = rows(40, 6)
    rotation = np.linalg.qr(rows(6, 6))[0]
    assert linear_cka(x, 3 * x @ rotation - 5) == pytest.approx(1, abs=1e-12)
    y = rows(40, 3)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x @ rotation + 1), abs=1e-12)


def test_layers_that_share_nothing_are_not_alike_however_wide():
    found = [linear_cka(rows(60, 500), rows(60, 500)) for _ in range(40)]
    # The plain estimate would be above 0.8 here. Mean of 40: five standard errors.
    assert abs(np.mean(found)) < 5 * np.std(found) / np.sqrt(40)


def test_a_constant_layer_has_no_likeness_and_other_spectra_are_refused():
    assert np.isnan(linear_cka(np.ones((9, 2)), rows(9, 2)))
    with pytest.raises(ShapeError, match="same 4 or more"):
        linear_cka(rows(9, 2), rows(8, 2))
