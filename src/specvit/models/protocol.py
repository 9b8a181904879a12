"""What every estimator promises. Estimators know arrays, grids and labels; never surveys or files of data."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from torch import Tensor

from specvit.models.inputs import Progress
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

    def predict(self, flux: Tensor, sigma: Tensor) -> Prediction:
        """Return estimates for flux and sigma of shape (B, L)."""

    def save(self, folder: Path) -> None:
        """Write safetensors and a manifest into `folder`, all or nothing."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed or is incomplete."""
