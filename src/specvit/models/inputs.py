"""What every estimator checks before it looks at a spectrum. Owns refusals and dead pixels; fits nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from specvit.errors import DataError, LabelError, ShapeError
from specvit.spectra import LabelSpace, SpectraBatch

#: Called while fitting with (done, total, text for a human).
Progress = Callable[[int, int, str], None]


def check_spectra(flux: Tensor, sigma: Tensor, pixels: int, who: str) -> None:
    """Raise unless flux and sigma are (B, pixels), sigma is positive and live pixels have finite flux.

    A dead pixel is one with `sigma = inf`; its flux may be anything, NaN included.

    Raises:
        ShapeError: if the shapes differ from each other or from what the model was made for.
        DataError: if sigma is NaN, zero or negative, or the flux of a live pixel is not finite.
    """
    if flux.ndim != 2 or flux.shape != sigma.shape:
        raise ShapeError(
            f"{who}: expected flux and sigma of one shape (spectra, pixels); "
            f"got {tuple(flux.shape)} and {tuple(sigma.shape)}"
        )
    if flux.shape[1] != pixels:
        raise ShapeError(
            f"{who}: was fitted on {pixels} pixels, these spectra have {flux.shape[1]}; "
            "resample them to the model's grid"
        )
    _refuse(~(sigma > 0), sigma, who, "sigma", "positive values (inf for a dead pixel)")
    _refuse(~torch.isfinite(flux) & torch.isfinite(sigma), flux, who, "flux", "finite values on live pixels")


def fill_dead(flux: Tensor, sigma: Tensor, fill: Tensor) -> Tensor:
    """Return flux with dead pixels (`sigma = inf`) replaced by `fill` (L,): 'nothing known here'."""
    return torch.where(torch.isinf(sigma), fill.to(flux), flux)


def labels_of(batch: SpectraBatch, space: LabelSpace, names: Sequence[str], who: str) -> Tensor:
    """Return the chosen labels of a batch, shape (B, len(names)), float64.

    Raises:
        LabelError: if there are no labels, a name is unknown, or a value is NaN or infinite; estimators do
            not impute labels.
    """
    chosen = batch.known_labels()[:, [space.index(name) for name in names]].to(torch.float64)
    bad = ~torch.isfinite(chosen)
    if bad.any():
        row, column = torch.nonzero(bad)[0].tolist()
        raise LabelError(
            f"{who}: label {names[column]} is not finite in row {row} of a batch; "
            "drop the spectra without it, or fit other labels"
        )
    return chosen


def _refuse(bad: Tensor, values: Tensor, who: str, what: str, expected: str) -> None:
    if bad.any():
        row, pixel = torch.nonzero(bad)[0].tolist()
        raise DataError(
            f"{who}: {what} is {float(values[row, pixel]):g} in spectrum {row}, pixel {pixel} "
            f"({int(bad.sum())} such values); expected {expected}"
        )
