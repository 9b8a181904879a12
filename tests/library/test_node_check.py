"""Leave-one-out residuals: two spectra exchanged among 120 are found, and good libraries are left in peace."""

from dataclasses import replace

import numpy as np
import pytest

from real_files import FORMATS, needs_formats
from specvit.library.importers import LibraryWindow, import_pfsspec
from specvit.library.node_check import _left_out, _matern, _precision, _trend, check_nodes
from test_covered_region import grid_labels, library


@pytest.fixture(scope="module")
def smooth():
    return library(grid_labels())


def test_residuals_are_those_of_leaving_each_out(smooth):
    rng = np.random.default_rng(0)
    points, values = rng.normal(size=(30, 2)), rng.normal(size=(30, 3))
    kernel, trend = _matern(points, 2.0), _trend(points)
    errors, _ = _left_out(_precision(kernel, trend), values)
    for out in (0, 7, 29):
        rest = np.arange(30) != out
        # Universal kriging by its own equations, without the node.
        count = trend.shape[1]
        system = np.block(
            [[kernel[np.ix_(rest, rest)], trend[rest]], [trend[rest].T, np.zeros((count, count))]]
        )
        weights = np.linalg.solve(system, np.concatenate([kernel[rest, out], trend[out]]))[:29]
        np.testing.assert_allclose(errors[out], values[out] - weights @ values[rest], rtol=1e-5, atol=1e-8)


def test_a_good_library_has_no_suspicious_node(smooth):
    found = check_nodes(smooth)
    assert len(found.residuals) == 120
    assert found.suspicious == []
    assert found.residuals.max() < 0.01


@pytest.mark.parametrize("pair", [(0, 119), (33, 37), (60, 61), (5, 100), (118, 119)])
def test_two_exchanged_spectra_among_120_are_found_and_matched(smooth, pair):
    flux = smooth.flux.copy()
    flux[list(pair)] = flux[list(pair)[::-1]]
    found = check_nodes(replace(smooth, flux=flux))
    assert {node.row: node.like for node in found.suspicious} == dict([pair, pair[::-1]])


def test_one_spectrum_with_a_defect_is_named_alone(smooth):
    flux = smooth.flux.copy()
    flux[44, 100:200] *= 1.05
    found = check_nodes(replace(smooth, flux=flux))
    assert [node.row for node in found.suspicious] == [44]
    assert found.suspicious[0].like is None
    assert found.residuals.argmax() == 44


@needs_formats
def test_real_spectra_exchanged_among_120():
    real = import_pfsspec(FORMATS / "bosz_5000_test.h5", 5_000, LibraryWindow(8050.0, 8950.0, 4_000.0))
    assert check_nodes(real).suspicious == []
    rng = np.random.default_rng(7)
    for _ in range(3):
        one, two = rng.choice(120, 2, replace=False).tolist()
        flux = real.flux.copy()
        flux[[one, two]] = flux[[two, one]]
        found = check_nodes(replace(real, flux=flux))
        assert {node.row: node.like for node in found.suspicious} == {one: two, two: one}
