"""What every estimator does with flux and sigma before it looks at a spectrum, and before it lets an answer go.

Owns conversion, refusals and the division by the level; `models.usable` owns the rule for pixels. Fits nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specvit.errors import DataError, LabelError, ShapeError
from specvit.models.prediction import Diagnostics, Prediction
from specvit.models.usable import is_whole, plausible_pixels, spectrum_level
from specvit.spectra import LabelSpace, SpectraBatch

#: Called while fitting with (done, total, text for a human).
Progress = Callable[[int, int, str], None]

#: What `predict` takes for flux and sigma: tensors, arrays, nested lists; of real numbers.
Values = Tensor | np.ndarray | Sequence[Any]

#: A spectrum with fewer usable pixels than this share is refused: its estimate would be the prior, dressed
#: up.
MINIMUM_USABLE = 0.1


@dataclass(frozen=True)
class RelativeSpectra:
    """B spectra relative to their level, in no unit; float64.

    Args:
        flux: shape (B, L), 0 on dead pixels.
        sigma: shape (B, L), `inf` on dead pixels.
        level: what both were divided by, shape (B,).
        usable_share: of the pixels that are not dead, shape (B,), on the CPU.
    """

    flux: Tensor
    sigma: Tensor
    level: Tensor
    usable_share: Tensor

    def __len__(self) -> int:
        return self.flux.shape[0]


def relative_spectra(flux: Values, sigma: Values, pixels: int, who: str, first: int = 0) -> RelativeSpectra:
    """Return what `as_spectra` and `relative` make of flux and sigma; see there for arguments and errors."""
    return relative(*as_spectra(flux, sigma, pixels, who), who, first)


def as_spectra(flux: Values, sigma: Values, pixels: int, who: str) -> tuple[Tensor, Tensor]:
    """Return flux and sigma as tensors of one float type on one device, without gradient.

    Args:
        flux, sigma: shape (B, pixels), whole numbers or floats of any size; masked values become NaN.
        pixels: L, what `who` expects.
        who: what an error names.

    Raises:
        DataError: for what is no array of real numbers.
        ShapeError: if the shapes differ from each other or from (B, pixels).
    """
    flux, sigma = _as_tensor(flux, who, "flux"), _as_tensor(sigma, who, "sigma")
    if flux.ndim != 2 or flux.shape != sigma.shape:
        mend = "; write flux[None] and sigma[None] for one spectrum" if flux.ndim == sigma.ndim == 1 else ""
        raise ShapeError(
            f"{who}: expected flux and sigma of one shape (spectra, {pixels}); "
            f"got {tuple(flux.shape)} and {tuple(sigma.shape)}{mend}"
        )
    if flux.shape[1] != pixels:
        raise ShapeError(
            f"{who}: made for {pixels} pixels, these spectra have {flux.shape[1]}; "
            "resample them to the model's grid"
        )
    kind = torch.promote_types(flux.dtype, sigma.dtype)
    return flux.to(kind), sigma.to(flux.device, kind)


def relative(flux: Tensor, sigma: Tensor, who: str, first: int = 0) -> RelativeSpectra:
    """Return spectra (B, L) relative to their level, dead pixels marked; see `Estimator` for the rules.

    Args:
        flux, sigma: float32 or float64, in any one unit per spectrum. In float64 they are divided before
            anything else, so that a unit of 1e-40 loses no digits.
        who: what an error names.
        first: number of the first spectrum, for errors.

    Raises:
        DataError: for a sigma that is zero or negative, or a spectrum with less than a tenth of its pixels
            usable; names the spectrum.
    """
    usable, share = None, torch.ones(len(flux), dtype=torch.float64)
    if not is_whole(flux, sigma):
        _refuse_sigma(sigma, who, first)
        usable = plausible_pixels(flux, sigma)
        share = (torch.count_nonzero(usable, dim=1).double() / usable.shape[1]).cpu()
        _refuse_unusable(share, who, first)
    level, _ = spectrum_level(flux, sigma, usable)
    level = level.double()
    flux, sigma = flux.double() / level, sigma.double() / level
    if usable is not None:
        flux, sigma = torch.where(usable, flux, 0.0), torch.where(usable, sigma, torch.inf)
    return RelativeSpectra(flux, sigma, level[:, 0], share)


def fill_dead(spectra: RelativeSpectra, fill: Tensor) -> Tensor:
    """Return flux with dead pixels replaced by `fill` (L,), float64: 'nothing known here'."""
    return torch.where(torch.isinf(spectra.sigma), fill.to(spectra.flux), spectra.flux)


def finished(
    prediction: Prediction, usable_share: Tensor, who: str, verdict: Diagnostics | None = None
) -> Prediction:
    """Return the prediction with `diagnostics.usable_share`, and with the verdict on its input.

    Args:
        prediction: what it says of its own fit stands.
        usable_share: shape (B,).
        who: what an error names.
        verdict: see `InputDomain.judge`; None where there is no domain to judge by.

    Raises:
        DataError: if a mean, error or quantile is not finite; names the spectrum.
    """
    quantiles = None if prediction.quantiles is None else prediction.quantiles.values
    for values in (prediction.mean, prediction.std, quantiles):
        if values is None:
            continue
        bad = ~torch.isfinite(values).flatten(1).all(dim=1)
        if bool(bad.any()):
            raise DataError(
                f"{who}: no finite estimate of spectrum {int(bad.int().argmax())} ({int(bad.sum())} such spectra); "
                "check that flux and sigma are in one unit, or leave it out"
            )
    known = {
        **(verdict or Diagnostics()).known(),
        **prediction.diagnostics.known(),
        "usable_share": usable_share,
    }
    if "chi2" in known:
        freedom = known["degrees_of_freedom"].double().clamp(min=1)
        known["p_value"] = torch.special.gammaincc(0.5 * freedom, 0.5 * known["chi2"].double())
    return replace(prediction, diagnostics=Diagnostics(**known))


def no_spectra(predict: Callable[[Tensor, Tensor], Prediction], pixels: int) -> Prediction:
    """Return the answer to an empty batch: no rows of what `predict` says of a featureless spectrum."""
    return predict(torch.ones(1, pixels), torch.ones(1, pixels))[:0]


def label_names(labels: Sequence[str], who: str) -> tuple[str, ...]:
    """Return the labels to estimate; LabelError for a string, whose letters would be taken for labels."""
    if isinstance(labels, str):
        raise LabelError(f'{who}: labels: expected names such as ["{labels}"], got the string "{labels}"')
    return tuple(labels)


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


def _as_tensor(values: Values, who: str, what: str) -> Tensor:
    if isinstance(values, Tensor):
        if values.is_complex() or values.dtype == torch.bool or values.layout != torch.strided:
            raise DataError(
                f"{who}: {what} is a tensor of {values.dtype}, expected a dense one of real numbers"
            )
        values = values.detach()
        # float64 holds every half float, and every count of a detector.
        return values if values.dtype in (torch.float32, torch.float64) else values.double()
    try:
        array: np.ndarray = np.ma.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{who}: {what} is no array of numbers: {' '.join(str(error).split())}") from None
    # Booleans, dates and objects would turn into numbers without complaint.
    if array.dtype.kind not in "iuf":
        raise DataError(f"{who}: {what} holds {array.dtype} values, expected real numbers")
    single = array.dtype.kind == "f" and array.dtype.itemsize == 4
    known = np.ma.filled(array.astype(np.float32 if single else np.float64), np.nan)
    # PyTorch takes no negative strides and warns of read-only memory: `astype` has copied.
    return torch.from_numpy(np.ascontiguousarray(known))


def _refuse_sigma(sigma: Tensor, who: str, first: int) -> None:
    # NaN passes: it marks a dead pixel.
    bad = sigma <= 0
    if bool(bad.any()):
        row, pixel = torch.nonzero(bad)[0].tolist()
        raise DataError(
            f"{who}: sigma is {float(sigma[row, pixel]):g} in spectrum {first + row}, pixel {pixel} "
            f"({int(bad.sum())} such values); expected positive values, inf for a dead pixel"
        )


def _refuse_unusable(share: Tensor, who: str, first: int) -> None:
    bad = share < MINIMUM_USABLE
    if bool(bad.any()):
        row = int(bad.int().argmax())
        raise DataError(
            f"{who}: spectrum {first + row} has {share[row]:.0%} usable pixels (finite flux and sigma, such as "
            f"a detector can give); at least {MINIMUM_USABLE:.0%} are needed: leave it out"
        )
