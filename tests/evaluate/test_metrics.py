"""Scores against scikit-learn and against the laws they obey."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from specvit.errors import DataError, ShapeError
from specvit.evaluate import SCORES, bias, mae, r2, rmse, scatter


def pairs(count=50, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.uniform(1, 5, count)
    return truth, truth + 0.4 * generator.normal(size=count) + 0.1


def test_r2_of_the_mean_is_zero_and_of_the_truth_is_one():
    truth, _ = pairs()
    assert r2(truth, np.full(50, truth.mean())) == pytest.approx(0.0, abs=1e-15)
    assert r2(truth, truth) == 1.0


def test_scores_agree_with_scikit_learn():
    truth, estimate = pairs()
    assert r2(truth, estimate) == pytest.approx(sklearn_metrics.r2_score(truth, estimate), rel=1e-14)
    assert mae(truth, estimate) == pytest.approx(sklearn_metrics.mean_absolute_error(truth, estimate))
    assert rmse(truth, estimate) == pytest.approx(sklearn_metrics.root_mean_squared_error(truth, estimate))


def test_bias_and_scatter_make_up_the_rmse():
    truth, estimate = pairs()
    assert rmse(truth, estimate) ** 2 == pytest.approx(
        bias(truth, estimate) ** 2 + scatter(truth, estimate) ** 2
    )
    assert bias(truth, truth + 0.25) == pytest.approx(0.25)


def test_every_score_has_its_own_name():
    """Errors 1 and 7: no two of these agree, so no name can stand for another score."""
    truth, estimate = np.array([1.0, 3.0]), np.array([2.0, 10.0])
    found = {name: float(score(truth, estimate)) for name, score in SCORES.items()}
    assert found == pytest.approx({"r2": -24.0, "mae": 4.0, "rmse": 5.0, "bias": 4.0, "scatter": 3.0})
    assert float(mae(truth, 2 * truth - estimate)) == 4.0


@given(
    slope=st.floats(-50, 50).filter(lambda a: abs(a) > 0.02),
    offset=st.floats(-100, 100),
    seed=st.integers(0, 10_000),
)
def test_r2_does_not_change_under_a_common_affine_map(slope, offset, seed):
    truth, estimate = pairs(20, seed)
    mapped = r2(slope * truth + offset, slope * estimate + offset)
    assert mapped == pytest.approx(float(r2(truth, estimate)), abs=1e-6)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(SCORES)))
def test_scores_do_not_depend_on_the_order_of_the_stars(seed, name):
    truth, estimate = pairs(17, seed)
    order = np.random.default_rng(seed).permutation(17)
    shuffled = SCORES[name](truth[order], estimate[order])
    assert shuffled == pytest.approx(float(SCORES[name](truth, estimate)), abs=1e-12)


def test_averaging_r2_over_batches_is_not_the_pooled_r2():
    truth, estimate = pairs(60)
    averaged = np.mean(r2(truth.reshape(6, 10), estimate.reshape(6, 10)))
    assert abs(averaged - r2(truth, estimate)) > 1e-3


def test_scores_work_along_the_last_axis_of_arrays_and_tensors():
    truth, estimate = pairs(60)
    for name, score in SCORES.items():
        rows = score(torch.tensor(truth).reshape(3, 20), torch.tensor(estimate).reshape(3, 20))
        alone = [score(truth[k : k + 20], estimate[k : k + 20]) for k in (0, 20, 40)]
        np.testing.assert_allclose(rows, alone, err_msg=name)


def test_float32_estimates_are_scored_in_float64():
    truth = torch.linspace(1, 5, 1001, dtype=torch.float32) + 1e4
    expected = sklearn_metrics.r2_score(truth.double(), (truth + 0.5).double())
    assert r2(truth, truth + 0.5) == pytest.approx(expected, rel=1e-12)


@example(value=7.850267728995957e-146, count=5)
@given(value=st.floats(-1e4, 1e4), count=st.integers(1, 40))
def test_r2_of_a_constant_truth_is_undefined(value, count):
    """Whatever the constant: the mean of three times 0.1 is not 0.1."""
    assert np.isnan(r2(np.full(count, value), value + np.arange(count)))


def test_unusable_columns_are_refused():
    with pytest.raises(ShapeError, match="as many"):
        r2([1.0, 2.0], [1.0])
    with pytest.raises(ShapeError, match="at least one"):
        r2([], [])
    with pytest.raises(DataError, match="estimate: 1 of 2"):
        mae([1.0, 2.0], [1.0, np.nan])
