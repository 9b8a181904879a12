"""The Bayes ceiling: posteriors of the labels under the exact likelihood of the simulated world."""

from specvit.limits.bayes.adaptation import SamplerSettings
from specvit.limits.bayes.calibrated import Calibration, calibration
from specvit.limits.bayes.ceiling import BayesCeiling
from specvit.limits.bayes.likelihood import log_likelihood
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.posterior import LEVELS, Posterior
from specvit.limits.bayes.r2 import SAMPLER_TOLERANCE, BayesR2, bayes_r2, bayes_r2_by_bin

__all__ = [
    "LEVELS",
    "SAMPLER_TOLERANCE",
    "BayesCeiling",
    "BayesR2",
    "Calibration",
    "Observation",
    "Posterior",
    "SamplerSettings",
    "bayes_r2",
    "bayes_r2_by_bin",
    "calibration",
    "log_likelihood",
]
