"""What jobs say of spectra outside the domain of an estimator."""

import pytest

from specvit.jobs import run_survey
from specvit.jobs.config import resolve
from specvit.jobs.watch import Quiet
from specvit.runs import read_summary

QUICK = (
    *(
        'models.names=["subspace", "ridge"]',
        "simulate.train=300",
        "simulate.validation=200",
        "simulate.test=100",
    ),
    *("limits.bayes_stars=0", "limits.ceiling_stars=3", "evaluate.bootstrap=20", "evaluate.explain_stars=0"),
    "run.threads=1",
)


class Told(Quiet):
    """Keeps what a user is told."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.mark.parametrize(("noise_level", "warned"), [(1.0, False), (0.005, True)])
def test_a_job_warns_of_spectra_unlike_the_training(tmp_path, noise_level, warned):
    """In the survey's own world nothing is said; without noise the network is told off, what is fitted there is not."""
    told = Told()
    config = resolve("smoke", None, [*QUICK, f"run.folder={tmp_path}", f"simulate.noise_level={noise_level}"])
    run = run_survey(config, told)
    warnings = [line for line in told.lines if "outside the domain" in line]
    assert bool(warnings) == warned
    assert all("its noise is outside the range" in line and "Subspace" in line for line in warnings)
    facts = {name: one.facts for name, one in read_summary(run).estimators.items()}
    flagged = {name: float(fact["flagged as outside its domain"].rstrip("%")) for name, fact in facts.items()}
    assert flagged["ridge"] <= 8
    assert (flagged["subspace"] > 90) == warned
