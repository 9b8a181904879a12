"""Stellar parameters of observed spectra: the posterior of templates, with the nuisances that real spectra have.

Labels, velocity, line width and a free continuum are fitted to each spectrum; what makes an answer doubtful is a flag.
Reads no files (`specvit.observed` does) and prints nothing.
"""

from specvit.stellar.example import write_example
from specvit.stellar.fit import StarFitter
from specvit.stellar.flags import FLAGS
from specvit.stellar.model_error import ModelError, load_model_error
from specvit.stellar.parameters import FittedSpectrum, Minimum, Refusal, StellarParameters
from specvit.stellar.settings import StarFitSettings

__all__ = [
    "FLAGS",
    "FittedSpectrum",
    "Minimum",
    "ModelError",
    "Refusal",
    "StarFitSettings",
    "StarFitter",
    "StellarParameters",
    "load_model_error",
    "write_example",
]
