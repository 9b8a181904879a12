"""What every estimator promises. Estimators know arrays, grids and labels; never surveys or files of data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor

from specvit.spectra import SpectraSource


@dataclass(frozen=True)
class Prediction:
    """Estimated labels of B spectra.

    Args:
        mean: shape (B, P), in label units, float64 on the CPU.
        std: 1 σ errors, shape (B, P), or None for an estimator without errors.
        names: the P label names.
        extras: estimator-specific arrays by name (e.g. effective sample sizes).
    """

    mean: Tensor
    std: Tensor | None
    names: tuple[str, ...]
    extras: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Estimator(Protocol):
    """One interface for linear models, trees, networks and template fits."""

    name: str

    def fit(self, train: SpectraSource, validation: SpectraSource) -> Self:
        """Fit on `train`; every choice (α, stopping round, best step) is made on `validation`."""

    def predict(self, flux: Tensor, sigma: Tensor) -> Prediction:
        """Return estimates for flux and sigma of shape (B, L)."""

    def save(self, folder: Path) -> None:
        """Write safetensors and a manifest into `folder`, all or nothing."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an estimator back; DataError if the folder was changed or is incomplete."""
