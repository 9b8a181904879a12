"""Which pixels of a spectrum an estimator sees, and in which form: options that all trainable estimators share.

A view acts between the division by the level (`usable`) and anything that is learnt. What it hides becomes a dead pixel,
which has no influence on any estimator; for a linear model or trees that is the choice of columns. Fits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from specvit.errors import ConfigError
from specvit.models.continuum import between, polynomial, running_median, spline
from specvit.models.inputs import RelativeSpectra
from specvit.spectra import WavelengthGrid

#: Gravity-sensitive features between 7100 and 8850 Å: name -> (vacuum wavelength, half width), Å.
GRAVITY_WINDOWS = {
    "Na I 8185": (8185.51, 8.0),
    "Na I 8197": (8197.08, 8.0),
    "Ca II 8500": (8500.36, 10.0),
    "Ca II 8544": (8544.44, 12.0),
    "Ca II 8665": (8664.52, 12.0),
    "Mg I 8809": (8809.18, 5.0),
}

#: Forms with a number -> the least and the largest it can be.
NUMBERED = {
    "polynomial": (1, 15),
    "spline": (2, 100),
    "running-median": (3, 4001),
    "chunk": (2, 10_000),
    "overlapping-chunk": (2, 10_000),
}
PLAIN = ("", "whitened", "sigma")

#: Smallest deviation of a chunk, relative to the level: the rounding of a flat stretch is not blown up.
LEAST_DEVIATION = 1e-3

#: Half width, Å, of the windows of `peaks-K`.
PEAK_HALF_WIDTH = 10.0

#: From a name of `View.seen` that asks for it and a grid to the Fisher information density, shape (L,).
Density = Callable[[WavelengthGrid], Tensor]


class Viewed(NamedTuple):
    """B spectra as they are seen, each (B, L).

    usable: False on dead and on hidden pixels.
    flux: 0 where not usable.
    sigma: of that flux, 1 where not usable.
    offset, divisor: flux seen = (relative flux - offset) / divisor.
    """

    usable: Tensor
    flux: Tensor
    sigma: Tensor
    offset: Tensor
    divisor: Tensor


@dataclass(frozen=True)
class View:
    """What is done to a spectrum that is relative to its level.

    Args:
        form: "" leaves it. `polynomial-ORDER`, `spline-INTERVALS` and `running-median-PIXELS` divide by a
            continuum, see `continuum`. `chunk-PIXELS` brings stretches to zero mean and unit deviation,
            `overlapping-chunk-PIXELS` with mean and deviation of windows that overlap by half, joined by straight
            lines. `whitened` divides by sigma. `sigma` shows sigma in place of the flux: what noise alone says.
        seen: "" shows all pixels; `gravity` those in `GRAVITY_WINDOWS`; `fisher-K` the K pixels with the highest
            Fisher information density, `peaks-K` windows of 10 Å to both sides of its K highest peaks.
        noisiest: share of the pixels of each spectrum, those with the largest sigma, that are not seen.

    Raises:
        ConfigError: for what cannot be meant.
    """

    form: str = ""
    seen: str = ""
    noisiest: float = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        if self.form not in PLAIN:
            kind, number = _named_number(self.form)
            if kind not in NUMBERED:
                known = ", ".join([*PLAIN[1:], *(f"{name}-N" for name in NUMBERED)])
                raise ConfigError(f"view: '{self.form}' is not known; choose {known}")
            low, high = NUMBERED[kind]
            if not low <= number <= high:
                raise ConfigError(f"view: expected {kind}-{low} to {kind}-{high}, got '{self.form}'")
        if self.seen not in ("", "gravity"):
            kind, number = _named_number(self.seen)
            if kind not in ("fisher", "peaks") or number < 1:
                raise ConfigError(f"seen: '{self.seen}' is not known; choose gravity, fisher-K, peaks-K")
        if not 0 <= self.noisiest <= 0.9:
            raise ConfigError(f"noisiest: expected a share of 0 to 0.9, got {self.noisiest}")

    @property
    def is_plain(self) -> bool:
        """Whether it leaves spectra as they are."""
        return self == View()

    @property
    def keeps_level(self) -> bool:
        """Whether noise-free spectra still differ from a mean spectrum along few directions about a level."""
        return self.form in ("", "whitened") or _named_number(self.form)[0] in (
            "polynomial",
            "spline",
            "running-median",
        )

    def mask(self, grid: WavelengthGrid, density: Density | None) -> Tensor | None:
        """Return which pixels are seen, shape (L,), or None for all.

        Args:
            grid: the pixels.
            density: asked where `seen` needs it.

        Raises:
            ConfigError: if it is needed and not there, or no pixel would be seen.
        """
        if not self.seen:
            return None
        wavelength = torch.from_numpy(grid.wavelength.copy())
        if self.seen == "gravity":
            inside = torch.zeros(grid.size, dtype=torch.bool)
            for centre, half_width in GRAVITY_WINDOWS.values():
                inside |= (wavelength - centre).abs() <= half_width
            if not inside.any():
                raise ConfigError("seen: this grid covers none of the gravity-sensitive windows")
            return inside
        if density is None:
            raise ConfigError(f"seen: '{self.seen}' needs the simulated world of the spectra; choose gravity")
        kind, count = _named_number(self.seen)
        information = density(grid).double()
        if kind == "fisher":
            inside = torch.zeros(grid.size, dtype=torch.bool)
            inside[information.argsort(descending=True)[:count]] = True
            return inside
        return _about_peaks(information, wavelength, count)

    def __call__(self, usable: Tensor, flux: Tensor, sigma: Tensor, mask: Tensor | None) -> Viewed:
        """Return spectra as they are seen.

        Args:
            usable: shape (B, L).
            flux, sigma: relative to the level, (B, L); finite also on dead pixels.
            mask: see `mask`.
        """
        if self.noisiest:
            usable = usable & ~_noisiest(sigma, usable, self.noisiest)
        offset, divisor = self._scaling(usable, flux, sigma)
        seen = sigma if self.form == "sigma" else (flux - offset) / divisor
        noise = sigma if self.form == "sigma" else sigma / divisor
        # Last: a continuum is that of the whole spectrum, whatever is then seen of it.
        if mask is not None:
            usable = usable & mask.to(usable.device)
        seen, noise = torch.where(usable, seen, 0.0), torch.where(usable, noise, 1.0)
        return Viewed(usable, seen, noise, offset, divisor)

    def relative(self, spectra: RelativeSpectra, mask: Tensor | None) -> RelativeSpectra:
        """Return spectra as they are seen, as `models.inputs` describes them; the same object if it is plain."""
        if self.is_plain:
            return spectra
        usable = torch.isfinite(spectra.sigma)
        found = self(usable, spectra.flux, torch.where(usable, spectra.sigma, 1.0), mask)
        sigma = torch.where(found.usable, found.sigma, torch.inf)
        return RelativeSpectra(found.flux, sigma, spectra.level, spectra.usable_share)

    def _scaling(self, usable: Tensor, flux: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        none, one = torch.zeros_like(flux), torch.ones_like(flux)
        if self.form == "whitened":
            return none, sigma
        if self.form in PLAIN:
            return none, one
        kind, number = _named_number(self.form)
        if kind == "polynomial":
            return none, polynomial(flux, sigma, usable, number)
        if kind == "spline":
            return none, spline(flux, sigma, usable, number)
        if kind == "running-median":
            return none, running_median(flux, usable, number)
        return _of_chunks(flux, usable, number, number // 2 if kind == "overlapping-chunk" else number)


def _named_number(text: str) -> tuple[str, int]:
    """Return the parts of NAME-NUMBER; ("", 0) for what is no such thing."""
    found = re.fullmatch(r"([a-z][a-z-]*)-(\d{1,6})", text)
    return ("", 0) if found is None else (found.group(1), int(found.group(2)))


def _noisiest(sigma: Tensor, usable: Tensor, share: float) -> Tensor:
    """Return the usable pixels, shape (B, L), above the (1 - share) quantile of sigma of their spectrum."""
    falling = torch.where(usable, sigma, -torch.inf).sort(dim=1, descending=True).values
    count = (share * usable.sum(dim=1, keepdim=True)).long().clamp(max=sigma.shape[1] - 1)
    # Strictly above: equal sigmas are no reason to hide any.
    return usable & (sigma > falling.gather(1, count))


def _of_chunks(flux: Tensor, usable: Tensor, width: int, step: int) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of the usable pixels about each pixel, each (B, L)."""
    pixels = flux.shape[1]
    width, step = min(width, pixels), max(1, min(step, pixels))
    count = max(1, -(-(pixels - width) // step) + 1)
    beyond = (count - 1) * step + width - pixels
    weight = usable.to(flux)
    windows, known = (F.pad(values, (0, beyond)).unfold(1, width, step) for values in (flux * weight, weight))
    number = known.sum(dim=2).clamp(min=1)
    mean = windows.sum(dim=2) / number
    spread = ((windows - mean[..., None]) * known).square().sum(dim=2) / number
    deviation = spread.clamp(min=LEAST_DEVIATION**2).sqrt()
    if step == width:
        return tuple(values.repeat_interleave(width, dim=1)[:, :pixels] for values in (mean, deviation))  # type: ignore[return-value]
    centre = 0.5 * (width - 1)
    return between(mean, pixels, centre, step), between(deviation, pixels, centre, step)


def _about_peaks(information: Tensor, wavelength: Tensor, count: int) -> Tensor:
    """Return the pixels within `PEAK_HALF_WIDTH` of the highest peaks of a density (L,), one after the other."""
    inside = torch.zeros(len(wavelength), dtype=torch.bool)
    left = information.clone()
    for _ in range(count):
        about = (wavelength - wavelength[left.argmax()]).abs() <= PEAK_HALF_WIDTH
        inside |= about
        # Its neighbours are seen already: the next window is about another line.
        left[about] = -torch.inf
        if bool(inside.all()):
            break
    return inside
