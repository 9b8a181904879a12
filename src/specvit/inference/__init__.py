"""Estimators that fit the simulated world itself: the best template, and the mean of the posterior."""

from specvit.inference.estimator import TemplateFit
from specvit.inference.posterior_mean import PosteriorMean

__all__ = ["PosteriorMean", "TemplateFit"]
