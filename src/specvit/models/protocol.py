"""What every estimator promises. Estimators know arrays, grids and labels; never surveys or files of data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from torch import Tensor

from specvit.models.inputs import Progress, Values
from specvit.models.prediction import Prediction
from specvit.spectra import SpectraSource


@runtime_checkable
class Estimator(Protocol):
    """One interface for linear models, trees, networks and template fits."""

    @property
    def name(self) -> str:
        """What it calls itself in messages."""

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Fit on `train`; every choice (α, stopping round, best step) is made on `validation`.

        Args:
            train, validation: spectra with known labels, no star of which is in both.
            progress: told how far the fit is.
        """

    def predict(self, flux: Values, sigma: Values) -> Prediction:
        """Return estimates for B spectra on the L pixels of the training set.

        One rule for all estimators (`models.inputs`, `models.usable`):

        - Flux and sigma come in any one unit, which may differ between spectra: each is divided by its level, the
          median flux of its usable pixels, but at least 0.05 of the median sigma. Sky-dominated spectra whose
          median is zero or negative so have a level too, and the errors of the noisiest spectra.
        - A dead pixel carries no information: sigma is `inf`, flux or sigma is NaN, flux is infinite, or no
          detector can give it (|flux| or sigma beyond a million times the larger of the medians of |flux| and
          sigma, or sigma below a millionth of its median). Cosmic rays and emission stay.
        - `diagnostics.usable_share` says which share of the pixels was left.

        Args:
            flux, sigma: shape (B, L); tensors on any device, arrays or lists of real numbers. B may be 0.

        Raises:
            ShapeError: if the shapes differ from each other or from (B, L).
            DataError: for a sigma that is zero or negative, a spectrum with less than a tenth of its pixels usable,
                one whose estimate is not finite, or what is no array of real numbers; names the spectrum.
        """

    def save(self, folder: Path) -> None:
        """Write safetensors and a manifest into `folder`, all or nothing."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed or is incomplete."""


@runtime_checkable
class Informed(Protocol):
    """What an estimator offers besides that can be told the true labels: a measure of what they are worth."""

    @property
    def is_informed(self) -> bool:
        """Whether it has to be told; then it estimates no star of which nothing is known."""

    def predict_knowing(self, flux: Values, sigma: Values, labels: Mapping[str, Tensor]) -> Prediction:
        """Return estimates for B spectra whose labels, name -> (B,), are known."""
