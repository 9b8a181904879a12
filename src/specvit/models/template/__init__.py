"""The classical estimators on the emulator: the best template, and the mean of the posterior."""

from specvit.models.template.estimator import TemplateFit
from specvit.models.template.posterior_mean import PosteriorMean

__all__ = ["PosteriorMean", "TemplateFit"]
