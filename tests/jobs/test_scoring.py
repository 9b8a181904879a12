"""Scores against closed forms, and the warning of a leak on the simulated world itself."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import r2_score
from specvit.jobs.attainable import Attainable, attainable, most_widely
from specvit.jobs.ceilings import bayes_ceiling, crlb_ceiling
from specvit.jobs.estimators import store_prediction
from specvit.jobs.scorer import Scorer, stated_intervals
from specvit.jobs.scoring import summarise

from specvit.cli.run import print_scores
from specvit.jobs.config import resolve
from specvit.models import Ridge
from specvit.report import write_report
from specvit.runs import RunFolder
from specvit.simulate import Simulator
from specvit.spectra import MemorySource, SpectraBatch

EDGES = (2.0, 4.0, 8.0, 16.0)
VARIANCE = 4.0**2 / 12


def stars(count, seed, spread=0.5):
    """Truth, S/N, and the exact posterior of a Gaussian world: y | data ~ N(mean, variance)."""
    random = np.random.default_rng(seed)
    snr = np.exp(random.uniform(np.log(2), np.log(16), count))
    variance = spread * VARIANCE / (1 + snr**2 / 20)
    mean = 3 + np.sqrt(VARIANCE - variance) * random.normal(size=count)
    return mean + np.sqrt(variance) * random.normal(size=count), snr, mean, variance


def scorer(truth, snr, variance, mean=None, resamples=100):
    return Scorer(truth, snr, EDGES, resamples, 1, Attainable(variance, mean))


def gaussian(mean, std):
    return stated_intervals({"mean": mean[:, None], "std": std[:, None]}, 0)


def test_coverage_is_the_share_of_truths_inside_the_stated_interval():
    truth, snr, mean, variance = stars(4000, 1)
    std = 1.5 * np.sqrt(variance)
    found = scorer(truth, snr, variance, mean).model("m", mean, gaussian(mean, std), {})
    for share in (68, 95):
        reach = norm.ppf(0.5 + share / 200)
        score = found.overall[f"coverage_{share}"]
        # Errors stated 1.5 times too large hold more; 4 binomial standard errors.
        assert score.value == pytest.approx(2 * norm.cdf(1.5 * reach) - 1, abs=4 * np.sqrt(0.2 / 4000))
        for k, (low, high) in enumerate(itertools.pairwise(EDGES)):
            rows = (snr >= low) & (snr < high)
            inside = np.abs(truth - mean)[rows] <= reach * std[rows]
            assert found.bins[f"coverage_{share}"][k].value == pytest.approx(inside.mean())


def test_an_infinite_error_covers_and_an_unknown_one_does_not_count():
    truth, snr, mean, variance = stars(200, 2)
    std = np.full(200, 1e-9)
    std[:50], std[50:100] = np.inf, np.nan
    found = scorer(truth, snr, variance, mean).model("m", mean, gaussian(mean, std), {})
    assert found.overall["coverage_68"].value == pytest.approx(50 / 150)


def test_stated_quantiles_are_taken_as_they_are():
    """Skewed intervals: of an exponential posterior, not of a Gaussian of its moments."""
    random = np.random.default_rng(3)
    truth, low = random.exponential(size=4000), (0.025, 0.16, 0.5, 0.84, 0.975)
    quantiles = np.tile(-np.log(1 - np.array(low)), (4000, 1))[:, None]
    arrays = {"mean": np.ones((4000, 1)), "quantiles": quantiles, "probabilities": np.array(low)}
    found = scorer(truth, np.full(4000, 5.0), np.ones(4000)).model("m", arrays["mean"][:, 0], {}, {})
    assert "coverage_68" not in found.overall
    found = scorer(truth, np.full(4000, 5.0), np.ones(4000)).model(
        "m", arrays["mean"][:, 0], stated_intervals(arrays, 0), {}
    )
    for share in (68, 95):
        assert found.overall[f"coverage_{share}"].value == pytest.approx(share / 100, abs=0.03)
    wide = stated_intervals({"mean": arrays["mean"], "std": np.ones((4000, 1))}, 0)
    assert (
        scorer(truth, np.full(4000, 5.0), np.ones(4000))
        .model("m", truth, wide, {})
        .overall["coverage_68"]
        .value
        > 0.8
    )


def test_residuals_are_quantiles_of_the_absolute_error():
    truth, snr, mean, variance = stars(500, 3)
    found = scorer(truth, snr, variance, mean).model("m", mean, {}, {})
    assert "coverage_68" not in found.overall
    for share in (50, 68):
        value = np.quantile(np.abs(truth - mean), share / 100)
        assert found.overall[f"residual_{share}"].value == pytest.approx(value)


def test_efficiency_and_headroom_are_ratio_and_difference_to_the_ceiling_of_the_same_stars():
    truth, snr, mean, variance = stars(600, 4)
    variance[400:] = np.nan
    estimate = 3 + 0.8 * (mean - 3)
    found = scorer(truth, snr, variance, mean).model("m", estimate, {}, {})
    top = 1 - variance[:400].mean() / truth[:400].var()
    model = r2_score(truth[:400], estimate[:400])
    assert found.overall["efficiency"].value == pytest.approx(model / top)
    assert found.overall["headroom"].value == pytest.approx(top - model)
    rows = (snr[:400] >= 4) & (snr[:400] < 8)
    top = 1 - variance[:400][rows].mean() / truth[:400][rows].var()
    assert found.bins["headroom"][1].value == pytest.approx(
        top - r2_score(truth[:400][rows], estimate[:400][rows])
    )


def test_the_efficiency_against_the_crlb_is_taken_on_the_stars_of_the_exact_ceiling():
    truth, snr, mean, variance = stars(600, 4)
    gaussian = Attainable(1.3 * variance)  # known for all, the exact one for 400
    variance[400:] = np.nan
    found = Scorer(truth, snr, EDGES, 100, 1, Attainable(variance, mean), gaussian).model("m", mean, {}, {})
    model = r2_score(truth[:400], mean[:400])
    top = 1 - gaussian.variance[:400].mean() / truth[:400].var()
    assert found.overall["efficiency_crlb"].value == pytest.approx(model / top)
    assert found.overall["efficiency_crlb"].value > found.overall["efficiency"].value
    rows = (snr[:400] >= 4) & (snr[:400] < 8)
    top = 1 - gaussian.variance[:400][rows].mean() / truth[:400][rows].var()
    assert found.bins["efficiency_crlb"][1].value == pytest.approx(
        r2_score(truth[:400][rows], mean[:400][rows]) / top
    )
    # An approximation accuses nobody, and says nothing beside itself.
    alone = Scorer(truth, snr, EDGES, 100, 1, gaussian).model("m", mean, {}, {})
    assert "efficiency_crlb" not in alone.overall
    assert alone.above_ceiling is None


def test_expected_efficiency_is_the_mean_of_the_efficiency_over_truths():
    """Of one set of spectra, with the truth drawn again and again from the posterior; and 1 at the best."""
    random, values, expected = np.random.default_rng(0), [], []
    _, snr, mean, variance = stars(2000, 9)
    estimate = 3 + 0.8 * (mean - 3) + 0.2 * random.normal(size=2000)
    for _ in range(60):
        truth = mean + np.sqrt(variance) * random.normal(size=2000)
        found = scorer(truth, snr, variance, mean, resamples=20).model("m", estimate, {}, {})
        values.append(found.overall["efficiency"].value)
        expected.append(found.overall["efficiency_expected"].value)
        best = scorer(truth, snr, variance, mean, resamples=20).model("m", mean, {}, {})
        assert best.overall["efficiency_expected"].value == pytest.approx(1)
    error = np.std(values) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(np.mean(expected), abs=4 * error)
    assert np.std(expected) < 0.5 * np.std(values)


def test_spectra_without_an_estimate_are_counted_and_in_no_score():
    truth, snr, mean, variance = stars(300, 5)
    estimate = mean.copy()
    estimate[:20] = np.nan
    found = scorer(truth, snr, variance, mean).model("m", estimate, {}, {})
    assert found.missing == 20
    assert found.overall["r2"].value == pytest.approx(r2_score(truth[20:], mean[20:]))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_an_estimator_that_sees_the_truth_is_above_the_ceiling(share):
    truth, snr, mean, variance = stars(400, 6)
    found = scorer(truth, snr, variance, mean).model("leak", mean + share * (truth - mean), {}, {})
    assert found.above_ceiling is True
    assert found.overall["headroom"].high < 0


def test_honest_estimators_are_not_accused_on_lucky_test_sets():
    """Of 200 test sets a few put the posterior mean above the ceiling by chance; none is called a leak.

    The estimators are the posterior mean itself, and one that errs from it by a tenth of the posterior's own
    width. By headroom alone 5 of the 400 would be accused, by the difference to the posterior mean alone 3.
    """
    lucky, accused = 0, 0
    for seed in range(200):
        truth, snr, mean, variance = stars(150, seed)
        noise = np.random.default_rng(seed + 1000).normal(size=150)
        for estimate in (mean, mean + 0.1 * np.sqrt(variance) * noise):
            found = scorer(truth, snr, variance, mean, resamples=60)._against_limit(estimate)
            lucky += found[0]["headroom"][0].high < 0
            accused += found[1]
    assert lucky > 2
    assert accused == 0


def test_without_an_exact_ceiling_nobody_is_accused():
    """V·CRLB / (V + CRLB) is no bound: to be above it proves nothing."""
    truth, snr, _, variance = stars(300, 7)
    assert scorer(truth, snr, variance).model("leak", truth, {}, {}).above_ceiling is None


def test_a_star_without_a_bound_has_no_mean_but_a_median():
    truth, snr, mean, variance = stars(100, 8)
    values = np.ones(100)
    values[0] = np.inf
    overall, _ = scorer(truth, snr, variance, mean).spread(values)
    assert overall.median == 1.0
    assert overall.mean is None


def test_the_attainable_variance_is_exact_where_it_was_computed():
    arrays = {"rows": np.arange(4), "crlb_5": np.array([1.0, 2.0, np.inf, 4.0])}
    shrunken = attainable(arrays, 6, 2.0)
    np.testing.assert_allclose(shrunken.variance, [2 / 3, 1.0, 2.0, 4 / 3, np.nan, np.nan])
    assert not shrunken.exact
    exact = {**arrays, "bayes_mean": np.array([3.0, 3.5]), "bayes_var": np.array([0.5, 0.6])}
    found = attainable(exact, 6, 2.0)
    np.testing.assert_allclose(found.variance, [0.5, 0.6, *[np.nan] * 4])
    assert found.exact
    assert most_widely(exact, 6, 2.0, enough=2).exact
    assert not most_widely(exact, 6, 2.0, enough=3).exact


def leaky_source(simulator, split, count):
    """Spectra whose 'flux' is 1 + the logarithm of the true sigma over its median."""
    batch = simulator.draw(split, 11, 0, count)
    shape = batch.sigma.double().log()
    shape = (1 + shape - shape.median(dim=1, keepdim=True).values).float()
    seen = SpectraBatch(shape, torch.full_like(shape, 0.01), batch.labels, batch.conditions, batch.snr)
    return MemorySource(seen, simulator.grid, simulator.prior.label_space)


@pytest.fixture(scope="module")
def leaky_run(tmp_path_factory):
    """A small world of faint stars: Ridge on the flux, Ridge on the true sigma, and the posterior mean."""
    count = 100
    options = {"instrument": "gaia_rvs", "noise_level": 20.0}
    world, leaky = Simulator.build(**options), Simulator.build(**options, visible_sigma="true")
    test = world.draw("test", 11, 0, count)
    overrides = ["instrument.name=gaia_rvs", f"simulate.test={count}", "evaluate.snr_edges=[0.2, 2, 10]"]
    config = resolve("smoke", None, overrides).to_dict()
    run = RunFolder.create(tmp_path_factory.mktemp("runs"), "leaky", config)
    names = np.array(world.prior.label_space.names)
    run.write_arrays("test", label_names=names, labels=test.labels, snr=test.snr, mag=test.conditions["mag"])

    honest = Ridge(["log_g"]).fit(world.source("train", 11, 1500), world.source("validation", 11, 300))
    store_prediction(run, "ridge", honest.predict(test.flux, test.sigma))
    alphas = tuple(float(alpha) for alpha in 10.0 ** np.arange(-8, 3))
    sources = [leaky_source(leaky, split, size) for split, size in (("train", 1500), ("validation", 300))]
    seen = leaky_source(leaky, "test", count).batch
    leak = Ridge(["log_g"], alphas=alphas).fit(*sources)
    found = leak.predict(seen.flux, seen.sigma)
    # One star in a hundred is thrown far out of the label box, which would hide how much is known.
    store_prediction(run, "leak", replace(found, mean=found.mean.clamp(1.0, 5.0)))

    def quiet(done, total):
        pass

    bounds = crlb_ceiling(world, world.world.emulator(), test, "log_g", quiet)
    exact, quality = bayes_ceiling(world, test, "log_g", 11, quiet)
    assert quality["converged"] == count
    assert quality["ceiling_converged"]
    assert 0 < quality["sampler_error"] < 0.003
    with run.stage("bayes") as record:
        record |= quality
    run.write_arrays("ceiling", **bounds, **exact)
    run.write_arrays("predictions_posterior", names=["log_g"], mean=exact["bayes_mean"][:, None])
    variance = world.prior.variance("log_g")
    summary = summarise(run, config, ["ridge", "leak", "posterior"], "log_g", "dex", variance)
    run.write_summary(summary.model_dump())
    run.finish()
    return run


def test_ridge_on_the_true_sigma_is_flagged_and_honest_estimators_are_not(leaky_run):
    models = leaky_run.summary["models"]
    assert {name: model["above_ceiling"] for name, model in models.items()} == {
        "ridge": False,
        "leak": True,
        "posterior": False,
    }
    assert models["leak"]["overall"]["headroom"]["high"] < -0.05


def test_a_ceiling_that_has_not_converged_is_marked_on_the_terminal(leaky_run, capsys):
    from rich.console import Console

    summary = leaky_run.summary
    assert summary["ceiling"]["converged"] is True
    assert summary["ceiling"]["sampler_error"] == leaky_run.stages["bayes"]["sampler_error"]
    assert {"efficiency", "efficiency_crlb"} <= summary["models"]["ridge"]["overall"].keys()
    print_scores(Console(width=200), summary)
    assert "not converged" not in capsys.readouterr().out
    print_scores(Console(width=200), {**summary, "ceiling": {**summary["ceiling"], "converged": False}})
    assert "Bayes ceiling, not converged" in capsys.readouterr().out


def test_the_leak_is_said_in_the_report_and_on_the_terminal(leaky_run, capsys):
    from rich.console import Console

    text = write_report(leaky_run.path).read_text()
    assert text.index('role="alert"') < text.index("leak is above the Bayes ceiling: leakage or a bug")
    assert "leakage or a bug" in (leaky_run.path / "tables" / "models.csv").read_text()
    print_scores(Console(width=200), leaky_run.summary)
    printed = capsys.readouterr().out
    assert "leak is above the Bayes ceiling, by 0." in printed
    assert printed.count("leakage or a bug") == 1
