"""The Bayes ceiling: posteriors of the labels under the exact likelihood of the simulated world."""

from specvit.limits.bayes.adaptation import SamplerSettings
from specvit.limits.bayes.ceiling import BayesCeiling
from specvit.limits.bayes.likelihood import log_likelihood
from specvit.limits.bayes.observation import Observation
from specvit.limits.bayes.posterior import LEVELS, Posterior
from specvit.limits.bayes.r2 import SAMPLER_TOLERANCE, BayesR2, bayes_r2, bayes_r2_by_bin
from specvit.limits.bayes.spectra import SpectrumPosterior, posterior_spectra
from specvit.limits.bayes.widths import PosteriorWidths, posterior_widths

__all__ = [
    "LEVELS",
    "SAMPLER_TOLERANCE",
    "BayesCeiling",
    "BayesR2",
    "Observation",
    "Posterior",
    "PosteriorWidths",
    "SamplerSettings",
    "SpectrumPosterior",
    "bayes_r2",
    "bayes_r2_by_bin",
    "log_likelihood",
    "posterior_spectra",
    "posterior_widths",
]
