"""specvit: how well can stellar parameters be measured from this spectrum, and what is the best estimate?

Importing the package costs nothing: a name, or a sub-package (`specvit.simulate`, `specvit.models`, ...), loads
torch when it is first asked for. Here are the names most work needs; the rest of what outsiders may use is in the
sub-packages. Modules below them may be reorganised freely.
"""

import importlib
from typing import TYPE_CHECKING, Any

# Type checkers read these lines, Python reads `_HOMES`; a test holds the two together.
if TYPE_CHECKING:
    from specvit import amortised as amortised
    from specvit import denoise as denoise
    from specvit import errors as errors
    from specvit import estimators as estimators
    from specvit import evaluate as evaluate
    from specvit import explain as explain
    from specvit import hub as hub
    from specvit import inference as inference
    from specvit import instrument as instrument
    from specvit import jobs as jobs
    from specvit import library as library
    from specvit import limits as limits
    from specvit import models as models
    from specvit import observed as observed
    from specvit import paper as paper
    from specvit import report as report
    from specvit import represent as represent
    from specvit import runs as runs
    from specvit import simulate as simulate
    from specvit import spectra as spectra
    from specvit import starlist as starlist
    from specvit import stellar as stellar
    from specvit import studies as studies
    from specvit import training as training
    from specvit.errors import ConfigError as ConfigError
    from specvit.errors import DataError as DataError
    from specvit.errors import DomainError as DomainError
    from specvit.errors import LabelError as LabelError
    from specvit.errors import MissingExtra as MissingExtra
    from specvit.errors import RunError as RunError
    from specvit.errors import ShapeError as ShapeError
    from specvit.errors import SpecvitError as SpecvitError
    from specvit.errors import WavelengthRangeError as WavelengthRangeError
    from specvit.estimators import NetworkEstimator as NetworkEstimator
    from specvit.estimators import load_estimator as load_estimator
    from specvit.estimators import load_pretrained as load_pretrained
    from specvit.estimators import make_estimator as make_estimator
    from specvit.estimators import pretrained_names as pretrained_names
    from specvit.evaluate import bootstrap as bootstrap
    from specvit.evaluate import mae as mae
    from specvit.evaluate import paired_difference as paired_difference
    from specvit.evaluate import r2 as r2
    from specvit.evaluate import rmse as rmse
    from specvit.inference import PosteriorMean as PosteriorMean
    from specvit.inference import TemplateFit as TemplateFit
    from specvit.instrument import Instrument as Instrument
    from specvit.instrument import instrument_names as instrument_names
    from specvit.jobs import run_survey as run_survey
    from specvit.jobs import run_training as run_training
    from specvit.library import Emulator as Emulator
    from specvit.library import FitSettings as FitSettings
    from specvit.library import SyntheticLibrary as SyntheticLibrary
    from specvit.library import fit_emulator as fit_emulator
    from specvit.library import load_builtin as load_builtin
    from specvit.limits import BayesCeiling as BayesCeiling
    from specvit.limits import Forecaster as Forecaster
    from specvit.limits import FreeParameters as FreeParameters
    from specvit.limits import Observation as Observation
    from specvit.limits import bayes_r2 as bayes_r2
    from specvit.models import PLS as PLS
    from specvit.models import Estimator as Estimator
    from specvit.models import LightGBM as LightGBM
    from specvit.models import PCARidge as PCARidge
    from specvit.models import Prediction as Prediction
    from specvit.models import Ridge as Ridge
    from specvit.observed import ObservedSpectrum as ObservedSpectrum
    from specvit.observed import ReadOptions as ReadOptions
    from specvit.observed import read_spectra as read_spectra
    from specvit.report import write_report as write_report
    from specvit.runs import RunFolder as RunFolder
    from specvit.simulate import LatticePrior as LatticePrior
    from specvit.simulate import ReferenceShards as ReferenceShards
    from specvit.simulate import Simulator as Simulator
    from specvit.simulate import StoredSpectra as StoredSpectra
    from specvit.simulate import UniformPrior as UniformPrior
    from specvit.simulate import World as World
    from specvit.simulate import WriteJob as WriteJob
    from specvit.spectra import LabelSpace as LabelSpace
    from specvit.spectra import MemorySource as MemorySource
    from specvit.spectra import SpectraBatch as SpectraBatch
    from specvit.spectra import SpectraSource as SpectraSource
    from specvit.spectra import Truth as Truth
    from specvit.spectra import WavelengthGrid as WavelengthGrid
    from specvit.stellar import StarFitSettings as StarFitSettings
    from specvit.stellar import StarFitter as StarFitter
    from specvit.stellar import StellarParameters as StellarParameters
    from specvit.training import Recipe as Recipe
    from specvit.training import Trainer as Trainer

__version__ = "0.1.0"

#: Sub-package (or module) -> the names it lends to `specvit` itself.
_HOMES = {
    "spectra": ("LabelSpace", "MemorySource", "SpectraBatch", "SpectraSource", "Truth", "WavelengthGrid"),
    "observed": ("ObservedSpectrum", "ReadOptions", "read_spectra"),
    "library": ("Emulator", "FitSettings", "SyntheticLibrary", "fit_emulator", "load_builtin"),
    "instrument": ("Instrument", "instrument_names"),
    "simulate": (
        *("LatticePrior", "ReferenceShards", "Simulator", "StoredSpectra"),
        *("UniformPrior", "World", "WriteJob"),
    ),
    "limits": ("BayesCeiling", "Forecaster", "FreeParameters", "Observation", "bayes_r2"),
    "models": ("PLS", "Estimator", "LightGBM", "PCARidge", "Prediction", "Ridge"),
    "inference": ("PosteriorMean", "TemplateFit"),
    "training": ("Recipe", "Trainer"),
    "estimators": (
        *("NetworkEstimator", "load_estimator", "load_pretrained"),
        *("make_estimator", "pretrained_names"),
    ),
    "stellar": ("StarFitSettings", "StarFitter", "StellarParameters"),
    "amortised": (),
    "starlist": (),
    "denoise": (),
    "represent": (),
    "explain": (),
    "evaluate": ("bootstrap", "mae", "paired_difference", "r2", "rmse"),
    "runs": ("RunFolder",),
    "jobs": ("run_survey", "run_training"),
    "studies": (),
    "report": ("write_report",),
    "hub": (),
    "paper": (),
    "errors": (
        *("ConfigError", "DataError", "DomainError", "LabelError", "MissingExtra"),
        *("RunError", "ShapeError", "SpecvitError", "WavelengthRangeError"),
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


# Hidden from type checkers, which would take every misspelt name for one that exists.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import `name`, or the sub-package of that name, when it is first used (PEP 562)."""
        if name in _HOMES:
            return importlib.import_module(f"specvit.{name}")
        if name not in _HOME_OF:
            raise AttributeError(
                f"module 'specvit' has no attribute '{name}'; dir(specvit) lists what it has"
            )
        value = getattr(importlib.import_module(f"specvit.{_HOME_OF[name]}"), name)
        globals()[name] = value  # the next use does not come here
        return value


def __dir__() -> list[str]:
    """Return all public names, whether loaded or not."""
    return sorted({*globals(), *__all__, *_HOMES})
