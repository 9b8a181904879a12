"""Scores of an estimator in slices, against closed forms and against the plain bootstrap of the same rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from gaussian_stars import ALL, BINS, VARIANCE, overall, score, scorer, stars, stated
from specvit.errors import ConfigError
from specvit.evaluate import (
    SCORES,
    Attainable,
    Scorer,
    Slice,
    bootstrap,
    everything,
    r2,
    rmse,
)


def percentile(share):
    return lambda error: np.percentile(np.abs(error), share, axis=-1)


def plain_scores(truth, estimate, variance, mean, gaussian):
    """Metric -> (statistic of columns, columns), written as the definitions say."""
    of_truth = truth, estimate
    spread = truth.var()

    def efficiency(y, z, v):
        # Where nothing can be attained no share of it is.
        ceiling = 1 - v.mean(-1) / spread
        return np.where(ceiling > 0, r2(y, z) / ceiling, np.nan)

    def r2_expected(y, z, best, limit):
        return 1 - (limit.mean(-1) + np.square(z - best).mean(-1)) / y.var(-1)

    def efficiency_expected(y, z, best, limit):
        known = y.var(-1) - limit.mean(-1)
        return np.where(known > 0, 1 - np.square(z - best).mean(-1) / known, np.nan)

    against = (*of_truth, variance)
    found = {name: (measure, of_truth) for name, measure in SCORES.items()}
    found |= {f"residual_{share}": (percentile(share), (estimate - truth,)) for share in (50, 68)}
    found["efficiency"] = (efficiency, against)
    found["headroom"] = (lambda y, z, v: 1 - v.mean(-1) / spread - r2(y, z), against)
    found["efficiency_crlb"] = (efficiency, (*of_truth, gaussian))
    found["r2_expected"] = (r2_expected, (*of_truth, mean, variance))
    found["efficiency_expected"] = (efficiency_expected, (*of_truth, mean, variance))
    return found


def same(score, plain, scale):
    """Whether a score is an interval to 1e-12 of the numbers behind it; None stands for NaN."""
    ours = np.array([score.value, score.low, score.high], dtype=float)
    theirs = np.array([plain.value, plain.low, plain.high])
    size = max(1.0, scale, *np.nan_to_num(np.abs(theirs)))
    return np.allclose(ours, theirs, rtol=0, atol=1e-12 * size, equal_nan=True)


@settings(max_examples=12, deadline=None)
@given(count=st.integers(60, 250), seed=st.integers(0, 999), scale=st.sampled_from([1.0, 700.0]))
def test_every_score_of_every_slice_is_the_plain_bootstrap_of_its_rows(count, seed, scale):
    """Value and interval, to rounding, in whatever unit; a slice is resampled with its own seed."""
    truth, snr, mean, variance = stars(count, seed)
    random = np.random.default_rng(seed)
    truth, mean, variance = scale * truth, scale * mean, scale**2 * variance
    estimate = mean + 0.3 * scale * random.normal(size=count)
    estimate[random.uniform(size=count) < 0.1] = np.nan
    gaussian = Attainable(1.2 * variance)
    here = scorer(snr, 50)
    found = here.estimator(truth, estimate, {}, Attainable(variance, mean), gaussian)
    for k, part in enumerate(here.slices):
        rows = part.mask & np.isfinite(estimate)
        columns = [values[rows] for values in (truth, estimate, variance, mean, gaussian.variance)]
        wanted = plain_scores(*columns)
        assert found.metrics[part.name].keys() == wanted.keys()
        for metric, (statistic, values) in wanted.items():
            plain = bootstrap(statistic, *values, resamples=50, seed=1 + k)
            assert same(found.metrics[part.name][metric], plain, scale), metric


@settings(max_examples=40, deadline=None)
@given(
    nodes=st.lists(st.sampled_from([0.1, 0.3, 1.1, 4.7]), min_size=2, max_size=7),
    seed=st.integers(0, 99),
)
def test_slices_of_few_stars_on_few_nodes_are_scored_as_by_the_plain_bootstrap(nodes, seed):
    """Many resamples hold one value only: they have no R² and count for nothing, in the quick way too."""
    truth = np.array(nodes)
    estimate = truth + np.random.default_rng(seed).normal(size=truth.size)
    found = Scorer([everything(truth.size)], 40, 3).estimator(truth, estimate, {}).metrics[ALL]["r2"]
    plain = bootstrap(r2, truth, estimate, resamples=40, seed=3)
    if np.isnan(plain.value):
        assert (found.value, found.low, found.high) == (None, None, None)
    else:
        assert (found.value, found.low, found.high) == pytest.approx(
            (plain.value, plain.low, plain.high), rel=1e-9
        )


def test_the_rmse_is_no_mean_absolute_error():
    truth = np.zeros(4) + np.arange(4.0)
    found = overall(truth, np.full(4, 5.0), truth + np.array([1.0, -1.0, 1.0, 7.0]))
    assert found["rmse"].value == pytest.approx(np.sqrt(13))
    assert found["mae"].value == pytest.approx(2.5)


def test_labels_in_other_units_are_scored_in_their_own():
    """Kelvin beside dex: what carries a unit scales with it, what carries none does not change."""
    truth, snr, mean, variance = stars(400, 13)
    one = scorer(snr)
    dex = one.estimator(truth, mean, stated(mean, np.sqrt(variance)), Attainable(variance, mean))
    kelvin = one.estimator(
        5000 + 300 * truth,
        5000 + 300 * mean,
        stated(5000 + 300 * mean, 300 * np.sqrt(variance)),
        Attainable(300**2 * variance, 5000 + 300 * mean),
    )
    for part, metrics in dex.metrics.items():
        for metric, found in metrics.items():
            other = kelvin.metrics[part][metric]
            factor = 300 if metric in ("mae", "rmse", "bias", "scatter", "residual_50", "residual_68") else 1
            assert (other.value, other.low, other.high) == pytest.approx(
                (factor * found.value, factor * found.low, factor * found.high), rel=1e-8, abs=1e-10
            )


def test_residuals_are_quantiles_of_the_absolute_error():
    truth, snr, mean, _ = stars(500, 3)
    found = overall(truth, snr, mean)
    for share in (50, 68):
        assert found[f"residual_{share}"].value == pytest.approx(
            np.quantile(np.abs(truth - mean), share / 100)
        )


def test_efficiency_and_headroom_are_ratio_and_difference_to_the_ceiling_of_the_same_stars():
    truth, snr, mean, variance = stars(600, 4)
    variance[400:] = np.nan
    estimate = 3 + 0.8 * (mean - 3)
    found = score(truth, snr, estimate, limit=Attainable(variance, mean)).metrics
    top = 1 - variance[:400].mean() / truth[:400].var()
    model = r2_score(truth[:400], estimate[:400])
    assert found[ALL]["efficiency"].value == pytest.approx(model / top)
    assert found[ALL]["headroom"].value == pytest.approx(top - model)
    rows = (snr[:400] >= 4) & (snr[:400] < 8)
    top = 1 - variance[:400][rows].mean() / truth[:400][rows].var()
    model = r2_score(truth[:400][rows], estimate[:400][rows])
    assert found[BINS[1]]["headroom"].value == pytest.approx(top - model)


def test_the_efficiency_against_the_crlb_is_taken_on_the_stars_of_the_exact_ceiling():
    truth, snr, mean, variance = stars(600, 4)
    gaussian = Attainable(1.3 * variance)  # known for all, the exact one for 400
    variance[400:] = np.nan
    found = score(truth, snr, mean, limit=Attainable(variance, mean), gaussian=gaussian).metrics
    model = r2_score(truth[:400], mean[:400])
    top = 1 - gaussian.variance[:400].mean() / truth[:400].var()
    assert found[ALL]["efficiency_crlb"].value == pytest.approx(model / top)
    assert found[ALL]["efficiency_crlb"].value > found[ALL]["efficiency"].value
    # An approximation accuses nobody, and says nothing beside itself.
    alone = score(truth, snr, mean, limit=gaussian)
    assert "efficiency_crlb" not in alone.metrics[ALL]
    assert alone.above_ceiling is None


@given(seed=st.integers(0, 9999), error=st.floats(0, 2), pull=st.floats(-1, 1))
@settings(max_examples=40, deadline=None)
def test_the_expected_r2_never_passes_the_bayes_ceiling_and_the_posterior_mean_reaches_it(seed, error, pull):
    """Whatever the estimates are, even the truth itself: the distance is their distance to the posterior mean."""
    truth, snr, mean, variance = stars(150, seed)
    estimate = mean + pull * (truth - mean) + error * np.random.default_rng(seed).normal(size=150)
    limit = Attainable(variance, mean)
    here = scorer(snr, 20)
    ceiling = here.ceiling_r2(truth, limit)
    found = here.estimator(truth, estimate, {}, limit).metrics
    best = here.estimator(truth, mean, {}, limit).metrics
    for part in (ALL, *BINS):
        if ceiling[part].value is None:
            continue
        for end in ("value", "low", "high"):
            top = getattr(ceiling[part], end)
            assert getattr(found[part]["r2_expected"], end) <= top + 1e-12
            assert getattr(best[part]["r2_expected"], end) == pytest.approx(top, abs=1e-12)


def test_the_ceiling_is_one_less_the_share_of_variance_that_no_estimator_explains():
    truth, snr, mean, variance = stars(300, 10)
    variance[200:] = np.nan
    found = scorer(snr).ceiling_r2(truth, Attainable(variance, mean))
    assert found[ALL].value == pytest.approx(1 - variance[:200].mean() / truth[:200].var())
    plain = bootstrap(
        lambda y, v: 1 - v.mean(-1) / y.var(-1), truth[:200], variance[:200], resamples=100, seed=1
    )
    assert (found[ALL].low, found[ALL].high) == pytest.approx((plain.low, plain.high), abs=1e-12)


def test_expected_efficiency_is_the_mean_of_the_efficiency_over_truths():
    """Of one set of spectra, with the truth drawn again and again from the posterior; and 1 at the best."""
    random, values, expected = np.random.default_rng(0), [], []
    _, snr, mean, variance = stars(2000, 9)
    limit = Attainable(variance, mean)
    estimate = 3 + 0.8 * (mean - 3) + 0.2 * random.normal(size=2000)
    for _ in range(60):
        truth = mean + np.sqrt(variance) * random.normal(size=2000)
        found = overall(truth, snr, estimate, limit=limit, resamples=20)
        values.append(found["efficiency"].value)
        expected.append(found["efficiency_expected"].value)
        best = overall(truth, snr, mean, limit=limit, resamples=20)
        assert best["efficiency_expected"].value == pytest.approx(1)
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(np.mean(expected), abs=4 * error)
    assert np.std(expected) < 0.5 * np.std(values)


def test_spectra_without_an_estimate_are_counted_and_in_no_score():
    truth, snr, mean, _ = stars(300, 5)
    estimate = mean.copy()
    estimate[:15], estimate[15:20] = np.nan, np.inf
    found = score(truth, snr, estimate)
    assert found.missing == 20
    assert found.metrics[ALL]["r2"].value == pytest.approx(r2_score(truth[20:], mean[20:]))


@pytest.mark.parametrize("spectra", [0, 1])
def test_a_slice_of_fewer_than_two_spectra_keeps_its_place_without_scores(spectra):
    truth, _, mean, variance = stars(50, 14)
    few = Slice("few", "named", "the first", np.arange(50) < spectra)
    here = Scorer([everything(50), few], 20, 1)
    limit = Attainable(variance, mean)
    found = here.estimator(truth, mean, stated(mean, np.sqrt(variance)), limit, limit).metrics
    assert found["few"].keys() == found[ALL].keys()
    assert {one.value for one in found["few"].values()} == {None}
    assert here.ceiling_r2(truth, limit)["few"].value is None


def test_two_slices_of_one_name_are_refused():
    """The second would take the place of the first in every file."""
    with pytest.raises(ConfigError, match=r"evaluate\.slices: two slices are called 'all'"):
        Scorer([everything(5), Slice("all", "named", "a box", np.zeros(5, bool))], 20, 1)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_an_estimator_that_sees_the_truth_is_above_the_ceiling(share):
    truth, snr, mean, variance = stars(400, 6)
    found = score(truth, snr, mean + share * (truth - mean), limit=Attainable(variance, mean))
    assert found.above_ceiling is True
    assert found.metrics[ALL]["headroom"].high < 0


def test_honest_estimators_are_not_accused_on_lucky_test_sets():
    """Of 200 test sets a few put the posterior mean above the ceiling by chance; none is called a leak.

    The estimators are the posterior mean itself, and one that errs from it by a tenth of the posterior's own
    width. By headroom alone 5 of the 400 would be accused, by the difference to the posterior mean alone 3.
    """
    lucky, accused = 0, 0
    for seed in range(200):
        truth, _, mean, variance = stars(150, seed)
        noise = np.random.default_rng(seed + 1000).normal(size=150)
        here = Scorer([everything(150)], 60, 1)
        for estimate in (mean, mean + 0.1 * np.sqrt(variance) * noise):
            found = here.estimator(truth, estimate, {}, Attainable(variance, mean))
            lucky += found.metrics[ALL]["headroom"].high < 0
            accused += found.above_ceiling
    assert lucky > 2
    assert accused == 0


def test_without_an_exact_ceiling_nobody_is_accused():
    """V·CRLB / (V + CRLB) is no bound: to be above it proves nothing."""
    truth, snr, _, variance = stars(300, 7)
    assert score(truth, snr, truth, limit=Attainable(variance)).above_ceiling is None


def test_a_star_without_a_bound_has_no_mean_but_a_median():
    _, snr, _, _ = stars(100, 8)
    values = np.ones(100)
    values[0], values[1] = np.inf, np.nan
    spread = scorer(snr).spread(values)[ALL]
    assert spread.median == 1.0
    assert spread.mean is None
    assert scorer(snr).spread(np.full(100, np.nan))[ALL].median is None


def test_the_resamples_do_not_depend_on_what_is_held_in_memory(monkeypatch):
    truth, snr, mean, _ = stars(120, 15)
    whole = overall(truth, snr, mean)
    monkeypatch.setattr("specvit.evaluate.resampling.CHUNK", 120 * 7)
    monkeypatch.setattr("specvit.evaluate.resampled.CHUNK", 120)
    pieces = overall(truth, snr, mean)
    for metric, found in whole.items():
        assert (pieces[metric].value, pieces[metric].low) == pytest.approx((found.value, found.low))


def test_the_prior_alone_explains_nothing():
    truth = np.random.default_rng(2).uniform(1, 5, 2000)
    found = overall(truth, np.full(2000, 5.0), np.full(2000, truth.mean()))
    assert found["r2"].value == pytest.approx(0, abs=1e-12)
    assert found["rmse"].value == pytest.approx(float(rmse(truth, np.full(2000, truth.mean()))))
    assert found["rmse"].value ** 2 == pytest.approx(VARIANCE, rel=0.05)
