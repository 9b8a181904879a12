"""What every denoiser does before and after its own work: refusals, levels, dead pixels, strength, pieces.

A denoiser is a function of spectra relative to their level (`Restore`); `restore_spectra` makes of it what
`Denoiser.denoise` promises. So that only the visible sigma can go in, a `Restore` is given nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from specvit.denoise.denoised import DenoisedSpectra
from specvit.errors import ConfigError, DataError
from specvit.models.inputs import RelativeSpectra, Values, as_spectra, relative
from specvit.models.prediction import Diagnostics

#: Spectra restored at once: enough to spread what is fixed per call, few enough for the cache of a core.
ROWS = 256


@dataclass(frozen=True)
class NoisySpectra:
    """Spectra as a `Restore` sees them, and what is wanted of it.

    Args:
        flux: relative to the level, shape (B, L), float32; 0 on dead pixels.
        sigma: of that flux, (B, L), float32; `inf` on dead pixels.
        strength: above 0, at most 1.
        draws: samples wanted of each spectrum.
        generator: of the samples, on the device of the flux.
    """

    flux: Tensor
    sigma: Tensor
    strength: float
    draws: int
    generator: torch.Generator


@dataclass(frozen=True)
class Restored:
    """What a `Restore` gives back, relative to the level; see `DenoisedSpectra` for the entries.

    `mean` is x̂ in y + s (x̂ - y), on dead pixels too.
    """

    mean: Tensor
    std: Tensor | None = None
    samples: Tensor | None = None
    diagnostics: Diagnostics = field(default_factory=Diagnostics)


#: A denoiser without what all of them share.
Restore = Callable[[NoisySpectra], Restored]


def restore_spectra(
    restore: Restore,
    who: str,
    pixels: int,
    flux: Values,
    sigma: Values,
    strength: float = 1.0,
    draws: int = 0,
    seed: int = 0,
    rows: int = ROWS,
) -> DenoisedSpectra:
    """Return what `Denoiser.denoise` promises, of a `Restore`.

    Args:
        restore: called with `rows` spectra at a time; not at all at strength 0.
        who: what errors name.
        pixels: L.
        flux, sigma, strength, draws, seed: see `Denoiser.denoise`.
        rows: spectra restored at once.

    Raises:
        ShapeError, DataError, ConfigError: see `Denoiser.denoise`; DataError also for an answer that is not finite.
    """
    strength, draws = _checked(strength, draws, who)
    flux, sigma = as_spectra(flux, sigma, pixels, who)
    if not len(flux):
        return DenoisedSpectra(flux.clone())
    generator = torch.Generator(flux.device).manual_seed(seed)
    parts = []
    for first in range(0, len(flux), rows):
        some = flux[first : first + rows]
        spectra = relative(some, sigma[first : first + rows], who, first)
        share = Diagnostics(usable_share=spectra.usable_share)
        if strength == 0:
            parts.append(DenoisedSpectra(some, diagnostics=share))
            continue
        noisy = NoisySpectra(spectra.flux.float(), spectra.sigma.float(), strength, draws, generator)
        with torch.no_grad():
            found = restore(noisy)
        _refuse_bad(found, who, first)
        parts.append(_in_unit(found, some, spectra, strength))
    return DenoisedSpectra.concatenate(parts)


def _checked(strength: float, draws: int, who: str) -> tuple[float, int]:
    if (
        not isinstance(strength, Real | Tensor | np.ndarray)
        or np.size(strength) != 1
        or not 0 <= strength <= 1
    ):
        raise ConfigError(f"{who}: strength: expected a number from 0 to 1, got {strength!r}")
    if not isinstance(draws, Real) or draws != int(draws):
        raise ConfigError(f"{who}: draws: expected a whole number, got {draws!r}")
    if draws < 0 or (draws and strength < 1):
        raise ConfigError(
            f"{who}: draws: {draws} samples at strength {strength:g}; a posterior is sampled at strength 1"
        )
    return float(strength), int(draws)


def _in_unit(found: Restored, flux: Tensor, spectra: RelativeSpectra, strength: float) -> DenoisedSpectra:
    """Return what was found in the unit and type of the flux (B, L) that came in."""
    level, kind = spectra.level[:, None], flux.dtype
    # The observed flux itself, not what is left of it after a division: small strengths change little, exactly.
    moved = flux.double() + strength * level * (found.mean.double() - spectra.flux)
    mean = torch.where(torch.isfinite(spectra.sigma), moved, level * found.mean)
    std = None if found.std is None or strength < 1 else (level * found.std).to(kind)
    samples = None if found.samples is None else (level[:, None] * found.samples).to(kind)
    told = replace(found.diagnostics, usable_share=spectra.usable_share)
    return DenoisedSpectra(mean.to(kind), std, samples, told)


def _refuse_bad(found: Restored, who: str, first: int) -> None:
    bad = ~torch.isfinite(found.mean).all(dim=1)
    if bool(bad.any()):
        raise DataError(
            f"{who}: no finite answer for spectrum {first + int(bad.int().argmax())} ({int(bad.sum())} such "
            "spectra); check that flux and sigma are in one unit, or leave it out"
        )
