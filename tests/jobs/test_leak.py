"""The warning of a leak on the simulated world itself: Ridge on the true sigma against the exact posterior."""

from dataclasses import asdict, replace

import pytest
import torch

from own_estimators import own_choice
from specvit.cli.scores import print_scores
from specvit.estimators import choose
from specvit.jobs import Quiet
from specvit.jobs.sources import simulated
from specvit.jobs.stages import (
    BoundStars,
    DrawTestStars,
    FitRecord,
    Fitted,
    SamplePosteriors,
    ScoreAll,
    Scoring,
)
from specvit.jobs.stages.fit import to_estimates
from specvit.jobs.work import Work
from specvit.models import Ridge
from specvit.report import load_contents
from specvit.report.meanings import leak_warnings
from specvit.runs import Estimates, RunFolder, read_summary
from specvit.simulate import Simulator
from specvit.spectra import MemorySource, SpectraBatch

COUNT, SEED = 100, 11


def leaky_source(simulator, split, count):
    """Spectra whose 'flux' is the logarithm of the true sigma, without its level."""
    batch = simulator.draw(split, SEED, 0, count)
    shape = batch.sigma.double().log()
    shape = (shape - shape.mean(dim=1, keepdim=True)).float()
    seen = SpectraBatch(shape, torch.full_like(shape, 0.01), batch.labels, batch.conditions, batch.snr)
    return MemorySource(seen, simulator.grid, simulator.prior.label_space)


def leaking_estimates(simulator):
    alphas = tuple(10.0**power for power in range(-8, 3))
    sources = [leaky_source(simulator, split, size) for split, size in (("train", 1500), ("validation", 300))]
    seen = leaky_source(simulator, "test", COUNT).batch
    found = Ridge(["log_g"], alphas=alphas).fit(*sources).predict(seen.flux, seen.sigma)
    # One star in a hundred is thrown far out of the label box, which would hide how much is known.
    return to_estimates(replace(found, mean=found.mean.clamp(1.0, 5.0)))


@pytest.fixture(scope="module")
def leaky_run(tmp_path_factory):
    """A small world of faint stars: Ridge on the flux, Ridge on the true sigma, and the posterior mean."""
    options = {"instrument": "gaia_rvs", "noise_level": 20.0}
    world, leaky = Simulator.build(**options), Simulator.build(**options, visible_sigma="true")
    run = RunFolder.create(tmp_path_factory.mktemp("runs"), "leaky", {"config_version": 1})
    work, sources = Work(run, Quiet()), simulated(world, SEED, 1500, 300, COUNT)
    test = work.do(DrawTestStars(sources.test))
    bounds = work.do(BoundStars(world, world.world.emulator(), test, COUNT, "log_g"))
    sampling = work.do(SamplePosteriors(world, test, COUNT, SEED))
    assert sampling.posteriors.converged.all()
    assert sampling.ceiling_converged["log_g"]
    assert 0 < sampling.sampler_error["log_g"] < 0.003

    honest = Ridge(["log_g"]).fit(sources.train, sources.validation)
    best = sampling.posteriors.of("mean", "log_g")[:, None]
    estimates = {
        choose("ridge"): to_estimates(honest.predict(test.batch.flux, test.batch.sigma)),
        own_choice("leak"): leaking_estimates(leaky),
        choose("posterior"): Estimates(["log_g"], best),
    }
    fitted = [Fitted(choice, found, FitRecord(1.0, 0.1)) for choice, found in estimates.items()]
    for one in fitted:
        with run.stage(one.choice.key) as record:
            one.estimates.write(run, one.choice.key)
            record |= asdict(one.record)
    names = world.prior.label_space.names
    scores = ScoreAll(
        job="survey",
        target="log_g",
        test=test,
        fitted=fitted,
        scoring=Scoring((0.2, 2.0, 10.0), {}, 200, SEED),
        variances={name: world.prior.variance(name) for name in names},
        setting={},
        counts=sources.counts,
        bounds=bounds,
        sampling=sampling,
    )
    work.do(scores)
    run.finish()
    return run


def test_ridge_on_the_true_sigma_is_flagged_and_honest_estimators_are_not(leaky_run):
    summary = read_summary(leaky_run)
    above = {name: facts.above_ceiling["log_g"] for name, facts in summary.estimators.items()}
    assert above == {"ridge": False, "leak": True, "posterior": False}
    assert summary.score("leak", "headroom").high < -0.05


def test_a_ceiling_that_has_not_converged_is_marked_on_the_terminal(leaky_run, capsys):
    from rich.console import Console

    summary = read_summary(leaky_run)
    assert summary.ceiling.ceiling_converged is True
    assert summary.ceiling.sampler_error == leaky_run.stages["bayes"]["sampler_error"]["log_g"]
    assert None not in (summary.score("ridge", "efficiency"), summary.score("ridge", "efficiency_crlb"))
    print_scores(Console(width=200), summary)
    assert "not converged" not in capsys.readouterr().out
    doubtful = summary.ceiling.model_copy(update={"ceiling_converged": False})
    print_scores(Console(width=200), summary.model_copy(update={"ceilings": {"log_g": doubtful}}))
    assert "Bayes ceiling, not converged" in capsys.readouterr().out


def test_the_leak_is_said_in_the_report_and_on_the_terminal(leaky_run, capsys):
    from rich.console import Console

    (warning,) = leak_warnings(load_contents(leaky_run.path))
    assert warning.startswith("leak is above the Bayes ceiling: leakage or a bug")
    print_scores(Console(width=200), read_summary(leaky_run))
    printed = capsys.readouterr().out
    assert "leak is above the Bayes ceiling, by 0." in printed
    assert printed.count("leakage or a bug") == 1
