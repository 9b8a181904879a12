"""What every mask of a fit costs: how much larger the errors of labels are with it than without, all others in place.

The errors are those of the Fisher matrix at the best fit (the Cramér-Rao bound), with velocity, line width, continuum
and the priors of the fit; so a mask over pixels that say little costs nothing, however wide it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from specvit.inference.errors import BOX_VARIANCE
from specvit.stellar.fit import StarFitter
from specvit.stellar.objective import StarArrays, StarObjective
from specvit.stellar.parameters import FittedSpectrum, StellarParameters
from specvit.stellar.pixels import FitPixels, fit_pixels, in_windows

Windows = tuple[tuple[float, float], ...]
#: What masks are weighed against.
LABELS = ("teff", "log_g", "m_h")


@dataclass(frozen=True)
class MaskCost:
    """The cost of one mask.

    Args:
        pixels: that it leaves out.
        angstroms: that these cover.
        ratio: label -> error with all masks over that with all but this one, >= 1.
    """

    pixels: int
    angstroms: float
    ratio: Mapping[str, float]


@torch.no_grad()
def mask_costs(
    fitter: StarFitter, star: StellarParameters, fitted: FittedSpectrum, windows: Mapping[str, Windows]
) -> dict[str, MaskCost]:
    """Return what masks cost a star, by their names; masks without a pixel are left out.

    Args:
        fitter: that fitted the star.
        star, fitted: what it found.
        windows: name of a mask -> its windows (Å in vacuum, the telescope's frame). The cores of the Ca II triplet,
            where the model error is large, are added as 'Ca II cores'.
    """
    bare = _unmasked(fitter, fitted)
    shown = np.isfinite(bare.sigma)
    masks = {name: in_windows(bare.wavelength, bare.spectrum, some) & shown for name, some in windows.items()}
    with_cores, without = (fitter.weight(bare, star.velocity, star.labels, cores) for cores in (True, False))
    cores = (with_cores < 0.999 * without) & shown
    weights = [_weight(with_cores, masks.values())]
    named: dict[str, np.ndarray] = {}
    for name, mask in masks.items():
        if mask.any():
            named[name] = mask
            others = [other for key, other in masks.items() if key != name]
            weights.append(_weight(with_cores, others))
    if cores.any():
        named["Ca II cores"] = cores
        weights.append(_weight(without, masks.values()))
    errors = _errors(fitter, star, bare, weights)
    width = np.gradient(bare.wavelength)
    names = list(star.labels)
    costs = {}
    for (name, mask), error in zip(named.items(), errors[1:], strict=True):
        ratio = {
            label: float(errors[0][names.index(label)] / error[names.index(label)])
            for label in LABELS
            if label in names
        }
        costs[name] = MaskCost(int(mask.sum()), float(width[mask].sum()), ratio)
    return costs


def _unmasked(fitter: StarFitter, fitted: FittedSpectrum) -> FitPixels:
    grid = fitter.emulator.grid
    return fit_pixels(
        fitted.spectrum, replace(fitter.settings, telluric=False, masks=()), grid.start, grid.stop
    )


def _weight(weight: np.ndarray, masks: Iterable[np.ndarray]) -> np.ndarray:
    """Return the weights, 0 in any of the masks."""
    left: np.ndarray = np.where(np.any([*masks, np.zeros(weight.size, bool)], axis=0), 0.0, weight)
    return left


def _errors(
    fitter: StarFitter, star: StellarParameters, bare: FitPixels, weights: list[np.ndarray]
) -> np.ndarray:
    """Return the errors of the labels for each choice of weights, shape (W, P)."""
    templates = fitter.templates(bare.resolution)
    count = len(weights)
    arrays = StarArrays.of([bare] * count, weights, templates, fitter.settings)
    objective = StarObjective(arrays, templates, fitter.settings)
    values = torch.tensor([[*star.labels.values(), star.velocity, np.log(star.width)]], dtype=torch.float64)
    found = objective.at(torch.arange(count), values.repeat(count, 1))
    space = fitter.emulator.label_space
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (space.low, space.high))
    size = torch.cat([high - low, torch.tensor([2 * fitter.settings.velocity, 1.0], dtype=torch.float64)])
    scaled = found.curvature.double() * size[:, None] * size
    # As in the fit: a label of which nothing is known lies in its box.
    scaled = scaled + torch.eye(len(size)).to(scaled) / BOX_VARIANCE
    errors: np.ndarray = torch.linalg.inv(scaled).diagonal(dim1=-2, dim2=-1)[:, : len(space)].sqrt().numpy()
    return errors
