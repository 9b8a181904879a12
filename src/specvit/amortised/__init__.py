"""Stellar parameters of many spectra of one spectrograph: a network trained for it, where it agrees with the fit.

The fit (`specvit.stellar`) takes a tenth of a second per star, a network less than a thousandth. It is trained on
spectra as the spectrograph would give them of the library's stars, with what real spectra have beside: velocities, other
line widths, curves, dead pixels, model errors.
"""

from specvit.amortised.agreement import Agreement
from specvit.amortised.fitter import AmortisedFitter
from specvit.amortised.judging import DomainStore, JudgedFitter
from specvit.amortised.networks import NetworkStore, SetupNetwork, TrainingPlan
from specvit.amortised.nuisances import Nuisances
from specvit.amortised.setup import Setup

__all__ = [
    "Agreement",
    "AmortisedFitter",
    "DomainStore",
    "JudgedFitter",
    "NetworkStore",
    "Nuisances",
    "Setup",
    "SetupNetwork",
    "TrainingPlan",
]
