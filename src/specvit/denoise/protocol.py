"""What every denoiser promises. Denoisers know flux, visible sigma and pixels; never the star behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from specvit.denoise.denoised import DenoisedSpectra
from specvit.models.inputs import Progress, Values
from specvit.models.origin import Origin
from specvit.spectra import SpectraSource


@runtime_checkable
class Denoiser(Protocol):
    """One interface for the optimum, linear filters, networks and diffusion models."""

    origin: Origin
    #: Score -> value on held-out stars, filled in by whoever tested it; saved with it.
    metrics: dict[str, float]

    @property
    def name(self) -> str:
        """What it calls itself in messages and tables, e.g. "wiener-denoiser"."""

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that differ for what answers differently: of settings and weights."""

    def fit(self, train: SpectraSource, validation: SpectraSource, progress: Progress | None = None) -> Self:
        """Fit on `train`; every choice is made on `validation`, no star of which is in `train`.

        Raises:
            DataError: if noise-free flux is needed and the sources do not know it.
        """

    def denoise(
        self, flux: Values, sigma: Values, strength: float = 1.0, draws: int = 0, seed: int = 0
    ) -> DenoisedSpectra:
        """Return B spectra with less noise, on the device of the flux.

        What is a dead pixel, a level and a refusal is as for estimators (see `models.protocol.Estimator`). Dead
        pixels are filled. With strength s the answer is y + s (x̂ - y): at 0 exactly what came in. A residual denoiser is
        told s instead: it takes the spectrum for one with that share of the noise of sigma, and changes all of that.

        Args:
            flux, sigma: shape (B, L), in any one unit per spectrum; the sigma that a pipeline knows.
            strength: from 0 to 1; of a residual denoiser at most the share of the noise it was trained with.
            draws: samples wanted of each spectrum; those that state no distribution give none.
            seed: of the samples.

        Raises:
            ShapeError, DataError: as estimators.
            ConfigError: for a strength that is not from 0 to 1 or not trained for, or samples at a strength below 1.
        """

    def save(self, folder: Path) -> None:
        """Write tensors, manifest, fingerprint and card into `folder`, all or nothing."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a denoiser back; DataError if the folder was changed, is incomplete or answers otherwise."""
