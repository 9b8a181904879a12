"""Surveys of seconds: a Gaia-like spectrograph of a thousand pixels, a few hundred stars."""

from specvit.jobs.config import resolve

SMALL = (
    "instrument.name=gaia_rvs",
    "simulate.train=400",
    "simulate.validation=120",
    "simulate.test=150",
    "models.options.lightgbm.rounds=20",
    "evaluate.bootstrap=50",
    "limits.bayes_stars=40",
    "run.threads=1",
)
BASELINES = 'models.names=["ridge", "lightgbm", "template"]'


def settings(folder, *more):
    return resolve("smoke", None, [*SMALL, BASELINES, f"run.folder={folder}", *more])
